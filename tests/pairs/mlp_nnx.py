"""Fourier features, RMS norm and a gated block, in flax.nnx."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        mean_square = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean_square + 1e-5) * self.weight


class GatedBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = RMSNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(width, width)

    def forward(self, x):
        value, gate = self.up(self.norm(x)).chunk(2, dim=-1)
        h = value * nn.functional.silu(gate)
        return x + self.down(h)


class Field(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.embed = nn.Linear(12, width)
        self.blocks = nn.Sequential(GatedBlock(width), GatedBlock(width))
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        angles = x[:, :, None] * 2.0 ** torch.arange(3, dtype=x.dtype, device=x.device)
        features = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return self.head(self.blocks(self.embed(features)))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = Field()
        for block in model.blocks:
            nn.init.uniform_(block.norm.weight, 0.5, 1.5)
    return model.eval()


class Scale(nnx.Module):
    def __init__(self, width):
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x):
        mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        root = jnp.sqrt(mean_square + 1e-5)
        return x / root * self.scale[...]


class Gated(nnx.Module):
    def __init__(self, width, rngs):
        self.norm = Scale(width)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.gate = nnx.Linear(width, width, rngs=rngs)
        self.dropout = nnx.Dropout(0.1)
        self.down = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x):
        h = self.norm(x)
        gate = jax.nn.silu(self.gate(h))
        h = self.value(h) * gate
        h = self.dropout(h, deterministic=True, rngs=jax.random.key(0))
        return x + self.down(h)


class NeuralField(nnx.Module):
    def __init__(self, width, *, rngs):
        self.embed = nnx.Linear(12, width, rngs=rngs)
        self.blocks = nnx.List([Gated(width, rngs) for _ in range(2)])
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        angles = x[:, :, None] * 2.0 ** jnp.arange(3, dtype=x.dtype)
        features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        h = self.embed(features.reshape(x.shape[0], -1))
        for block in self.blocks:
            h = block(h)
        return self.head(h)


def functional():
    graph, shapes = nnx.split(nnx.eval_shape(lambda: NeuralField(12, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(102)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)
    return nnx.merge(graph, state), None


def args():
    return (np.random.default_rng(202).uniform(-1, 1, size=(6, 2)).astype(np.float32),)
