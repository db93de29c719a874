"""A causal, dilated convolution over time with standardised kernels, in plain JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class CausalConv(nn.Conv1d):
    def forward(self, x):
        x = nn.functional.pad(x, (2 * self.dilation[0], 0))
        var, mean = torch.var_mean(self.weight, dim=(1, 2), keepdim=True, correction=0)
        weight = (self.weight - mean) / torch.sqrt(var + 1e-3)
        return nn.functional.conv1d(x, weight, self.bias, dilation=self.dilation)


class Wave(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.stem = nn.Conv1d(2, width, 1, bias=False)
        self.convs = nn.ModuleList(CausalConv(width, width, 3, dilation=d) for d in (1, 2))
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.stem(x)
        for conv in self.convs:
            x = x + torch.relu(conv(x))
        x = x[:, :, ::2]
        return self.head(x.transpose(1, 2))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(8)
        model = Wave()
    with torch.no_grad():
        model.convs[0].bias[::2] = 0.0  # pruned: where the signal is silent, ReLU is evaluated at zero
    return model.eval()


conv = partial(lax.conv_general_dilated, window_strides=(1,), dimension_numbers=("NCH", "HIO", "NCH"))


def standardised(kernel):
    mean = jnp.mean(kernel, axis=(0, 1))
    var = jnp.var(kernel, axis=(0, 1))
    return (kernel - mean) / jnp.sqrt(var + 1e-3)


def causal_conv(p, x, dilation):
    kernel = standardised(p["kernel"])
    y = conv(x, kernel, padding=[(2 * dilation, 0)], rhs_dilation=(dilation,))
    return y + p["bias"][:, None]


def forward(params, x):
    x = jnp.einsum("bit,io->bot", x, params["stem"])
    for p, dilation in zip(params["convs"], (1, 2), strict=True):
        h = causal_conv(p, x, dilation)
        h = jax.nn.relu(h)
        x = x + h
    x = x[..., ::2]
    x = jnp.swapaxes(x, 1, 2)
    return x @ params["head"]["kernel"] + params["head"]["bias"]


def functional():
    rng = np.random.default_rng(108)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.3, shape))

    convs = [{"kernel": draw(3, 6, 6), "bias": draw(6)} for _ in range(2)]
    return forward, {"stem": draw(2, 6), "convs": convs, "head": {"kernel": draw(6, 2), "bias": draw(2)}}


def args():
    x = np.random.default_rng(208).normal(size=(2, 2, 12)).astype(np.float32)
    x[:, :, :4] = 0.0
    return (x,)
