"""A language model of one GRU layer with tied embeddings, in flax.linen; masked next-token cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import linen
from torch import nn


class GRU(nn.Module):
    """A GRU that has one bias for each gate, and one for the state within the reset."""

    def __init__(self, width):
        super().__init__()
        self.input = nn.Linear(width, 3 * width)
        self.hidden = nn.Linear(width, 3 * width, bias=False)
        self.hidden_bias = nn.Parameter(0.3 * torch.randn(width))

    def forward(self, x):
        h = x.new_zeros(x.shape[0], x.shape[2])
        states = []
        for t in range(x.shape[1]):
            xr, xz, xn = self.input(x[:, t]).chunk(3, dim=-1)
            hr, hz, hn = self.hidden(h).chunk(3, dim=-1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            n = torch.tanh(xn + r * (hn + self.hidden_bias))
            h = (1 - z) * n + z * h
            states.append(h)
        return torch.stack(states, dim=1)


class Language(nn.Module):
    def __init__(self, vocabulary=9, width=6):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.drop = nn.Dropout(0.2)
        self.rnn = GRU(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.embed(tokens) * self.embed.embedding_dim**0.5
        states = self.norm(self.rnn(self.drop(x)))
        return states @ self.embed.weight.T


def imperative():
    with torch.random.fork_rng():
        torch.manual_seed(12)
        model = Language()
        nn.init.normal_(model.norm.weight, 1.0, 0.2)
        nn.init.normal_(model.norm.bias, 0.0, 0.2)
    return model.eval()


def imperative_loss(logits, tokens):
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)


class TiedLanguage(linen.Module):
    vocabulary: int = 9
    width: int = 6

    @linen.compact
    def __call__(self, tokens):
        embed = linen.Embed(self.vocabulary, self.width, name="embed")
        x = embed(tokens) * self.width**0.5
        x = linen.Dropout(0.2)(x, deterministic=True, rng=jax.random.key(0))
        start = jnp.zeros((x.shape[0], self.width), x.dtype)
        states = linen.RNN(linen.GRUCell(self.width), name="rnn")(x, initial_carry=start)
        states = linen.LayerNorm(epsilon=1e-5, name="norm")(states)
        return embed.attend(states)


def functional():
    model = TiedLanguage()
    shapes = jax.eval_shape(model.init, jax.random.key(0), *args())
    rng = np.random.default_rng(112)
    return model, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 0.6, leaf.shape)), shapes)


def functional_loss(logits, tokens):
    targets = tokens[:, 1:]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], targets)
    keep = (targets != 0).astype(losses.dtype)
    return jnp.sum(losses * keep) / jnp.sum(keep)


def args():
    tokens = np.random.default_rng(212).integers(1, 9, size=(3, 7))
    tokens[1, 5:] = 0
    tokens[2, 4:] = 0
    return (tokens,)
