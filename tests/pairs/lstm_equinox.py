"""Two stacked LSTM cells and attention pooling over time, in equinox under lax.scan."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class Cell(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.input = nn.Linear(inputs, 4 * hidden)
        self.hidden = nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, x, h, c):
        i, f, g, o = (self.input(x) + self.hidden(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Pooled(nn.Module):
    def __init__(self, inputs=3, hidden=5, heads=2):
        super().__init__()
        self.cells = nn.ModuleList([Cell(inputs, hidden), Cell(hidden, hidden)])
        self.queries = nn.Linear(hidden, heads, bias=False)
        self.head = nn.Linear(heads * hidden, 2)

    def forward(self, x):
        for cell in self.cells:
            h = c = x.new_zeros(x.shape[0], cell.hidden.in_features)
            states = []
            for t in range(x.shape[1]):
                h, c = cell(x[:, t], h, c)
                states.append(h)
            x = torch.stack(states, dim=1)
        scores = self.queries(x) / x.shape[-1] ** 0.5
        weights = torch.softmax(scores, dim=1)
        pooled = torch.einsum("bth,btd->bhd", weights, x)
        return self.head(pooled.flatten(1))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(10)
        model = Pooled()
    return model.eval()


class StackedCell(eqx.Module):
    """The matrices of the four gates along a leading axis."""

    weight: jax.Array
    recurrent: jax.Array
    bias: jax.Array

    def __init__(self, size, key):
        keys = jax.random.split(key, 3)
        self.weight = jax.random.normal(keys[0], (4, size, size)) / size**0.5
        self.recurrent = jax.random.normal(keys[1], (4, size, size)) / size**0.5
        self.bias = jax.random.normal(keys[2], (4, size)) / size**0.5

    def __call__(self, x, carry):
        h, c = carry
        from_state = self.recurrent @ h
        lin = self.weight @ x + from_state + self.bias
        i, f, g, o = lin
        forgotten = jax.nn.sigmoid(f) * c
        c = forgotten + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return h, c


class Tagger(eqx.Module):
    cells: list
    queries: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.cells = [eqx.nn.LSTMCell(3, 5, key=keys[0]), StackedCell(5, keys[1])]
        self.queries = eqx.nn.Linear(5, 2, use_bias=False, key=keys[2])
        self.head = eqx.nn.Linear(10, 2, key=keys[3])

    def __call__(self, x):
        for cell in self.cells:
            zeros = jnp.zeros(5, x.dtype)

            def step(carry, x, cell=cell):
                h, c = cell(x, carry)
                return (h, c), h

            _, x = lax.scan(step, (zeros, zeros), x)
        scores = jax.vmap(self.queries)(x) / x.shape[-1] ** 0.5
        weights = jax.nn.softmax(scores, axis=0)
        pooled = jnp.einsum("th,td->hd", weights, x)
        return self.head(pooled.reshape(-1))


def forward(model, x):
    return jax.vmap(model)(x)


def functional():
    shapes = eqx.filter_eval_shape(Tagger, jax.random.key(0))
    shapes, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(110)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.6, 0.6, leaf.shape)), shapes)
    return forward, eqx.combine(arrays, static)


def args():
    return (np.random.default_rng(210).normal(size=(4, 6, 3)).astype(np.float32),)
