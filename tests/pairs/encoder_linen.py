"""nn.TransformerEncoderLayer, post-norm, in flax.linen with MultiHeadDotProductAttention."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class Encoder(nn.Module):
    def __init__(self, inputs=5, width=12, heads=2, layers=2):
        super().__init__()
        self.proj = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 20, dropout=0.1, activation="gelu", batch_first=True)
            for _ in range(layers)
        )

    def forward(self, x, mask):
        x = self.proj(x)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        keep = mask.unsqueeze(-1).to(x.dtype)
        return (x * keep).sum(dim=1) / keep.sum(dim=1)


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(14)
        model = Encoder()
        for layer in model.layers:
            for bias in (layer.self_attn.in_proj_bias, layer.self_attn.out_proj.bias):
                nn.init.normal_(bias, 0.0, 0.3)
            for norm in (layer.norm1, layer.norm2):
                nn.init.normal_(norm.weight, 1.0, 0.2)
                nn.init.normal_(norm.bias, 0.0, 0.2)
    return model.eval()


class EncoderLayer(linen.Module):
    heads: int
    hidden: int

    @linen.compact
    def __call__(self, x, mask):
        h = linen.MultiHeadDotProductAttention(self.heads)(x, mask=mask[:, None, None, :])
        x = linen.LayerNorm(epsilon=1e-5, name="norm_attention")(x + h)
        h = linen.Dense(self.hidden)(x)
        h = linen.gelu(h, approximate=False)
        h = linen.Dropout(0.1)(h, deterministic=True, rng=jax.random.key(0))
        h = linen.Dense(x.shape[-1])(h)
        return linen.LayerNorm(epsilon=1e-5, name="norm_mlp")(x + h)


class EncoderStack(linen.Module):
    layers: int = 2

    @linen.compact
    def __call__(self, x, mask):
        x = linen.Dense(12)(x)
        for _ in range(self.layers):
            x = EncoderLayer(heads=2, hidden=20)(x, mask)
        keep = mask[:, :, None].astype(x.dtype)
        total = jnp.sum(x * keep, axis=1)
        return total / jnp.sum(keep, axis=1)


def forward(variables, x, mask):
    return EncoderStack().apply(variables, x, mask)


def functional():
    shapes = jax.eval_shape(EncoderStack().init, jax.random.key(0), *args())
    rng = np.random.default_rng(114)
    return forward, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    x = np.random.default_rng(214).normal(size=(3, 6, 5)).astype(np.float32)
    mask = np.arange(6) < np.array([[6], [4], [5]])
    return x, mask
