"""Encoder layers with a bias for relative positions, in plain JAX with stacked parameters under lax.scan."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(1 + 0.2 * torch.randn(width))

    def forward(self, x):
        rms = torch.sqrt(x.square().mean(dim=-1, keepdim=True)) + 1e-4
        return x / rms * self.gain


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_attn, self.norm_mlp = RMSNorm(width), RMSNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.o = nn.Linear(width, width)
        self.relative = nn.Parameter(torch.randn(heads, 3))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        heads = self.relative.shape[0]
        h = self.norm_attn(x)
        q, k, v = (p(h).view(batch, length, heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        place = torch.arange(length, device=x.device)
        bucket = (place[:, None] - place).abs() // 2
        scores = q @ k.mT * (width // heads) ** -0.5 + self.relative[:, bucket]
        mixed = scores.softmax(dim=-1) @ v
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        h = self.up(self.norm_mlp(x))
        h = nn.functional.gelu(h, approximate="tanh")
        return x + self.down(h)


class Stack(nn.Module):
    def __init__(self, width=8, heads=2, layers=3):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(15)
        model = Stack()
    return model.eval()


def rms_norm(gain, x):
    mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
    rms = jnp.sqrt(mean_square) + 1e-4
    return x / rms * gain


def layer(x, p):
    batch, length, width = x.shape
    heads = p["relative"].shape[0]
    h = rms_norm(p["norm_attention"], x)
    q = (h @ p["wq"]).reshape(batch, length, heads, -1)
    k = (h @ p["wk"]).reshape(batch, length, heads, -1)
    v = (h @ p["wv"]).reshape(batch, length, heads, -1)
    place = jnp.arange(length)
    distance = jnp.abs(place[:, None] - place)
    bucket = distance // 2
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // heads) ** -0.5
    scores = scores + p["relative"][:, bucket]
    weights = jax.nn.softmax(scores, axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
    x = x + mixed.reshape(batch, length, width) @ p["wo"] + p["bo"]
    h = rms_norm(p["norm_mlp"], x)
    h = h @ p["up"] + p["up_bias"]
    h = jax.nn.gelu(h)
    h = h @ p["down"] + p["down_bias"]
    return x + h, None


def forward(params, x):
    x, _ = lax.scan(layer, x, params)
    return x


def functional():
    rng = np.random.default_rng(115)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.35, (3, *shape)))

    attention = {"wq": draw(8, 8), "wk": draw(8, 8), "wv": draw(8, 8), "wo": draw(8, 8), "bo": draw(8)}
    mlp = {"up": draw(8, 16), "up_bias": draw(16), "down": draw(16, 8), "down_bias": draw(8)}
    norms = {"norm_attention": 1 + draw(8), "norm_mlp": 1 + draw(8)}
    return forward, attention | mlp | norms | {"relative": draw(2, 3)}


def args():
    return (np.random.default_rng(215).normal(size=(2, 6, 8)).astype(np.float32),)
