"""A bidirectional nn.GRU with a masked mean over time, in plain JAX under lax.scan."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class Summary(nn.Module):
    def __init__(self, inputs=4, hidden=5):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(2 * hidden, 2 * hidden)

    def forward(self, x, mask):
        keep = mask.to(x.dtype).unsqueeze(-1)
        centred = x - x.mean(dim=-1, keepdim=True)
        x = centred / (x.std(dim=-1, keepdim=True, correction=1) + 1e-2)
        states, _ = self.gru(x * keep)
        states = states * keep
        summary = states.sum(dim=1) / keep.sum(dim=1)
        return torch.tanh(self.proj(summary))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = Summary()
    return model.eval()


def standardise(x):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    deviation = jnp.std(x, axis=-1, ddof=1, keepdims=True)
    return centred / (deviation + 1e-2)


def cell(p, h, x):
    from_input = x @ p["kernel"] + p["bias"]
    from_state = h @ p["recurrent_kernel"] + p["recurrent_bias"]
    xr, xz, xn = jnp.split(from_input, 3, axis=-1)
    hr, hz, hn = jnp.split(from_state, 3, axis=-1)
    r = jax.nn.sigmoid(xr + hr)
    z = jax.nn.sigmoid(xz + hz)
    n = jnp.tanh(xn + r * hn)  # the state's bias is inside the reset
    h = (1 - z) * n + z * h
    return h, h


def run(p, xs, reverse):
    start = jnp.zeros((xs.shape[1], p["recurrent_kernel"].shape[0]), xs.dtype)
    _, states = lax.scan(lambda h, x: cell(p, h, x), start, xs, reverse=reverse)
    return states


def forward(params, x, mask):
    keep = mask.astype(x.dtype)[:, :, None]
    x = standardise(x) * keep
    xs = jnp.swapaxes(x, 0, 1)
    onward = run(params["onward"], xs, False)
    backward = run(params["backward"], xs, True)
    states = jnp.concatenate([onward, backward], axis=-1)
    states = jnp.swapaxes(states, 0, 1) * keep
    summary = jnp.sum(states, axis=1) / jnp.sum(keep, axis=1)
    projected = summary @ params["proj"]["kernel"]
    projected = projected + params["proj"]["bias"]
    return jnp.tanh(projected)


def functional():
    rng = np.random.default_rng(111)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.4, shape))

    def direction():
        kernels = {"kernel": draw(4, 15), "recurrent_kernel": draw(5, 15)}
        return kernels | {"bias": draw(15), "recurrent_bias": draw(15)}

    proj = {"kernel": draw(10, 10), "bias": draw(10)}
    return forward, {"onward": direction(), "backward": direction(), "proj": proj}


def args():
    x = np.random.default_rng(211).normal(size=(3, 6, 4)).astype(np.float32)
    mask = np.arange(6) < np.array([[6], [4], [3]])
    return x, mask
