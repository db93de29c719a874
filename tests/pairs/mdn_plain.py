"""A mixture density network in several dimensions, in plain JAX; the mean negative log likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class MixtureDensity(nn.Module):
    def __init__(self, inputs=3, hidden=8, components=4, outputs=2):
        super().__init__()
        self.trunk = nn.Linear(inputs, hidden)
        self.refine = nn.Linear(hidden, hidden)
        self.pi = nn.Linear(hidden, components)
        self.mu = nn.Linear(hidden, components * outputs)
        self.sigma = nn.Linear(hidden, components * outputs)

    def forward(self, x, y):
        h = torch.relu(self.trunk(x))
        h = torch.tanh(self.refine(h))
        shape = (x.shape[0], -1, y.shape[1])
        mu = self.mu(h).view(shape)
        sigma = nn.functional.softplus(self.sigma(h)).view(shape) + 1e-3
        z = (y.unsqueeze(1) - mu) / sigma
        log_density = (-0.5 * z**2 - sigma.log() - 0.5 * np.log(2 * np.pi)).sum(dim=-1)
        log_pi = torch.log_softmax(self.pi(h), dim=-1)
        return torch.logsumexp(log_pi + log_density, dim=-1)


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(24)
        model = MixtureDensity()
    with torch.no_grad():
        model.trunk.bias[::2] = 0.0  # pruned: with an empty row of x, ReLU is evaluated at exactly zero
    return model.eval()


def imperative_loss(log_likelihood, x, y):
    return -log_likelihood.mean()


def forward(params, x, y):
    h = x @ params["trunk"]["w"] + params["trunk"]["b"]
    h = jax.nn.relu(h)
    h = h @ params["refine"]["w"]
    h = jnp.tanh(h + params["refine"]["b"])
    logits = h @ params["pi"]["w"] + params["pi"]["b"]
    mu = jnp.einsum("nh,hkd->nkd", h, params["mu"]["w"]) + params["mu"]["b"]
    raw = jnp.einsum("nh,hkd->nkd", h, params["sigma"]["w"]) + params["sigma"]["b"]
    sigma = jax.nn.softplus(raw) + 1e-3
    z = (y[:, None, :] - mu) / sigma
    log_density = -0.5 * z**2 - jnp.log(sigma)
    log_density = log_density - 0.5 * jnp.log(2 * jnp.pi)
    log_density = jnp.sum(log_density, axis=-1)
    log_pi = jax.nn.log_softmax(logits, axis=-1)
    return jax.nn.logsumexp(log_pi + log_density, axis=-1)


def functional():
    rng = np.random.default_rng(124)

    def dense(inputs, *outputs):
        return {"w": jnp.asarray(rng.normal(0, 0.4, (inputs, *outputs))), "b": jnp.zeros(outputs)}

    heads = {"pi": dense(8, 4), "mu": dense(8, 4, 2), "sigma": dense(8, 4, 2)}
    return forward, {"trunk": dense(3, 8), "refine": dense(8, 8)} | heads


def functional_loss(log_likelihood, x, y):
    total = jnp.sum(log_likelihood)
    return -total / log_likelihood.shape[0]


def args():
    rng = np.random.default_rng(224)
    x, y = rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    x[1] = 0.0
    return x, y
