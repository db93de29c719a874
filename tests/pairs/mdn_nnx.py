"""A mixture density network of one dimension with three heads, in flax.nnx; negative log likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn


class Mixture(nn.Module):
    def __init__(self, inputs=4, hidden=8, components=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, hidden))
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(hidden, 3 * components)

    def forward(self, x, y):
        h = torch.tanh(self.norm(self.body(x)))
        logits, mu, log_sigma = self.head(self.drop(h)).chunk(3, dim=-1)
        z = (y.unsqueeze(-1) - mu) * torch.exp(-log_sigma)
        log_normal = -0.5 * (z.square() + np.log(2 * np.pi)) - log_sigma
        return logits.log_softmax(dim=-1) + log_normal


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(25)
        model = Mixture()
        nn.init.normal_(model.norm.weight, 1.0, 0.2)
        nn.init.normal_(model.norm.bias, 0.0, 0.2)
    return model.eval()


def imperative_loss(joint, x, y):
    return -joint.logsumexp(dim=-1).mean()


class Densities(nnx.Module):
    def __init__(self, inputs, hidden, components, *, rngs):
        self.enter = nnx.Linear(inputs, hidden, rngs=rngs)
        self.mix = nnx.Linear(hidden, hidden, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(hidden))
        self.shift = nnx.Param(jnp.zeros(hidden))
        self.dropout = nnx.Dropout(0.1)
        self.logits = nnx.Linear(hidden, components, rngs=rngs)
        self.mu = nnx.Linear(hidden, components, rngs=rngs)
        self.log_sigma = nnx.Linear(hidden, components, rngs=rngs)

    def normalise(self, h):
        mean = jnp.mean(h, axis=-1, keepdims=True)
        variance = jnp.var(h, axis=-1, keepdims=True)
        h = (h - mean) / jnp.sqrt(variance + 1e-5)
        return h * self.scale[...] + self.shift[...]

    def __call__(self, x, y):
        h = nnx.elu(self.enter(x))
        h = self.normalise(self.mix(h))
        h = jnp.tanh(h)
        h = self.dropout(h, deterministic=True, rngs=jax.random.key(0))
        log_sigma = self.log_sigma(h)
        z = (y[:, None] - self.mu(h)) * jnp.exp(-log_sigma)
        log_normal = -0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi))
        log_normal = log_normal - log_sigma
        log_pi = jax.nn.log_softmax(self.logits(h), axis=-1)
        return log_pi + log_normal


def functional():
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Densities(4, 8, 3, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(125)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)
    return nnx.merge(graph, state), None


def functional_loss(joint, x, y):
    log_likelihood = jax.nn.logsumexp(joint, axis=-1)
    return -jnp.mean(log_likelihood)


def args():
    rng = np.random.default_rng(225)
    return rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=6).astype(np.float32)
