"""A pre-norm transformer encoder block with padding mask and sinusoids, in plain JAX with split heads."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, mask):
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(~mask[:, None, None, :], -1e9)
        weights = torch.softmax(scores, dim=-1)
        merged = (weights @ v).transpose(1, 2).reshape(batch, length, width)
        return self.out(merged)


class Encoder(nn.Module):
    def __init__(self, width=12, heads=3):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def positions(self, x):
        position = torch.arange(x.shape[1], dtype=x.dtype, device=x.device).unsqueeze(-1)
        index = torch.arange(x.shape[2], dtype=x.dtype, device=x.device)
        pair = torch.div(index, 2, rounding_mode="floor")
        angle = position / 100.0 ** (2 * pair / x.shape[2])
        return torch.where(index % 2 == 0, angle.sin(), angle.cos())

    def forward(self, x, mask):
        x = x + self.positions(x)
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(13)
        model = Encoder()
        for norm in (model.norm1, model.norm2):
            nn.init.normal_(norm.weight, 1.0, 0.2)
            nn.init.normal_(norm.bias, 0.0, 0.2)
    return model.eval()


def layer_norm(p, x):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    normal = (x - mean) / jnp.sqrt(variance + 1e-5)
    return normal * p["scale"] + p["offset"]


def positions(x):
    _, length, width = x.shape
    index = jnp.arange(width)
    exponent = (2 * (index // 2) / width).astype(x.dtype)
    angle = jnp.arange(length, dtype=x.dtype)[:, None] / 100.0**exponent
    return jnp.where(index % 2 == 0, jnp.sin(angle), jnp.cos(angle))


def attention(p, x, mask):
    batch, length, width = x.shape
    query = jnp.einsum("btd,dhk->bhtk", x, p["query"]["w"]) + p["query"]["b"][:, None, :]
    key = jnp.einsum("btd,dhk->bhtk", x, p["key"]["w"]) + p["key"]["b"][:, None, :]
    value = jnp.einsum("btd,dhk->bhtk", x, p["value"]["w"]) + p["value"]["b"][:, None, :]
    scores = jnp.einsum("bhtk,bhsk->bhts", query, key) / query.shape[-1] ** 0.5
    scores = jnp.where(mask[:, None, None, :], scores, -1e9)
    weights = jax.nn.softmax(scores, axis=-1)
    mixed = jnp.einsum("bhts,bhsk->bhtk", weights, value)
    merged = jnp.swapaxes(mixed, 1, 2).reshape(batch, length, width)
    projected = merged @ p["out"]["w"]
    return projected + p["out"]["b"]


def forward(params, x, mask):
    x = x + positions(x)
    h = layer_norm(params["attention_norm"], x)
    x = x + attention(params["attention"], h, mask)
    h = layer_norm(params["mlp_norm"], x)
    h = h @ params["mlp"]["up"]["w"] + params["mlp"]["up"]["b"]
    h = jax.nn.gelu(h, approximate=False)
    h = h @ params["mlp"]["down"]["w"] + params["mlp"]["down"]["b"]
    return x + h


def functional():
    rng = np.random.default_rng(113)

    def dense(inputs, *outputs):
        return {"w": jnp.asarray(rng.normal(0, 0.3, (inputs, *outputs))), "b": jnp.zeros(outputs)}

    def norm():
        return {"scale": jnp.asarray(rng.uniform(0.5, 1.5, 12)), "offset": jnp.zeros(12)}

    heads = {name: dense(12, 3, 4) for name in ("query", "key", "value")}
    mlp = {"up": dense(12, 24), "down": dense(24, 12)}
    attention = heads | {"out": dense(12, 12)}
    return forward, {"attention_norm": norm(), "attention": attention, "mlp_norm": norm(), "mlp": mlp}


def args():
    x = np.random.default_rng(213).normal(size=(2, 5, 12)).astype(np.float32)
    mask = np.arange(5) < np.array([[5], [3]])
    return x, mask
