"""Expressions of the atlas in JAX: what they are worth, and every kind of derivative of them."""

import math
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy
import numpy as np
import optax
from jax import lax, nn

from functional.arrays import running
from scenarios.types import Arrays, Device, Dtype

_NAMES = {
    "jax": jax,
    "jnp": jnp,
    "lax": lax,
    "nn": nn,
    "jsp": jax.scipy,
    "optax": optax,
    "math": math,
    "inf": math.inf,
}

#: By kind of array, the type of a run's precision; whatever is missing is what JAX takes it for.
_TYPES = {
    ("float32", "f"): np.float32,
    ("float64", "f"): np.float64,
    ("float32", "c"): np.complex64,
    ("float64", "c"): np.complex128,
}

Tree = Mapping[str, Any]


def measured(
    text: str,
    arrays: Arrays,
    dtype: Dtype,
    device: Device = "cpu",
    *,
    fixed: Collection[str] = (),
    compiled: bool = True,
    deep: bool = True,
) -> dict[str, np.ndarray | str]:
    """What an expression is worth, and its derivatives: arrays, or the sentence by which JAX refuses.

    Args:
        text: an expression of the atlas (:class:`scenarios.atlas.Entry`).
        arrays: its arguments by name; those of real or complex numbers are differentiated by.
        dtype: to compute in.
        device: to compute on.
        fixed: the arguments that are not differentiated by.
        compiled: whether it is compiled as a whole (``jax.jit``), or carried out operation by operation.
        deep: whether second derivatives and forward mode are asked for.

    Returns:
        ``value``, and its ``type``; of a floating one also ``gradient.<name>`` of the sum of its entries in
        reverse mode, ``second.<name>`` of the sum of those gradients, and ``tangent`` in forward mode, along
        ones.
    """
    with running(dtype, device):
        given = {n: jnp.array(a, _TYPES.get((dtype, a.dtype.kind))) for n, a in arrays.items()}
        moving = {n: a for n, a in given.items() if jnp.issubdtype(a.dtype, jnp.inexact) and n not in fixed}
        rest = {n: a for n, a in given.items() if n not in moving}
        programs = _programs(text, tuple(arrays), compiled=compiled, deep=deep)
        try:
            return _left(programs["all"](moving, rest))
        except Exception:  # noqa: BLE001  # one of them may be refused, and is asked for alone
            found: dict[str, np.ndarray | str] = {}
        try:
            found |= _left(programs["value"](moving, rest))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what JAX says
            return {"value": str(error).split("\n", 1)[0]}
        for kind in ("gradient", "second", "tangent") if deep else ("gradient",):
            try:
                found |= _left(programs[kind](moving, rest))
            except Exception as error:  # noqa: BLE001
                refused = ["tangent"] if kind == "tangent" else [f"{kind}.{name}" for name in moving]
                found |= dict.fromkeys(refused, str(error).split("\n", 1)[0])
        return found


@cache
def _programs(
    text: str, names: tuple[str, ...], *, compiled: bool, deep: bool
) -> dict[str, Callable[[Tree, Tree], Any]]:
    function: Callable[..., Any] = eval(f"lambda {', '.join(names)}: {text}", dict(_NAMES))  # the atlas's own

    def outcome(moving: Tree, rest: Tree) -> jax.Array:
        return jnp.asarray(function(**moving, **rest))

    def slopes(moving: Tree, rest: Tree) -> Tree:
        result, pull = jax.vjp(lambda moving: outcome(moving, rest), moving)
        return dict(pull(jnp.ones_like(result))[0])

    def value(moving: Tree, rest: Tree) -> Tree:
        return {"value": outcome(moving, rest)}

    def gradient(moving: Tree, rest: Tree) -> Tree:
        return {f"gradient.{name}": slope for name, slope in slopes(moving, rest).items()}

    def second(moving: Tree, rest: Tree) -> Tree:
        first, pull = jax.vjp(lambda moving: slopes(moving, rest), moving)
        again = pull(jax.tree.map(jnp.ones_like, first))[0]
        return {f"second.{name}": slope for name, slope in again.items()}

    def tangent(moving: Tree, rest: Tree) -> Tree:
        ones = jax.tree.map(jnp.ones_like, moving)
        return {"tangent": jax.jvp(lambda moving: outcome(moving, rest), (moving,), (ones,))[1]}

    def everything(moving: Tree, rest: Tree) -> Tree:
        found = value(moving, rest)
        if moving and jnp.issubdtype(found["value"].dtype, jnp.floating):
            for kind in (gradient, second, tangent) if deep else (gradient,):
                found = {**found, **kind(moving, rest)}
        return found

    programs = {"all": everything, "value": value, "gradient": gradient, "second": second, "tangent": tangent}
    return {kind: jax.jit(program) if compiled else program for kind, program in programs.items()}


def _left(tree: Tree) -> dict[str, np.ndarray | str]:
    found: dict[str, np.ndarray | str] = {
        # NumPy knows a bfloat16 by another package alone.
        name: np.array(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
        for name, array in tree.items()
    }
    if "value" in tree:
        found["type"] = np.array(str(tree["value"].dtype))
    return found
