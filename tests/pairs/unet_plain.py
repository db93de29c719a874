"""A U-Net with strided and transposed convolutions and group norm, in plain JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class ConvBlock(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs), nn.SiLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = ConvBlock(2, 4)
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.middle = ConvBlock(6, 6)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.merge = ConvBlock(8, 4)
        self.leave = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        skip = self.enter(x)
        h = self.middle(torch.relu(self.down(skip)))
        h = torch.cat([skip, self.up(h)], dim=1)
        return self.leave(self.merge(h))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = UNet()
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, 0.0, 0.2)
    return model.eval()


convolve = partial(lax.conv_general_dilated, dimension_numbers=("NCHW", "HWIO", "NCHW"))


def conv(p, x, stride=1):
    y = convolve(x, p["kernel"], (stride, stride), [(1, 1), (1, 1)])
    return y + p["bias"][:, None, None]


def conv_transpose(p, x):
    kernel = p["kernel"][::-1, ::-1]
    y = convolve(x, kernel, (1, 1), [(1, 2), (1, 2)], lhs_dilation=(2, 2))
    return y + p["bias"][:, None, None]


def group_norm(p, x):
    groups = x.reshape(x.shape[0], 2, -1)
    mean = groups.mean(axis=-1, keepdims=True)
    variance = groups.var(axis=-1, keepdims=True)
    normal = (groups - mean) / jnp.sqrt(variance + 1e-5)
    x = normal.reshape(x.shape)
    return x * p["scale"][:, None, None] + p["offset"][:, None, None]


def block(p, x):
    h = conv(p["conv"], x)
    h = group_norm(p["norm"], h)
    return jax.nn.silu(h)


def forward(params, x):
    skip = block(params["enter"], x)
    h = conv(params["down"], skip, stride=2)
    h = jax.nn.relu(h)
    h = block(params["middle"], h)
    h = conv_transpose(params["up"], h)
    h = jnp.concatenate([skip, h], axis=1)
    h = block(params["merge"], h)
    h = jnp.einsum("bihw,io->bohw", h, params["leave"]["kernel"])
    return h + params["leave"]["bias"][:, None, None]


def functional():
    rng = np.random.default_rng(120)

    def convolution(inputs, outputs):
        kernel = rng.normal(0, 0.3, (3, 3, inputs, outputs))
        return {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(outputs)}

    def stage(inputs, outputs):
        norm = {"scale": jnp.asarray(rng.uniform(0.5, 1.5, outputs)), "offset": jnp.zeros(outputs)}
        return {"conv": convolution(inputs, outputs), "norm": norm}

    stages = {"enter": stage(2, 4), "middle": stage(6, 6), "merge": stage(8, 4)}
    leave = {"kernel": jnp.asarray(rng.normal(0, 0.5, (4, 1))), "bias": jnp.zeros(1)}
    return forward, stages | {"down": convolution(4, 6), "up": convolution(6, 4), "leave": leave}


def args():
    return (np.random.default_rng(220).normal(size=(2, 2, 8, 8)).astype(np.float32),)
