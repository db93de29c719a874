"""A small image classifier with batch norm in evaluation, in flax.linen."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class Classifier(nn.Module):
    def __init__(self, width=6, classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * 3 * 3, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.gelu(self.bn2(self.conv2(x)))
        x = nn.functional.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Classifier()
        for norm in (model.bn1, model.bn2):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0.0, 0.3)
            nn.init.normal_(norm.running_mean, 0.0, 0.3)
            nn.init.uniform_(norm.running_var, 0.2, 1.5)
    return model.eval()


class ImageNet(linen.Module):
    width: int = 6
    classes: int = 4

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(self.width, (3, 3), strides=2, padding=((1, 1), (1, 1)), use_bias=False)(x)
        x = linen.BatchNorm(use_running_average=True, epsilon=1e-5)(x)
        x = linen.relu(x)
        x = linen.Conv(self.width, (3, 3), padding="SAME")(x)
        x = linen.BatchNorm(use_running_average=True, epsilon=1e-5, name="norm")(x)
        x = linen.gelu(x, approximate=False)
        x = linen.max_pool(x, (2, 2), strides=(2, 2))
        x = jnp.transpose(x, (0, 3, 1, 2))  # the dense kernel counts channels first
        x = x.reshape(x.shape[0], -1)
        return linen.Dense(self.classes)(x)


def forward(variables, x):
    return ImageNet().apply(variables, jnp.moveaxis(x, 1, -1))


def functional():
    image = np.moveaxis(*args(), 1, -1)
    shapes = jax.eval_shape(ImageNet().init, jax.random.key(0), image)
    rng = np.random.default_rng(105)
    return forward, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    return (np.random.default_rng(205).normal(size=(3, 3, 12, 12)).astype(np.float32),)
