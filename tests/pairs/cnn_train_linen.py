"""A convolutional network in training mode, with running statistics as torch keeps them, in flax.linen."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn


class SlowNorm(nn.BatchNorm2d):
    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        return nn.functional.batch_norm(x, mean, var, self.weight, self.bias, True, momentum=0.01, eps=1e-3)


class Stage(nn.Module):
    def __init__(self, inputs, outputs, norm):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = norm

    def forward(self, x):
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.1)


class Trainee(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage1 = Stage(2, 4, nn.BatchNorm2d(4))
        self.stage2 = Stage(4, 5, SlowNorm(5))
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        x = self.stage2(self.stage1(x))
        return self.fc(x.mean(dim=(2, 3)))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(6)
        model = Trainee()
        for stage in (model.stage1, model.stage2):
            nn.init.uniform_(stage.norm.weight, 0.5, 1.5)
            nn.init.normal_(stage.norm.bias, 0.0, 0.3)
            nn.init.normal_(stage.norm.running_mean, 0.0, 0.3)
            nn.init.uniform_(stage.norm.running_var, 0.2, 1.5)
    return model.train()


class BatchNorm(linen.Module):
    momentum: float
    epsilon: float

    @linen.compact
    def __call__(self, x):
        features = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        running_var = self.variable("batch_stats", "var", jnp.ones, features)
        scale = self.param("scale", linen.initializers.ones, features)
        bias = self.param("bias", linen.initializers.zeros, features)
        mean = jnp.mean(x, axis=(0, 1, 2))
        var = jnp.var(x, axis=(0, 1, 2))
        if not self.is_initializing():
            count = x.size // x.shape[-1]
            unbiased = var * count / (count - 1)
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        x = (x - mean) / jnp.sqrt(var + self.epsilon)
        return x * scale + bias


class Learner(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (3, 3), use_bias=False)(x)
        x = BatchNorm(momentum=0.9, epsilon=1e-5)(x)
        x = linen.leaky_relu(x, 0.1)
        x = linen.Conv(5, (3, 3), use_bias=False)(x)
        x = BatchNorm(momentum=0.99, epsilon=1e-3)(x)
        x = linen.leaky_relu(x, 0.1)
        pooled = jnp.mean(x, axis=(1, 2))
        return linen.Dense(3)(pooled)


def forward(variables, x):
    return Learner().apply(variables, jnp.moveaxis(x, 1, -1), mutable=["batch_stats"])


def functional():
    image = np.moveaxis(*args(), 1, -1)
    shapes = jax.eval_shape(Learner().init, jax.random.key(0), image)
    rng = np.random.default_rng(106)
    return forward, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def args():
    return (np.random.default_rng(206).normal(0.5, 2.0, size=(3, 2, 6, 6)).astype(np.float32),)
