"""A perceptron with batch norm in training mode, in plain JAX; returns the new running statistics beside."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8, momentum=0.1)
        self.fc2, self.bn2 = nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8, momentum=0.3)
        self.fc3 = nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.bn1(self.fc1(x)))
        h = h + nn.functional.silu(self.bn2(self.fc2(h)))
        return self.fc3(h)


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(26)
        model = Perceptron()
        for norm in (model.bn1, model.bn2):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0.0, 0.3)
            nn.init.normal_(norm.running_mean, 0.0, 0.3)
            nn.init.uniform_(norm.running_var, 0.2, 1.5)
    return model.train()


def moments(h):
    mean = jnp.mean(h, axis=0)
    variance = jnp.mean((h - mean) ** 2, axis=0)
    return mean, variance


def normalise(p, h, mean, variance):
    h = (h - mean) * jax.lax.rsqrt(variance + 1e-5)
    return h * p["gamma"] + p["beta"]


def follow(stats, mean, variance, rate, count):
    unbiased = variance * count / (count - 1)
    new_mean = stats["mean"] + rate * (mean - stats["mean"])
    new_variance = stats["variance"] + rate * (unbiased - stats["variance"])
    return {"mean": new_mean, "variance": new_variance}


def forward(variables, x):
    params, stats = variables["params"], variables["stats"]
    h = x @ params["w1"]
    mean, variance = moments(h)
    first = follow(stats["first"], mean, variance, 0.1, len(x))
    h = normalise(params["first"], h, mean, variance)
    h = jnp.tanh(h)
    mixed = h @ params["w2"]
    mean, variance = moments(mixed)
    second = follow(stats["second"], mean, variance, 0.3, len(x))
    mixed = normalise(params["second"], mixed, mean, variance)
    h = h + jax.nn.silu(mixed)
    output = h @ params["w3"] + params["b3"]
    return output, {"stats": {"first": first, "second": second}}


def functional():
    rng = np.random.default_rng(126)

    def draw(*shape):
        return jnp.asarray(rng.uniform(0.1, 0.6, shape))

    norms = {name: {"gamma": draw(8), "beta": draw(8)} for name in ("first", "second")}
    stats = {name: {"mean": draw(8), "variance": draw(8)} for name in ("first", "second")}
    weights = {"w1": draw(5, 8), "w2": draw(8, 8), "w3": draw(8, 2), "b3": draw(2)}
    return forward, {"params": weights | norms, "stats": stats}


def args():
    return (np.random.default_rng(226).normal(0.5, 2.0, size=(7, 5)).astype(np.float32),)
