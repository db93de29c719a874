"""nn.LSTM read at the last and the middle step, in plain JAX with one matrix per gate under lax.scan."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class Reader(nn.Module):
    def __init__(self, inputs=4, hidden=6):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, 3)

    def forward(self, x, lengths):
        states, _ = self.lstm(x)
        rows = torch.arange(len(lengths), device=lengths.device)
        last = states[rows, lengths - 1]
        middle = states[rows, lengths // 2]
        return self.head(torch.cat([last, middle], dim=-1))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(9)
        model = Reader()
    return model.eval()


def affine(p, x, h):
    from_input = x @ p["input"] + p["input_bias"]
    from_state = h @ p["state"] + p["state_bias"]
    return from_input + from_state


def step(cell, carry, x):
    h, c = carry
    i = jax.nn.sigmoid(affine(cell["i"], x, h))
    f = jax.nn.sigmoid(affine(cell["f"], x, h))
    g = jnp.tanh(affine(cell["g"], x, h))
    o = jax.nn.sigmoid(affine(cell["o"], x, h))
    c = f * c + i * g
    h = o * jnp.tanh(c)
    return (h, c), h


def forward(params, x, lengths):
    zeros = jnp.zeros((x.shape[0], 6), x.dtype)
    xs = jnp.swapaxes(x, 0, 1)
    _, states = lax.scan(lambda carry, x: step(params["cell"], carry, x), (zeros, zeros), xs)
    rows = jnp.arange(x.shape[0])
    last = states[lengths - 1, rows]
    middle = states[lengths // 2, rows]
    summary = jnp.concatenate([last, middle], axis=-1)
    return summary @ params["head"]["kernel"] + params["head"]["bias"]


def functional():
    rng = np.random.default_rng(109)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.4, shape))

    def gate():
        return {"input": draw(4, 6), "state": draw(6, 6), "input_bias": draw(6), "state_bias": draw(6)}

    cell = {name: gate() for name in "ifgo"}
    return forward, {"cell": cell, "head": {"kernel": draw(12, 3), "bias": draw(3)}}


def args():
    x = np.random.default_rng(209).normal(size=(3, 7, 4)).astype(np.float32)
    return x, np.array([7, 4, 5])
