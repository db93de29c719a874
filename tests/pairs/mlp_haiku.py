"""A mixture of experts with ELU, in haiku, transformed without a generator."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn


class Experts(nn.Module):
    def __init__(self, inputs=6, width=8, experts=3):
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.gate = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(nn.Linear(inputs, width) for _ in range(experts))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.norm(x)
        scores = self.gate(x) / x.shape[-1] ** 0.5
        gates = torch.softmax(scores, dim=-1)
        hidden = torch.stack([expert(x) for expert in self.experts], dim=1)
        hidden = nn.functional.elu(hidden)
        mixed = (gates.unsqueeze(-1) * hidden).sum(dim=1)
        return self.head(self.drop(mixed))


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Experts()
        nn.init.normal_(model.norm.weight, 1.0, 0.2)
        nn.init.normal_(model.norm.bias, 0.0, 0.2)
    return model.eval()


def network(x, training=False):
    x = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, eps=1e-5, name="norm")(x)
    scores = hk.Linear(3, name="gate")(x) / x.shape[-1] ** 0.5
    gates = jax.nn.softmax(scores, axis=-1)
    hidden = jnp.stack([hk.Linear(8, name=f"expert_{i}")(x) for i in range(3)], axis=-1)
    hidden = jax.nn.elu(hidden)
    mixed = jnp.sum(hidden * gates[:, None, :], axis=-1)
    mixed = hk.dropout(jax.random.key(0), 0.1 if training else 0.0, mixed)
    return hk.Linear(2, name="head")(mixed)


def functional():
    transformed = hk.without_apply_rng(hk.transform(network))
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), *args())
    rng = np.random.default_rng(104)
    return transformed.apply, jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes
    )


def args():
    return (np.random.default_rng(204).normal(size=(5, 6)).astype(np.float32),)
