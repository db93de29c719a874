"""Takes an optimizer's state out and puts it back, so that a run can go on from any step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import tree_utils

from functional.arrays import Pytree, leave
from scenarios.port import Optimizer
from scenarios.types import Arrays

# What optax calls the moving averages, and what we call them.
_MOMENTS = {"mu": "first", "nu": "second", "trace": "first"}


# The learning rate holds no state: any will do.
_fresh = jax.jit(optax.adam(0.0).init)


def resume(params: Pytree, state: Arrays, fresh: optax.OptState | None = None) -> optax.OptState:
    """An optimizer's state for ``params``, in the dtype of each parameter: a fresh one, or ``state``.

    Args:
        params: the parameters.
        state: as :func:`leave_state` left it; empty for a fresh one.
        fresh: the fresh one; Adam's by default.
    """
    fresh = _fresh(params) if fresh is None else fresh
    if not state:
        return fresh
    moments = {
        theirs: {name: jnp.array(state[f"{ours}.{name}"], dtype=p.dtype) for name, p in params.items()}
        for theirs, ours in _kept(fresh)
    }
    count = {"count": jnp.array(state["count"], dtype=jnp.int32)} if "count" in state else {}
    return tree_utils.tree_set(fresh, **count, **moments)


def leave_state(state: optax.OptState) -> Arrays:
    """A copy of an optimizer's state as NumPy arrays: ``count``, and the moments of every parameter."""
    moments = {
        f"{ours}.{name}": array
        for theirs, ours in _kept(state)
        for name, array in tree_utils.tree_get(state, theirs).items()
    }
    count = tree_utils.tree_get(state, "count")
    return {**({} if count is None else {"count": np.array(int(count))}), **leave(moments)}


def _kept(state: optax.OptState) -> list[tuple[str, str]]:
    """The moments that a state holds, by their names and by ours."""
    return [pair for pair in _MOMENTS.items() if tree_utils.tree_get(state, pair[0]) is not None]


def made(optimizer: Optimizer) -> optax.GradientTransformation:
    """The optimizer of that description."""
    told, rate = optimizer.told, optimizer.learning_rate
    if optimizer.name == "sgd":
        return optax.sgd(rate, momentum=told["momentum"] or None)
    if optimizer.name == "rmsprop":
        return optax.rmsprop(rate, decay=told["decay"], eps=told["eps"], eps_in_sqrt=False)
    if optimizer.name == "adamw":
        return optax.adamw(rate, told["b1"], told["b2"], told["eps"], weight_decay=told["weight_decay"])
    return optax.adam(rate, told["b1"], told["b2"], told["eps"])
