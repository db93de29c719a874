"""A vision transformer with positions by row and column and a pooled head, in equinox."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, bias=False, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(0.1)
        self.gamma = nn.Parameter(0.5 + 0.1 * torch.randn(dim))

    def forward(self, x):
        h = self.norm1(x)
        h, _ = self.attention(h, h, h, need_weights=False)
        x = x + self.gamma * h
        h = nn.functional.gelu(self.linear1(self.norm2(x)))
        return x + self.linear2(self.dropout(h))


class VisionTransformer(nn.Module):
    def __init__(self, dim=8, heads=2, depth=2, side=3):
        super().__init__()
        self.side = side
        self.patch = nn.Conv2d(1, dim, 3, stride=3)
        self.rows = nn.Parameter(torch.randn(side, dim))
        self.columns = nn.Parameter(torch.randn(side, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.head = nn.Linear(dim, 4)

    def forward(self, x):
        x = self.patch(x).flatten(2).mT
        index = torch.arange(self.side**2, device=x.device)
        x = x + self.rows[index // self.side] + self.columns[index % self.side]
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=1))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(19)
        model = VisionTransformer()
        for block in model.blocks:
            for norm in (block.norm1, block.norm2):
                nn.init.normal_(norm.weight, 1.0, 0.2)
                nn.init.normal_(norm.bias, 0.0, 0.2)
    return model.eval()


class Encoder(eqx.Module):
    attention_norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    gamma: jax.Array
    mlp_norm: eqx.nn.LayerNorm
    expand: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    shrink: eqx.nn.Linear

    def __init__(self, dim, heads, key):
        keys = jax.random.split(key, 3)
        self.attention_norm = eqx.nn.LayerNorm(dim)
        self.attention = eqx.nn.MultiheadAttention(heads, dim, key=keys[0])
        self.gamma = jnp.full(dim, 0.1)
        self.mlp_norm = eqx.nn.LayerNorm(dim)
        self.expand = eqx.nn.Linear(dim, 2 * dim, key=keys[1])
        self.dropout = eqx.nn.Dropout(0.1)
        self.shrink = eqx.nn.Linear(2 * dim, dim, key=keys[2])

    def __call__(self, x):
        h = jax.vmap(self.attention_norm)(x)
        h = self.attention(h, h, h)
        x = x + h * self.gamma
        h = jax.vmap(self.mlp_norm)(x)
        h = jax.vmap(self.expand)(h)
        h = jax.nn.gelu(h, approximate=False)
        h = self.dropout(h, key=jax.random.key(0), inference=True)
        return x + jax.vmap(self.shrink)(h)


class ImageEncoder(eqx.Module):
    patch: eqx.nn.Conv2d
    rows: jax.Array
    columns: jax.Array
    blocks: tuple[Encoder, ...]
    head: eqx.nn.Linear

    def __init__(self, dim, side, key):
        keys = jax.random.split(key, 6)
        self.patch = eqx.nn.Conv2d(1, dim, 3, stride=3, key=keys[0])
        self.rows = jax.random.normal(keys[1], (side, dim))
        self.columns = jax.random.normal(keys[2], (side, dim))
        self.blocks = tuple(Encoder(dim, 2, key) for key in keys[3:5])
        self.head = eqx.nn.Linear(dim, 4, key=keys[5])

    def __call__(self, image):
        patches = self.patch(image)
        x = patches.reshape(patches.shape[0], -1).T
        side = self.rows.shape[0]
        index = jnp.arange(side**2)
        row = index // side
        x = x + self.rows[row]
        x = x + self.columns[index % side]
        for block in self.blocks:
            x = block(x)
        pooled = jnp.mean(x, axis=0)
        return self.head(pooled)


def forward(model, x):
    return jax.vmap(model)(x)


def functional():
    shapes = eqx.filter_eval_shape(ImageEncoder, 8, 3, jax.random.key(0))
    shapes, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(119)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.6, 0.6, leaf.shape)), shapes)
    return forward, eqx.combine(arrays, static)


def args():
    return (np.random.default_rng(219).normal(size=(2, 1, 9, 9)).astype(np.float32),)
