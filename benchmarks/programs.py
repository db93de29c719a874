"""Random differentiable programs, each written in torch and in jax as honestly the same function.

A judge that calls such a pair different is wrong, so both sides must share every convention. A primitive of
the table has several spellings that are equal on paper; each side draws its own. What keeps them equal:

- Kinks and jumps (relu, abs, clip, max, sort, where, a branch) are shifted by 0.137 or by a ramp, off
  integers and zeros, and refused if an entry lies on them. There the sides part: ``clip`` and
  ``maximum(x, 0)`` of jax halve the gradient, its ``leaky_relu`` takes the other side, ``max(dim)`` of torch
  picks one of a tie.
- ``torch.nn.functional.softplus`` is x itself above 20, so softplus is asked below 15 only.
- Defaults that differ are written out: ``correction`` and ``ddof``, the exact gelu, epsilons, axes.
- Denominators, logarithms and roots are kept off their poles; values stay below 1e12. A program so chaotic
  that float64 keeps no digit is dropped: nothing is left to agree on. So is one with an offset that absorbs
  an operand wholly, and one that overflows in float32, where one spelling may and another not.

The values of a program are followed in float64 while it is drawn: guards look at what will be computed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from hypothesis import assume
from hypothesis import strategies as st
from jax import lax, nn

from functional import arrays as jaxside
from imperative import arrays as torchside

Arrays = Mapping[str, np.ndarray]
Function = Callable[[Arrays, str], dict[str, np.ndarray]]
Tensor = torch.Tensor
Choose = Callable[[Sequence[Any]], Any]

LARGEST = 1e12  # of any value, so that float32 seldom overflows
STEEPEST = 1e30  # of any gradient
ENTRIES = 4096  # of any array
MARGIN = 1e-9  # from a kink, relative to max(1, the farthest from it): far above float64's rounding


@dataclass(frozen=True)
class Pair:
    """One function, written twice.

    Attributes:
        text: the program, an operation a line: its torch and its jax spelling.
        inputs: float64, by name.
        imperative: torch, eager: inputs and dtype to ``values.*`` and ``gradients.*`` in that dtype.
        functional: jax, jitted or not: the same.
    """

    text: str
    inputs: dict[str, np.ndarray] = field(repr=False)
    imperative: Function = field(repr=False)
    functional: Function = field(repr=False)


# A row per primitive: name | operands | spellings, equal on paper, with ~ between them | what must hold.
# m is either library; off(...) is off zero, where a kink or jump is. Operands are any value, y and z of
# shapes that broadcast or are alike; "along" an axis, "over" one or all, the "last"; or shaped by letters.
_TABLE = """
neg | x | -x ~ m.negative(x)
exp | x | m.exp(x) ~ m.exp(x / 2) ** 2 ~ 1 / m.exp(-x) | abs(x) < 20
expm1 | x | m.expm1(x) ~ m.exp(x) - 1 ~ 2 * m.exp(x / 2) * m.sinh(x / 2) | abs(x) < 20
log | x | m.log(x) ~ m.log2(x) * 0.6931471805599453 | x > 1e-3
log1p | x | m.log1p(x) ~ m.log(1 + x) | x > -0.5
log of sum | x | m.log(1 + x**2) ~ m.log1p(x * x) ~ 2 * m.log(m.sqrt(1 + x * x))
sqrt | x | m.sqrt(1 + x**2) ~ (1 + x * x) ** 0.5 ~ m.hypot(x, m.ones_like(x))
rsqrt | x | torch.rsqrt(0.1 + x**2) ~ lax.rsqrt(0.1 + x**2) ~ 1 / m.sqrt(0.1 + x * x) ~ (0.1 + x * x) ** -0.5
tanh | x | m.tanh(x) ~ m.sinh(x) / m.cosh(x) ~ 1 - 2 / (m.exp(2 * x) + 1) | abs(x) < 20
sigmoid | x | torch.sigmoid(x) ~ nn.sigmoid(x) ~ 0.5 + 0.5 * m.tanh(x / 2) ~ 1 / (1 + m.exp(-x)) | abs(x) < 30
softplus | x | F.softplus(x) ~ nn.softplus(x) ~ m.log(1 + m.exp(x)) ~ m.log1p(m.exp(x))
    ~ m.logaddexp(x, 0 * x) | abs(x) < 15
sin | x | m.sin(x) ~ 2 * m.sin(x / 2) * m.cos(x / 2) | abs(x) < 1e7
cos | x | m.cos(x) ~ 1 - 2 * m.sin(x / 2) ** 2 | abs(x) < 1e7
1 - cos | x | 1 - m.cos(x) ~ 2 * m.sin(x / 2) ** 2 | abs(x) < 1e7
erf | x | torch.erf(x) ~ 1 - torch.erfc(x) ~ lax.erf(x) ~ 1 - lax.erfc(x)
gelu | x | F.gelu(x) ~ x * 0.5 * (1 + torch.erf(x / 2**0.5))
    ~ nn.gelu(x, approximate=False) ~ x * 0.5 * (1 + lax.erf(x / 2**0.5))
silu | x | F.silu(x) ~ nn.silu(x) ~ x * torch.sigmoid(x) ~ x * nn.sigmoid(x)
    ~ x / (1 + m.exp(-x)) | abs(x) < 30
arctan | x | m.arctan(x) ~ m.arctan2(x, m.ones_like(x))
square | x | x**2 ~ x * x ~ m.square(x)
cube | x | x**3 ~ x * x * x ~ m.square(x) * x
power | x | (1 + x * x) ** p ~ m.exp(p * m.log1p(x * x))
reciprocal | x | 1 / (1 + x * x) ~ m.reciprocal(1 + x**2)
offset | x | (x + big) - big ~ (big + x) - big ~ +x
difference quotient | x | (m.sin(x + tiny) - m.sin(x)) / tiny
    ~ 2 * m.cos(x + tiny / 2) * m.sin(0 * x + tiny / 2) / tiny | abs(x) < 1e4
relu | x | F.relu(x - 0.137) ~ nn.relu(x - 0.137) ~ jnp.maximum(x - 0.137, 0) ~ m.clip(x - 0.137, 0)
    ~ m.where(x > 0.137, x - 0.137, 0.0) | off(x - 0.137)
leaky relu | x | F.leaky_relu(x - 0.137, 0.1) ~ nn.leaky_relu(x - 0.137, 0.1)
    ~ m.where(x > 0.137, x - 0.137, 0.1 * (x - 0.137)) | off(x - 0.137)
elu | x | F.elu(x - 0.137) ~ nn.elu(x - 0.137) | off(x - 0.137)
abs | x | m.abs(x - 0.137) ~ m.maximum(x - 0.137, 0.137 - x) | off(x - 0.137)
clip | x | m.clip(x, -0.863, 0.937) ~ m.where(x < -0.863, -0.863, m.where(x > 0.937, 0.937, x))
    ~ F.hardtanh(x, -0.863, 0.937) | off((x + 0.863) * (x - 0.937))
maximum | x, y | m.maximum(x, y + 0.137) ~ m.where(x > y + 0.137, x, y + 0.137) | off(x - y - 0.137)
minimum | x, y | m.minimum(x, y + 0.137) ~ -m.maximum(-x, -y - 0.137) | off(x - y - 0.137)
where | x, y | m.where(x > y + 0.137, x * y, x - y)
    ~ (x > y + 0.137) * (x * y) + (x <= y + 0.137) * (x - y) | off(x - y - 0.137)
add | x, y | x + y ~ y + x
sub | x, y | x - y ~ -(y - x)
mul | x, y | x * y ~ m.multiply(y, x)
div | x, y | x / (1 + y * y) ~ x * (1 / (1 + y**2))
distributive | x, y, z | x * (y + z) ~ x * y + x * z
multiply and add | x, y, z | x * y + z ~ torch.addcmul(z, x, y)
difference of squares | x, y | (x - y) * (x + y) ~ x * x - y * y
lerp | x, y | x + 0.3 * (y - x) ~ 0.7 * x + 0.3 * y ~ torch.lerp(x, y, 0.3)
hypotenuse | x, y | m.sqrt(1 + x * x + y * y) ~ m.hypot(m.hypot(x, m.ones_like(x)), y)
logaddexp | x, y | m.logaddexp(x, y) ~ m.log(m.exp(x) + m.exp(y)) | (abs(x) < 20) & (abs(y) < 20)
sum | x over | m.sum(x, AXES) ~ n * m.mean(x, AXES)
mean | x over | m.mean(x, AXES) ~ m.sum(x, AXES) / n ~ m.sum(x / n, AXES)
var | x over | torch.var(x, AXES, correction=ddof) ~ jnp.var(x, AXES, ddof=ddof)
    ~ m.sum((x - m.mean(x, axis=axis, keepdims=True)) ** 2, AXES) / (n - ddof)
    ~ (m.sum(x * x, AXES) - m.sum(x, AXES) ** 2 / n) / (n - ddof) | n > 1
std | x over | torch.std(x, AXES, correction=ddof) ~ jnp.std(x, AXES, ddof=ddof)
    ~ m.sqrt(m.sum((x - m.mean(x, axis=axis, keepdims=True)) ** 2, AXES) / (n - ddof))
    | (n > 1) & (torch.std(x, axis=axis, correction=0) > 1e-5 * abs(x).max())
max | x along | m.amax(x + ramp(x), AXES) ~ torch.max(x + ramp(x), axis, keepdim=keep).values
    ~ jnp.max(x + ramp(x), AXES) | off(gap(x + ramp(x), axis))
min | x along | m.amin(x - ramp(x), AXES) ~ -m.amax(ramp(x) - x, AXES) | off(gap(x - ramp(x), axis))
sort | x along | torch.sort(x + ramp(x), axis).values ~ jnp.sort(x + ramp(x), axis)
    | off(gap(x + ramp(x), axis))
logsumexp | x along | torch.logsumexp(x, AXES) ~ nn.logsumexp(x, AXES)
    ~ m.log(m.sum(m.exp(x - peak(x, axis)), AXES)) + m.sum(peak(x, axis), AXES)
naive logsumexp | x along | torch.logsumexp(x, AXES) ~ nn.logsumexp(x, AXES) ~ m.log(m.sum(m.exp(x), AXES))
    ~ 3 + m.log(m.sum(m.exp(x - 3), AXES)) | abs(x) < 20
softmax | x along | torch.softmax(x, axis) ~ torch.exp(torch.log_softmax(x, axis)) ~ nn.softmax(x, axis)
    ~ jnp.exp(nn.log_softmax(x, axis))
    ~ m.exp(x - peak(x, axis)) / m.sum(m.exp(x - peak(x, axis)), axis=axis, keepdims=True)
log softmax | x along | torch.log_softmax(x, axis) ~ nn.log_softmax(x, axis)
    ~ x - peak(x, axis) - m.log(m.sum(m.exp(x - peak(x, axis)), axis=axis, keepdims=True))
norm | x along | torch.linalg.vector_norm(x, dim=axis, keepdim=keep) ~ jnp.linalg.norm(x, AXES)
    ~ m.sqrt(m.sum(x * x, AXES)) ~ m.sum(x * x, AXES) ** 0.5 | (x * x).sum(axis) > 1e-6
normalize | x along | F.normalize(x, dim=axis) ~ x * lax.rsqrt(jnp.sum(x * x, axis, keepdims=True))
    ~ x / m.sqrt(m.sum(x * x, axis=axis, keepdims=True)) | (x * x).sum(axis) > 1e-6
cumsum | x along | m.cumsum(x, axis=axis) ~ lax.cumsum(x, axis)
logcumsumexp | x along | torch.logcumsumexp(x, axis) ~ lax.cumlogsumexp(x, axis)
    ~ m.log(m.cumsum(m.exp(x), axis=axis)) | abs(x) < 20
layer norm | x last | F.layer_norm(x, [n], eps=1e-5) ~ nn.standardize(x, axis=-1, epsilon=1e-5)
    ~ (x - m.mean(x, axis=-1, keepdims=True))
    / m.sqrt(m.mean((x - m.mean(x, axis=-1, keepdims=True)) ** 2, axis=-1, keepdims=True) + 1e-5) | n > 1
rms norm | x last | F.rms_norm(x, [n], eps=1e-5) ~ x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)
    ~ x / m.sqrt(m.mean(x * x, axis=-1, keepdims=True) + 1e-5)
cross entropy | x:ij | F.cross_entropy(x, torch.tensor(labels))
    ~ -torch.log_softmax(x, 1)[range(n), labels].mean()
    ~ -jnp.mean(jnp.take_along_axis(nn.log_softmax(x), jnp.array(labels)[:, None], 1))
    ~ jnp.mean(nn.logsumexp(x, axis=1) - jnp.sum(x * nn.one_hot(jnp.array(labels), x.shape[1]), 1))
binary cross entropy | x | F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.3))
    ~ -jnp.mean(0.3 * nn.log_sigmoid(x) + 0.7 * nn.log_sigmoid(-x)) ~ m.mean(m.logaddexp(0 * x, x) - 0.3 * x)
squared error | x, y alike | F.mse_loss(x, y) ~ m.mean((x - y) ** 2)
    ~ m.mean(x * x) - 2 * m.mean(x * y) + m.mean(y * y)
matmul | x:ij, y:jo | F.linear(x, y.T) ~ jnp.dot(x, y) ~ x @ y ~ m.einsum('ij,jo->io', x, y)
    ~ m.sum(x[..., None] * y, axis=-2) ~ m.swapaxes(m.swapaxes(y, 0, 1) @ m.swapaxes(x, -1, -2), -1, -2)
batched matmul | x:ijk, y:iko | torch.bmm(x, y) ~ jax.vmap(jnp.dot)(x, y) ~ x @ y
    ~ m.einsum('bik,bkj->bij', x, y) ~ m.stack([x[b] @ y[b] for b in range(n)])
gram | x:ij | x.T @ x / n ~ m.einsum('ij,ik->jk', x, x) / n ~ (x / n).T @ x
bilinear | x:ij, y:jj | m.sum((x @ y) * x, axis=1) ~ m.einsum('ni,ij,nj->n', x, y, x)
    ~ m.diagonal(x @ y @ x.T)
dot | x, y alike | m.sum(x * y) ~ m.dot(m.ravel(x), m.ravel(y)) ~ m.einsum('i,i->', m.ravel(x), m.ravel(y))
    ~ torch.vdot(x.ravel(), y.ravel()) ~ jnp.vdot(x, y)
outer | x, y | m.outer(m.ravel(x)[:9], m.ravel(y)[:6]) ~ m.ravel(x)[:9, None] * m.ravel(y)[None, :6]
    ~ m.einsum('i,j->ij', m.ravel(x)[:9], m.ravel(y)[:6])
conv1d | x:ijk, y:ojp | F.conv1d(x, y) ~ lax.conv(x, y, (1,), 'VALID')
    ~ m.einsum('njl,oj->nol', x[..., :-1], y[..., 0]) + m.einsum('njl,oj->nol', x[..., 1:], y[..., 1])
    | x.shape[2] > 1
attention | x:ij, y:oj, z:op | F.scaled_dot_product_attention(x[None], y[None], z[None])[0]
    ~ torch.softmax(x @ y.T / x.shape[1] ** 0.5, 1) @ z ~ nn.softmax(x @ y.T / x.shape[1] ** 0.5, 1) @ z
solve | x:ij, y:i | m.linalg.solve(eye(x) + x @ x.T, y) ~ m.linalg.inv(eye(x) + x @ x.T) @ y
    ~ torch.cholesky_solve(y[:, None], torch.linalg.cholesky(eye(x) + x @ x.T))[:, 0]
    ~ jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(eye(x) + x @ x.T), y) | (n < 10) & (abs(x) < 100)
log determinant | x:ij | m.linalg.slogdet(eye(x) + x @ x.T)[1]
    ~ 2 * m.sum(m.log(m.diagonal(m.linalg.cholesky(eye(x) + x @ x.T)))) | (n < 10) & (abs(x) < 100)
transpose | x:ij | x.T ~ m.swapaxes(x, 0, 1) ~ m.einsum('ij->ji', x)
reshape | x | m.reshape(x, (-1,)) ~ m.ravel(x)
broadcast | x | m.broadcast_to(x, (3, *x.shape)) ~ m.stack([x, x, x])
concatenate | x, y alike | m.concatenate([x, y], axis=axis) ~ torch.cat((x, y), axis)
    ~ lax.concatenate((x, y), axis)
stack | x, y alike | m.stack([x, y], axis=axis)
slice | x along | torch.narrow(x, axis, 0, cut) ~ lax.slice_in_dim(x, 0, cut, axis=axis)
    ~ m.swapaxes(m.swapaxes(x, 0, axis)[:cut], 0, axis)
stride | x last | x[..., ::2]
flip | x along | m.flip(x, (axis,))
roll | x along | x - m.roll(x, 1, axis)
gather | x along | torch.index_select(x, axis, torch.tensor(index)) ~ jnp.take(x, jnp.array(index), axis=axis)
    ~ m.swapaxes(m.swapaxes(x, 0, axis)[m.asarray(index)], 0, axis)
scatter | x along | x.new_zeros(3, *x.shape[1:]).index_add(0, torch.tensor(groups), x)
    ~ jax.ops.segment_sum(x, jnp.array(groups), 3)
    ~ jnp.zeros((3, *x.shape[1:]), x.dtype).at[jnp.array(groups)].add(x)
    ~ jnp.einsum('g...,gk->k...', x, nn.one_hot(jnp.array(groups), 3)) | axis == 0
loop | x, y alike | repeat(lambda h: body, x, steps) ~ lax.fori_loop(0, steps, lambda _, h: body, x)
    ~ lax.scan(lambda h, _: (body, None), x, None, length=steps)[0] | abs(y) < 4
recurrence | x:ij, y:jj | torch.stack(states(x, y))
    ~ lax.scan(lambda h, row: (m.tanh(h @ y / 9 + row),) * 2, 0 * x[0], x)[1] | abs(y) < 4
branch | x | (x * torch.sin(x) if x.mean() > 0.137 else x / (1 + x * x))
    ~ lax.cond(x.mean() > 0.137, lambda h: h * m.sin(h), lambda h: h / (1 + h * h), x)
    ~ jnp.where(x.mean() > 0.137, x * jnp.sin(x), x / (1 + x * x)) | (abs(x) < 1e7) & off(x.mean() - 0.137)
map | x:ij | torch.vmap(lambda h: h / (1 + h @ h))(x) ~ torch.stack([h / (1 + h @ h) for h in x])
    ~ jax.vmap(lambda h: h / (1 + h @ h))(x) ~ lax.map(lambda h: h / (1 + h @ h), x)
average | x | m.mean(x)
total | x | m.sum(x) ~ m.einsum('i->', m.ravel(x)) ~ m.sum(m.flip(m.ravel(x), (0,)))
mean square | x | m.mean(x * x) ~ m.mean(x**2)
ramp | x | m.sum(x * (1 + ramp(x))) ~ m.dot(m.ravel(x), 1 + m.ravel(ramp(x)))
"""


@dataclass(frozen=True)
class Primitive:
    """A row of the table: operands, spellings of either side, what must hold, and the words it uses."""

    operands: list[str]
    torch: list[str]
    jax: list[str]
    guard: str
    words: frozenset[str]

    @classmethod
    def read(cls, row: str) -> "Primitive":
        """Parse a row; a spelling that names neither library, or either as ``m``, serves both sides."""
        row = re.sub(r"\s+", " ", row).replace("AXES", "axis=axis, keepdims=keep")
        operands, spellings, guard = (*row.split(" | "), "True")[:3]
        each = spellings.split(" ~ ")
        left = [spelling for spelling in each if not re.search(r"\b(jax|jnp|lax|nn)\.", spelling)]
        right = [spelling for spelling in each if not re.search(r"\b(torch|F)\.", spelling)]
        return cls(re.split(r"[, ]+", operands), left, right, guard, frozenset(re.findall(r"[a-z]\w*", row)))


TABLE = {
    name: Primitive.read(row)
    for name, row in (entry.split(" | ", 1) for entry in re.split(r"\n(?! )", _TABLE.strip()))
}

TERMS = ("average", "total", "mean square", "ramp")  # what the loss is made of
NAMES = tuple(name for name in TABLE if name not in TERMS)

# What the spellings call beside the libraries, by the same names on both sides.


def _ramp(shape: Sequence[int]) -> np.ndarray:
    return np.linspace(0.0, 0.137, int(np.prod(shape))).reshape(shape)


def _repeat(body: Callable[[Any], Any], x: Any, steps: int) -> Any:  # noqa: ANN401  (an array of either side)
    for _ in range(steps):
        x = body(x)
    return x


def _states(rows: Tensor, weights: Tensor) -> list[Tensor]:
    states = [torch.zeros_like(rows[0])]
    for row in rows:
        states.append(torch.tanh(states[-1] @ weights / 9 + row))
    return states[1:]


TORCH: dict[str, Any] = {
    "torch": torch,
    "F": F,
    "repeat": _repeat,
    "states": _states,
    "ramp": lambda x: torch.tensor(_ramp(x.shape), dtype=x.dtype),
    "peak": lambda x, axis: torch.amax(x, axis, keepdim=True).detach(),
    "eye": lambda x: torch.eye(len(x), dtype=x.dtype),
    "gap": lambda x, axis: torch.sort(x, axis).values.diff(dim=axis),
    "off": lambda x: x.abs() > MARGIN * max([1.0, *x.abs().flatten().tolist()]),
}
JAX: dict[str, Any] = {
    "jax": jax,
    "jnp": jnp,
    "lax": lax,
    "nn": nn,
    "repeat": _repeat,
    "ramp": lambda x: jnp.asarray(_ramp(x.shape), x.dtype),
    "peak": lambda x, axis: lax.stop_gradient(jnp.max(x, axis, keepdims=True)),
    "eye": lambda x: jnp.eye(len(x), dtype=x.dtype),
}

SHAPES = [(), (3,), (256,), (4096,), (4, 5), (8, 1), (33, 16), (64, 64), (2, 3, 4), (4, 7, 16), (2, 1, 9)]
SCALES = [1.0, 0.03, 0.5, 4.0, 1e-3, 100.0]
FLAVOURS: dict[str, Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]] = {
    "normal": lambda g, shape, scale: scale * g.normal(size=shape),
    "positive": lambda g, shape, scale: scale * g.uniform(0.5, 2, shape),
    "integers": lambda g, shape, _: g.integers(-3, 4, shape).astype(float),
    "with zeros": lambda g, shape, scale: scale * g.normal(size=shape) * g.integers(0, 2, shape),
    "wide": lambda g, shape, _: g.choice([-1.0, 1.0], shape) * 10 ** g.uniform(-6, 6, shape),
    "nearly constant": lambda g, shape, scale: 100 * scale * (1 + 1e-4 * g.normal(size=shape)),
    "small": lambda g, shape, _: 1e-4 * g.normal(size=shape),
}
PARAMETERS: dict[str, Sequence[Any]] = {
    "keep": (False, True),
    "ddof": (0, 1),
    "p": (0.5, -1.5, 0.3, 2.7),
    "big": (100.0, 1e4, 1e6),
    "tiny": (0.01, 1e-4),
    "steps": range(2, 13),
    "body": (
        "0.9 * m.sin(h) + y",
        "h - 0.1 * (h - y)",
        "m.tanh(1.5 * h + y)",
        "h + 0.05 * m.cos(3 * h * y)",
        "0.5 * (h + (1 + y * y) / (0.1 + h * h))",
        "m.cos(2.5 * h) + 0 * y",  # chaotic
    ),
}


class Draft:
    """A program while it is drawn: its inputs, its operations, and what they compute in float64."""

    def __init__(self, choose: Choose, flavours: Sequence[str]) -> None:
        self.choose, self.flavours = choose, flavours
        self.inputs: dict[str, np.ndarray] = {}
        self.values: dict[str, Tensor] = {}
        self.lines: dict[str, tuple[str, str, str]] = {}  # name: what torch and jax assign to it, primitive
        self.notes: list[str] = []
        self.unused: list[str] = []
        self.absorbing = False  # whether an offset leaves nothing of an entry

    def leaf(self, shape: Sequence[int]) -> str:
        """A new input."""
        name, flavour, scale = f"x{len(self.inputs)}", self.choose(self.flavours), self.choose(SCALES)
        seed = self.choose(range(2**32))
        self.inputs[name] = np.array(FLAVOURS[flavour](np.random.default_rng(seed), tuple(shape), scale))
        self.values[name] = torch.tensor(self.inputs[name])
        self.notes.append(f"{name} {tuple(shape)}: {flavour}, scale {scale:g}, seed {seed}")
        self.unused.append(name)
        return name

    def pick(self, fits: Callable[[Sequence[int]], bool]) -> str:
        """A recent value whose shape fits, or a new input."""
        names = [name for name, value in self.values.items() if fits(value.shape)][-4:]
        return self.choose(names[::-1]) if names else self.leaf(self.choose([s for s in SHAPES if fits(s)]))

    def partner(self, shape: Sequence[int]) -> str:
        """A value that broadcasts with ``shape``, or a new input: of that shape, one row or column of it."""
        if self.choose((False, True)):
            axes = dict(enumerate(reversed(shape)))
            return self.pick(lambda s: all({n, axes.get(i, 1)} <= {1, n} for i, n in enumerate(reversed(s))))
        return self.leaf(self.choose([shape, shape[-1:], [*shape[:-1], *[1] * len(shape[-1:])]]))

    def bind(self, primitive: Primitive) -> dict[str, Any]:
        """What the placeholders of a primitive stand for; some operands are new inputs."""
        (_, _, letters), *others = (operand.partition(":") for operand in primitive.operands)
        kind = primitive.operands[-1]
        least = max(len(letters), "axis" in primitive.words or kind == "last")
        x = self.pick(lambda shape: len(shape) >= least and (not letters or len(shape) == least))
        shape = self.values[x].shape
        bound, sizes = {"x": x}, {**dict(zip(letters, shape, strict=False)), "o": 3, "p": 2}
        for name, _, each in others:
            if each or (name != kind and kind == "alike"):
                bound[name] = self.leaf([sizes[letter] for letter in each] if each else shape)
            elif name in {"y", "z"}:
                bound[name] = self.partner(shape)
                shape = torch.broadcast_shapes(shape, self.values[bound[name]].shape)
        return {**bound, **self.parameters(primitive.words, self.values[x].shape, kind)}

    def parameters(self, words: frozenset[str], shape: Sequence[int], kind: str) -> dict[str, Any]:
        """Parameters: an axis and how many entries it has, integers that index it, and the listed ones."""
        axes: list[Any] = [*range(len(shape))]
        axes = {"last": axes[-1:], "over": [*axes, tuple(axes)]}.get(kind, axes)
        axis = self.choose(axes) if kind in {"along", "over", "last", "alike"} and "axis" in words else 0
        n = int(np.prod(np.take(shape, axis))) if shape else 1
        chosen = {name: self.choose(options) for name, options in PARAMETERS.items() if name in words}
        generator = np.random.default_rng(self.choose(range(1000)) if words & {"index", "groups"} else 0)
        indices = {
            "index": generator.integers(0, n, min(n + 2, 20)).tolist(),
            "groups": generator.integers(0, 3, n).tolist(),
            "labels": [5 * row % shape[-1] for row in range(n)] if "labels" in words else [],
            "cut": n // 2 + 1,
        }
        return {"axis": axis, "n": n, **chosen, **indices}

    def add(self, name: str, bound: dict[str, Any] | None = None) -> bool:
        """Append an operation if its guard admits the operands; else leave the draft as it was."""
        before = dict(self.inputs), dict(self.values), list(self.notes), list(self.unused)
        primitive, target = TABLE[name], f"v{len(self.lines)}"
        bound = bound or self.bind(primitive)
        left = write(self.choose(primitive.torch), {**bound, "m": "torch"})
        right = write(self.choose(primitive.jax), {**bound, "m": "jnp"})
        if self.admits(primitive, bound):
            value = self.compute(left)
            if value.numel() <= ENTRIES and (value.abs() <= LARGEST).all():
                self.values[target], self.lines[target] = value, (left, right, name)
                self.absorbing |= name == "offset" and _absorbed(self.values[bound["x"]], float(bound["big"]))
                used = {operand for key, operand in bound.items() if key in "xyz"}
                self.unused = [each for each in (*self.unused, target) if each not in used]
                return True
        self.inputs, self.values, self.notes, self.unused = before
        return False

    def admits(self, primitive: Primitive, bound: dict[str, Any]) -> bool:
        """Whether the guard holds, in every entry."""
        return bool(torch.as_tensor(self.compute(write(primitive.guard, bound))).all())

    def compute(self, source: str) -> Tensor:
        """An expression over the values so far."""
        return eval(source, {**TORCH, **self.values})

    def compile(self, loss: str, kept: list[str], side: int) -> Callable[..., tuple[Any, dict[str, Any]]]:
        """One side's program as a function of its inputs: the loss, and what is kept."""
        namespace = dict((TORCH, JAX)[side])
        lines = [f"    {name} = {line[side]}" for name, line in self.lines.items()]
        returned = ", ".join(f"'values.{name}': {name}" for name in kept)
        head, end = f"def program({', '.join(self.inputs)}):", f"    return {loss}, {{{returned}}}"
        exec("\n".join([head, *lines, end]), namespace)
        return namespace["program"]


def write(expression: str, bound: dict[str, Any]) -> str:
    """An expression with its placeholders filled, outside strings and before ``=`` and ``(``."""
    for _ in range(2):  # a loop's body is a parameter that holds placeholders itself
        expression = re.sub(
            r"'[^']*'|(?<![\w.])[a-z]\w*(?!\w|\(|=)",
            lambda match: str(bound.get(match[0], match[0])),
            expression,
        )
    return expression


@st.composite
def programs(
    draw: st.DrawFn,
    names: Sequence[str] = NAMES,
    flavours: Sequence[str] = tuple(FLAVOURS),
    operations: Sequence[int] = range(3, 16),
) -> Pair:
    """Programs of so many primitives among ``names``, and the loss on top; inputs of the given flavours.

    Hypothesis often changes only a part of what it drew before: to estimate a rate, take :func:`stream`.
    """
    pair = _build(lambda options: draw(st.sampled_from(options)), names, flavours, operations)
    assume(pair is not None and sound(pair))
    return pair


def stream(
    seed: int,
    names: Sequence[str] = NAMES,
    flavours: Sequence[str] = tuple(FLAVOURS),
    operations: Sequence[int] = range(3, 16),
) -> Iterator[Pair]:
    """The same programs without end, drawn independently of each other."""
    yield from filter(sound, drafts(seed, names, flavours, operations))


def drafts(
    seed: int,
    names: Sequence[str] = NAMES,
    flavours: Sequence[str] = tuple(FLAVOURS),
    operations: Sequence[int] = range(3, 16),
) -> Iterator[Pair]:
    """The same, before they are run to see whether they are :func:`sound`."""
    generator = np.random.default_rng(seed)
    while True:
        pair = _build(lambda options: options[generator.integers(len(options))], names, flavours, operations)
        if pair:
            yield pair


def sound(pair: Pair) -> bool:
    """Whether both sides have something to agree on: finite in float32 too, and more than chaos."""
    return _settled(pair.imperative, pair.inputs) and _finite(pair)


def _build(
    choose: Choose, names: Sequence[str], flavours: Sequence[str], operations: Sequence[int]
) -> Pair | None:
    draft, wanted = Draft(choose, flavours), choose(operations)
    draft.leaf(choose(SHAPES))
    for _ in range(3 * wanted):
        if len(draft.lines) < wanted:
            draft.add(choose(names))
    if len(draft.lines) < operations[0]:
        return None
    kept = sorted({choose([*draft.lines]) for _ in range(2)})
    for name in list(draft.unused):
        if not any(draft.add(term, {"x": name}) for term in (choose(TERMS), "average")):
            return None
    loss, jitted = (
        " + ".join(draft.unused),
        choose((True, True, True, False)),
    )  # eager costs four times as much
    imperative = _imperative(draft.compile(loss, kept, 0))
    functional = _functional(draft.compile(loss, kept, 1), jitted=jitted)
    lines = [f"{v} = {left}  |  {right}  # {name}" for v, (left, right, name) in draft.lines.items()]
    end = f"loss = {loss}; kept {', '.join(kept)}; {'jit' if jitted else 'no jit'}"
    pair = Pair("\n".join([*draft.notes, *lines, end]), draft.inputs, imperative, functional)
    return None if draft.absorbing else pair


def _absorbed(value: Tensor, offset: float) -> bool:
    """Whether an offset leaves nothing of an entry, even in float64."""
    return bool(((value != 0) & ((value + offset) - offset == 0)).any())


def _finite(pair: Pair) -> bool:
    """Whether both sides stay finite in float32."""
    sides = (pair.imperative, pair.functional)
    return all(np.isfinite(a).all() for side in sides for a in side(pair.inputs, "float32").values())


def _settled(function: Function, inputs: Arrays) -> bool:
    """Whether results are finite, and more than chaos: moved by an ulp, far less than float32 moves them."""
    moved = {name: np.nextafter(array, np.inf) for name, array in inputs.items()}
    exact, near = function(inputs, "float64"), function(moved, "float64")
    coarse = function(inputs, "float32")
    with np.errstate(invalid="ignore", over="ignore"):
        return all(
            (size := np.abs(value).max()) < STEEPEST
            and np.abs(near[name] - value).max()
            <= max(1e-3 * np.abs(coarse[name] - value).max(), 1e-9 * size)
            for name, value in exact.items()
        )


def _cast(inputs: Arrays, dtype: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, dtype) for name, array in inputs.items()}


def _imperative(program: Callable[..., tuple[Tensor, dict[str, Tensor]]]) -> Function:
    def run(inputs: Arrays, dtype: Any) -> dict[str, np.ndarray]:  # noqa: ANN401  (one of two strings)
        leaves = torchside.enter(_cast(inputs, dtype), dtype, "cpu")
        loss, kept = program(**{name: leaf.requires_grad_() for name, leaf in leaves.items()})
        loss.backward()
        gradients = {f"gradients.{name}": leaf.grad for name, leaf in leaves.items()}
        return dict(torchside.leave({"values.loss": loss, **kept, **gradients}))

    return run


def _functional(program: Callable[..., tuple[jax.Array, dict[str, jax.Array]]], *, jitted: bool) -> Function:
    graded = jax.value_and_grad(lambda leaves: program(**leaves), has_aux=True)
    graded = jax.jit(graded) if jitted else graded

    def run(inputs: Arrays, dtype: Any) -> dict[str, np.ndarray]:  # noqa: ANN401  (one of two strings)
        with jaxside.running(dtype, "cpu"):
            (loss, kept), gradients = graded(jaxside.enter(_cast(inputs, dtype), dtype))
            named = {f"gradients.{name}": gradient for name, gradient in gradients.items()}
            return dict(jaxside.leave({"values.loss": loss, **kept, **named}))

    return run
