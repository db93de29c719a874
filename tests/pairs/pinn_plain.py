"""The residual of Burgers' equation with a kinked initial profile and a learned viscosity, in plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Burgers(nn.Module):
    def __init__(self, width=10):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(2, width), nn.Linear(width, width)])
        self.out = nn.Linear(width, 1)
        self.log_viscosity = nn.Parameter(torch.randn(()))

    def solution(self, x, t):
        h = torch.stack([x, t], dim=-1)
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        start = torch.relu(x) * torch.exp(-t)
        return start + t * self.out(h).squeeze(-1)

    def forward(self, x, t):
        with torch.enable_grad():
            x, t = x.clone().requires_grad_(), t.clone().requires_grad_()
            u = self.solution(x, t)
            u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
            (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
            advection = u * u_x
            diffusion = self.log_viscosity.exp() * u_xx
            return u_t + advection - diffusion


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(22)
        model = Burgers()
    return model.eval()


def solution(params, x, t):
    h = jnp.stack([x, t])
    first, second, last = params["layers"]
    h = jnp.tanh(h @ first["w"] + first["b"])
    h = h @ second["w"]
    h = jnp.tanh(h + second["b"])
    y = jnp.squeeze(h @ last["w"] + last["b"])
    start = jax.nn.relu(x) * jnp.exp(-t)
    return start + t * y


def residual(params, x, t):
    u, u_t = jax.value_and_grad(solution, argnums=2)(params, x, t)
    u_x = jax.grad(solution, argnums=1)(params, x, t)
    u_xx = jax.grad(jax.grad(solution, argnums=1), argnums=1)(params, x, t)
    advection = u_x * u
    diffusion = jnp.exp(params["log_viscosity"]) * u_xx
    return u_t - diffusion + advection


def forward(params, x, t):
    return jax.vmap(residual, in_axes=(None, 0, 0))(params, x, t)


def functional():
    rng = np.random.default_rng(122)
    layers = [
        {"w": jnp.asarray(rng.normal(0, m**-0.5, (m, n))), "b": jnp.asarray(rng.normal(0, 0.3, n))}
        for m, n in ((2, 10), (10, 10), (10, 1))
    ]
    return forward, {"layers": layers, "log_viscosity": jnp.asarray(rng.normal())}


def args():
    rng = np.random.default_rng(222)
    x = rng.uniform(-1, 1, size=8).astype(np.float32)
    x[::3] = 0.0  # at the kink
    return x, rng.uniform(0, 1, size=8).astype(np.float32)
