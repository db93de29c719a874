"""A residual perceptron with ReLU and GELU, in plain JAX over a list of dictionaries."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(6, 16)
        self.mix = nn.Linear(16, 16)
        self.leave = nn.Linear(16, 3)

    def forward(self, x):
        h = torch.relu(self.enter(x))
        update = nn.functional.gelu(self.mix(h))
        return self.leave(h + update)


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Perceptron()
    with torch.no_grad():
        model.enter.bias[::2] = 0.0  # pruned: with an empty row of x, ReLU is evaluated at exactly zero
    return model.eval()


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def forward(params, x):
    first, middle, last = params["layers"]
    h = jax.nn.relu(dense(first, x))
    mixed = h @ middle["w"]
    mixed = mixed + middle["b"]
    update = jax.nn.gelu(mixed, approximate=False)
    h = h + update
    return dense(last, h)


def functional():
    rng = np.random.default_rng(100)
    layers = [
        {"w": jnp.asarray(rng.normal(0, m**-0.5, (m, n))), "b": jnp.asarray(rng.normal(0, 0.1, n))}
        for m, n in ((6, 16), (16, 16), (16, 3))
    ]
    return forward, {"layers": layers}


def args():
    x = np.random.default_rng(200).normal(size=(5, 6)).astype(np.float32)
    x[2] = 0.0
    return (x,)
