"""Depthwise separable convolutions with squeeze and excitation, in flax.nnx."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn


class Separable(nn.Module):
    def __init__(self, width=6, classes=3):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, stride=2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=1e-3)
        self.squeeze = nn.Linear(width, width)
        self.pointwise = nn.Conv2d(width, 2 * width, 1)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * width, classes))

    def forward(self, x):
        x = nn.functional.silu(self.stem(x))
        x = nn.functional.pad(x, (0, 1, 0, 1))  # below and to the right only, as the stride asks for
        x = nn.functional.silu(self.norm(self.depthwise(x)))
        gate = torch.sigmoid(self.squeeze(x.mean(dim=(2, 3))))
        x = x * gate[:, :, None, None]
        return self.head(self.pointwise(x).mean(dim=(2, 3)))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Separable()
        nn.init.uniform_(model.norm.weight, 0.5, 1.5)
        nn.init.normal_(model.norm.bias, 0.0, 0.3)
        nn.init.normal_(model.norm.running_mean, 0.0, 0.3)
        nn.init.uniform_(model.norm.running_var, 0.02, 0.2)
    return model.eval()


class MobileNet(nnx.Module):
    def __init__(self, width=6, classes=3, *, rngs):
        self.stem = nnx.Conv(3, width, (3, 3), padding=1, rngs=rngs)
        self.depthwise = nnx.Conv(
            width,
            width,
            (3, 3),
            strides=2,
            padding="VALID",
            feature_group_count=width,
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(width, use_running_average=True, epsilon=1e-3, rngs=rngs)
        self.squeeze = nnx.Linear(width, width, rngs=rngs)
        self.pointwise = nnx.Conv(width, 2 * width, (1, 1), rngs=rngs)
        self.dropout = nnx.Dropout(0.2)
        self.head = nnx.Linear(2 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = jnp.moveaxis(x, 1, -1)
        x = nnx.silu(self.stem(x))
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        x = self.norm(self.depthwise(x))
        x = nnx.silu(x)
        squeezed = jnp.mean(x, axis=(1, 2))
        gate = nnx.sigmoid(self.squeeze(squeezed))
        x = x * gate[:, None, None, :]
        x = self.pointwise(x)
        x = jnp.mean(x, axis=(1, 2))
        x = self.dropout(x, deterministic=True, rngs=jax.random.key(0))
        return self.head(x)


def functional():
    graph, shapes = nnx.split(nnx.eval_shape(lambda: MobileNet(rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(107)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)
    return nnx.merge(graph, state), None


def args():
    return (np.random.default_rng(207).normal(size=(2, 3, 8, 8)).astype(np.float32),)
