"""A vision transformer with class token and learned positions, in flax.linen."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, length, dim = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, dim=8, heads=2, depth=2, classes=3):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, 4, stride=4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.5 * torch.randn(1, 7, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.blocks(x + self.pos_embed)
        x = self.norm(x)
        return self.head(x[:, 0])


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(18)
        model = VisionTransformer()
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, 0.0, 0.2)
    return model.eval()


class EncoderBlock(linen.Module):
    heads: int

    @linen.compact
    def __call__(self, x):
        h = linen.LayerNorm(epsilon=1e-6, name="ln1")(x)
        h = linen.MultiHeadDotProductAttention(self.heads, name="attention")(h)
        x = x + h
        h = linen.LayerNorm(epsilon=1e-6, name="ln2")(x)
        h = linen.Dense(2 * x.shape[-1])(h)
        h = linen.gelu(h, approximate=False)
        h = linen.Dropout(0.1)(h, deterministic=True, rng=jax.random.key(0))
        h = linen.Dense(x.shape[-1])(h)
        return x + h


class ViT(linen.Module):
    width: int = 8

    @linen.compact
    def __call__(self, image):
        x = linen.Conv(self.width, (4, 4), strides=4, padding="VALID", name="embedding")(image)
        x = x.reshape(x.shape[0], -1, self.width)
        normal = linen.initializers.normal(0.5)
        token = self.param("cls", normal, (1, 1, self.width))
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], axis=1)
        x = x + self.param("positions", normal, (1, x.shape[1], self.width))
        for i in range(2):
            x = EncoderBlock(heads=2, name=f"encoder_{i}")(x)
        x = linen.LayerNorm(epsilon=1e-6, name="encoder_norm")(x)
        x = x[:, 0]
        return linen.Dense(3, name="head")(x)


def forward(variables, x):
    image = jnp.moveaxis(x, 1, -1)
    return ViT().apply(variables, image)


def functional():
    image = np.moveaxis(*args(), 1, -1)
    shapes = jax.eval_shape(ViT().init, jax.random.key(0), image)
    rng = np.random.default_rng(118)
    return forward, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    return (np.random.default_rng(218).normal(size=(2, 3, 12, 8)).astype(np.float32),)
