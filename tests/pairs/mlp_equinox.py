"""A perceptron with a raw mixing matrix and standardised features, in equinox, for one example at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


def standardise(h):
    return (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + 1e-5)  # torch.std is unbiased


class Perceptron(nn.Module):
    def __init__(self, width=10):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 2)])
        self.mix = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        h = self.layers[0](x).relu()
        h = h + torch.matmul(h, self.mix)
        h = standardise(h)
        h = self.drop(nn.functional.softplus(self.layers[1](h)))
        return self.layers[2](h)


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Perceptron()
    with torch.no_grad():
        model.layers[0].bias[1::3] = 0.0  # pruned: with an empty row of x, ReLU is evaluated at exactly zero
    return model.eval()


class Network(eqx.Module):
    enter: eqx.nn.Linear
    mix: jax.Array
    hidden: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    leave: eqx.nn.Linear

    def __init__(self, width, key):
        keys = jax.random.split(key, 4)
        self.enter = eqx.nn.Linear(5, width, key=keys[0])
        self.mix = jax.random.normal(keys[1], (width, width)) / width**0.5
        self.hidden = eqx.nn.Linear(width, width, key=keys[2])
        self.dropout = eqx.nn.Dropout(0.2)
        self.leave = eqx.nn.Linear(width, 2, key=keys[3])

    def __call__(self, x):
        h = jax.nn.relu(self.enter(x))
        h = h + h @ self.mix
        centred = h - jnp.mean(h)
        deviation = jnp.std(h, ddof=1)
        h = centred / (deviation + 1e-5)
        h = jax.nn.softplus(self.hidden(h))
        h = self.dropout(h, key=jax.random.key(0), inference=True)
        return self.leave(h)


def forward(model, x):
    return jax.vmap(model)(x)


def functional():
    shapes = eqx.filter_eval_shape(Network, 10, jax.random.key(0))
    shapes, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(103)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.6, 0.6, leaf.shape)), shapes)
    return forward, eqx.combine(arrays, static)


def args():
    x = np.random.default_rng(203).normal(size=(6, 5)).astype(np.float32)
    x[4] = 0.0
    return (x,)
