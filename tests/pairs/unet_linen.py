"""A U-Net of two levels with pooling, a nearest and a transposed upsampling, in flax.linen."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class Double(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")
        self.norm = nn.GroupNorm(2, outputs, eps=1e-4)

    def forward(self, x):
        return nn.functional.gelu(self.norm(self.conv(x)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([Double(1, 4), Double(4, 4), Double(4, 4)])
        self.up = nn.ModuleList([Double(8, 4), Double(8, 4)])
        self.transposed = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        fine = self.down[0](x)
        coarse = self.down[1](nn.functional.max_pool2d(fine, 2))
        h = self.down[2](nn.functional.avg_pool2d(coarse, 2))
        h = nn.functional.interpolate(h, scale_factor=2, mode="nearest")
        h = self.up[0](torch.cat([h, coarse], dim=1))
        h = self.transposed(h)
        h = self.up[1](torch.cat([h, fine], dim=1))
        return self.head(self.drop(h))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(21)
        model = UNet()
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, 0.0, 0.2)
    return model.eval()


class Stage(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3), padding="CIRCULAR")(x)
        x = linen.GroupNorm(num_groups=2, epsilon=1e-4)(x)
        return linen.gelu(x, approximate=False)


class Segmenter(linen.Module):
    @linen.compact
    def __call__(self, x):
        fine = Stage(name="fine")(x)
        h = linen.max_pool(fine, (2, 2), strides=(2, 2))
        coarse = Stage(name="coarse")(h)
        h = linen.avg_pool(coarse, (2, 2), strides=(2, 2))
        h = Stage(name="bottom")(h)
        size = h.shape[1]
        near = jnp.arange(2 * size) // 2
        h = h[:, near][:, :, near]
        h = jnp.concatenate([h, coarse], axis=-1)
        h = Stage(name="up_coarse")(h)
        h = linen.ConvTranspose(4, (2, 2), strides=(2, 2), transpose_kernel=True, name="transposed")(h)
        h = jnp.concatenate([h, fine], axis=-1)
        h = Stage(name="up_fine")(h)
        h = linen.Dropout(0.1, broadcast_dims=(1, 2))(h, deterministic=True, rng=jax.random.key(0))
        return linen.Conv(2, (1, 1), name="head")(h)


def forward(variables, x):
    y = Segmenter().apply(variables, jnp.moveaxis(x, 1, -1))
    return jnp.moveaxis(y, -1, 1)


def functional():
    image = np.moveaxis(*args(), 1, -1)
    shapes = jax.eval_shape(Segmenter().init, jax.random.key(0), image)
    rng = np.random.default_rng(121)
    return forward, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    return (np.random.default_rng(221).normal(size=(2, 1, 8, 8)).astype(np.float32),)
