"""The residual of a Helmholtz equation on the unit square, in equinox with Fourier features; mean square."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Helmholtz(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.frequencies = nn.Parameter(0.3 * torch.randn(4, 2))
        self.net = nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.out = nn.Linear(width, 1)
        self.wavenumber = nn.Parameter(1 + torch.rand(1))

    def solution(self, points):
        angles = 2 * torch.pi * points @ self.frequencies.T
        features = torch.cat([angles.sin(), angles.cos()], dim=-1)
        u = self.out(self.net(features)).squeeze(-1)
        return u * (points * (1 - points)).prod(dim=-1)  # zero on the boundary

    def forward(self, points):
        with torch.enable_grad():
            points = points.clone().requires_grad_()
            u = self.solution(points)
            (slope,) = torch.autograd.grad(u.sum(), points, create_graph=True)
            curvature = [
                torch.autograd.grad(slope[:, i].sum(), points, create_graph=True)[0][:, i] for i in range(2)
            ]
            laplacian = curvature[0] + curvature[1]
            source = torch.sin(torch.pi * points[:, 0]) * points[:, 1]
            return laplacian + self.wavenumber**2 * u - source


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(23)
        model = Helmholtz()
    return model.eval()


def imperative_loss(residual, points):
    return residual.square().mean()


class Solution(eqx.Module):
    frequencies: jax.Array
    mlp: eqx.nn.MLP
    wavenumber: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key)
        self.frequencies = jax.random.normal(keys[0], (2, 4))
        self.mlp = eqx.nn.MLP(8, "scalar", 8, 2, jnp.tanh, key=keys[1])
        self.wavenumber = jnp.ones(())

    def __call__(self, point):
        angles = point @ self.frequencies
        angles = 2 * jnp.pi * angles
        features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        u = self.mlp(features)
        boundary = jnp.prod(point * (1 - point))
        return u * boundary


def residual(model, point):
    hessian = jax.hessian(model)(point)
    laplacian = jnp.trace(hessian)
    source = jnp.sin(jnp.pi * point[0]) * point[1]
    mass = model.wavenumber**2 * model(point)
    return laplacian + mass - source


def forward(model, points):
    return jax.vmap(residual, in_axes=(None, 0))(model, points)


def functional():
    shapes = eqx.filter_eval_shape(Solution, jax.random.key(0))
    shapes, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(123)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.6, 0.6, leaf.shape)), shapes)
    return forward, eqx.combine(arrays, static)


def functional_loss(residuals, points):
    squares = jnp.square(residuals)
    return jnp.mean(squares)


def args():
    return (np.random.default_rng(223).uniform(0, 1, size=(7, 2)).astype(np.float32),)
