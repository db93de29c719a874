"""A causal language model with rotary positions and SwiGLU, in flax.nnx; masked cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch import nn


def rotate(x):
    half = x.shape[-1] // 2
    place = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
    frequency = 100.0 ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angle = (place[:, None] * frequency)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.wqkv = nn.Linear(width, 3 * width, bias=False)
        self.wo = nn.Linear(width, width, bias=False)
        self.w12 = nn.Linear(width, 4 * width, bias=False)
        self.w3 = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.wqkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).unbind(2)
        q, k, v = rotate(q).transpose(1, 2), rotate(k).transpose(1, 2), v.transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.wo(mixed.transpose(1, 2).reshape(batch, length, width))
        gate, value = self.w12(self.norm2(x)).chunk(2, dim=-1)
        return x + self.w3(nn.functional.silu(gate) * value)


class Llama(nn.Module):
    def __init__(self, vocabulary=11, width=8, heads=2, layers=2):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(17)
        model = Llama()
        for module in model.modules():
            if isinstance(module, nn.RMSNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def imperative_loss(logits, tokens):
    logits, targets = logits[:, :-1], tokens[:, 1:]
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    keep = (targets > 0).to(losses.dtype)
    return (losses * keep).sum() / keep.sum()


def rotary(x):
    half = x.shape[-1] // 2
    place = jnp.arange(x.shape[1], dtype=x.dtype)
    frequency = 100.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = (place[:, None] * frequency)[:, None, :]
    a, b = jnp.split(x, 2, axis=-1)
    real = a * jnp.cos(angle) - b * jnp.sin(angle)
    imaginary = b * jnp.cos(angle) + a * jnp.sin(angle)
    return jnp.concatenate([real, imaginary], axis=-1)


class DecoderLayer(nnx.Module):
    def __init__(self, width, heads, rngs):
        def linear(inputs, outputs):
            return nnx.Linear(inputs, outputs, use_bias=False, rngs=rngs)

        self.heads = heads
        self.norm_attention = nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)
        self.norm_mlp = nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)
        self.q, self.k, self.v, self.o = (linear(width, width) for _ in range(4))
        self.gate, self.up = linear(width, 2 * width), linear(width, 2 * width)
        self.dropout = nnx.Dropout(0.1)
        self.down = linear(2 * width, width)

    def __call__(self, x):
        batch, length, width = x.shape
        h = self.norm_attention(x)
        q = rotary(self.q(h).reshape(batch, length, self.heads, -1))
        k = rotary(self.k(h).reshape(batch, length, self.heads, -1))
        v = self.v(h).reshape(batch, length, self.heads, -1)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        causal = jnp.tril(jnp.ones((length, length), bool))
        scores = jnp.where(causal, scores, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        x = x + self.o(mixed.reshape(batch, length, width))
        h = self.norm_mlp(x)
        h = jax.nn.silu(self.gate(h)) * self.up(h)
        h = self.dropout(h, deterministic=True, rngs=jax.random.key(0))
        return x + self.down(h)


class LanguageModel(nnx.Module):
    def __init__(self, vocabulary, width, *, rngs):
        self.embed = nnx.Param(jax.random.normal(rngs.params(), (vocabulary, width)))
        self.layers = nnx.List([DecoderLayer(width, 2, rngs) for _ in range(2)])
        self.norm = nnx.RMSNorm(width, epsilon=1e-5, rngs=rngs)
        self.head = nnx.Linear(width, vocabulary, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed[...][tokens]
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return self.head(x)


def functional():
    graph, shapes = nnx.split(nnx.eval_shape(lambda: LanguageModel(11, 8, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(117)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)
    return nnx.merge(graph, state), None


def functional_loss(logits, tokens):
    labels = tokens[:, 1:]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], labels)
    keep = (labels > 0).astype(losses.dtype)
    return jnp.sum(losses * keep) / jnp.sum(keep)


def args():
    tokens = np.random.default_rng(217).integers(1, 11, size=(2, 6))
    tokens[1, 5:] = 0
    return (tokens,)
