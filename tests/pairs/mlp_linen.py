"""Residual token-wise blocks with layer norm and the tanh GELU, in flax.linen."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU(approximate="tanh")
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        h = self.act(self.fc1(self.norm(x)))
        return x + self.fc2(self.drop(h))


class Mixer(nn.Module):
    def __init__(self, width=8, blocks=2):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=1))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Mixer()
        for block in model.blocks:
            nn.init.normal_(block.norm.weight, 1.0, 0.3)
            nn.init.normal_(block.norm.bias, 0.0, 0.3)
    return model.eval()


class TokenBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        h = linen.LayerNorm(epsilon=1e-5)(x)
        h = linen.Dense(4 * x.shape[-1])(h)
        h = linen.gelu(h)
        h = linen.Dropout(0.1)(h, deterministic=True, rng=jax.random.key(0))
        h = linen.Dense(x.shape[-1])(h)
        return x + h


class TokenMixer(linen.Module):
    blocks: int = 2

    @linen.compact
    def __call__(self, x):
        for i in range(self.blocks):
            x = TokenBlock(name=f"block_{i}")(x)
        pooled = jnp.mean(x, axis=1)
        return linen.Dense(3, name="head")(pooled)


def functional():
    model = TokenMixer()
    shapes = jax.eval_shape(model.init, jax.random.key(0), *args())
    rng = np.random.default_rng(101)
    return model, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    return (np.random.default_rng(201).normal(size=(4, 5, 8)).astype(np.float32),)
