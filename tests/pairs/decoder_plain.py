"""A decoder block with cross attention and a tied head, in plain JAX; masked next-token cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Decoder(nn.Module):
    def __init__(self, vocabulary=10, width=8, heads=2, longest=8):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(longest, width)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens, memory):
        length = tokens.shape[1]
        x = self.embed(tokens) * self.embed.embedding_dim**0.5
        x = x + self.position.weight[:length]
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        h = self.norms[0](x)
        x = x + self.self_attn(h, h, h, attn_mask=future, need_weights=False)[0]
        h = self.norms[1](x)
        x = x + self.cross_attn(h, memory, memory, need_weights=False)[0]
        h = nn.functional.gelu(self.up(self.norms[2](x)))
        x = x + self.down(h)
        return self.norms[3](x) @ self.embed.weight.T


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(16)
        model = Decoder()
        nn.init.normal_(model.embed.weight, 0.0, 0.5)
        for attention in (model.self_attn, model.cross_attn):
            nn.init.normal_(attention.in_proj_bias, 0.0, 0.3)
            nn.init.normal_(attention.out_proj.bias, 0.0, 0.3)
        for norm in model.norms:
            nn.init.normal_(norm.weight, 1.0, 0.2)
            nn.init.normal_(norm.bias, 0.0, 0.2)
    return model.eval()


def imperative_loss(logits, tokens, memory):
    targets = tokens[:, 1:].flatten()
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=0)


def layer_norm(p, x):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * p["g"] + p["b"]


def attend(p, x, memory, mask=None):
    q = (x @ p["wq"] + p["bq"]).reshape(*x.shape[:2], 2, 4)
    k = (memory @ p["wk"] + p["bk"]).reshape(*memory.shape[:2], 2, 4)
    v = (memory @ p["wv"] + p["bv"]).reshape(*memory.shape[:2], 2, 4)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(x.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
    return mixed.reshape(x.shape) @ p["wo"] + p["bo"]


def forward(params, tokens, memory):
    length = tokens.shape[1]
    x = params["embed"][tokens] * params["embed"].shape[1] ** 0.5
    x = x + params["position"][jnp.arange(length)]
    causal = jnp.tril(jnp.ones((length, length), bool))
    h = layer_norm(params["ln1"], x)
    x = x + attend(params["self"], h, h, causal)
    h = layer_norm(params["ln2"], x)
    x = x + attend(params["cross"], h, memory)
    h = layer_norm(params["ln3"], x) @ params["w1"] + params["b1"]
    h = jax.nn.gelu(h, approximate=False)
    x = x + h @ params["w2"] + params["b2"]
    x = layer_norm(params["ln"], x)
    return x @ params["embed"].T


def functional():
    rng = np.random.default_rng(116)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.4, shape))

    def attention():
        return {f"w{n}": draw(8, 8) for n in "qkvo"} | {f"b{n}": draw(8) for n in "qkvo"}

    norms = {name: {"g": 1 + draw(8), "b": draw(8)} for name in ("ln1", "ln2", "ln3", "ln")}
    mlp = {"w1": draw(8, 16), "b1": draw(16), "w2": draw(16, 8), "b2": draw(8)}
    tables = {"embed": draw(10, 8), "position": draw(8, 8)}
    return forward, tables | {"self": attention(), "cross": attention()} | mlp | norms


def functional_loss(logits, tokens, memory):
    labels = tokens[:, 1:]
    logp = jax.nn.log_softmax(logits[:, :-1], axis=-1)
    picked = jnp.take_along_axis(logp, labels[:, :, None], axis=-1)[:, :, 0]
    keep = (labels != 0).astype(logp.dtype)
    return -jnp.sum(picked * keep) / jnp.sum(keep)


def args():
    rng = np.random.default_rng(216)
    tokens = rng.integers(1, 10, size=(2, 6))
    tokens[1, 4:] = 0
    return tokens, rng.normal(size=(2, 4, 8)).astype(np.float32)
