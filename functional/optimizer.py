"""Takes an optimizer's state out and puts it back, so that a run can go on from any step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import tree_utils

from functional.arrays import Pytree, leave
from scenarios.types import Arrays

# What optax calls the moving averages, and what we call them.
_MOMENTS = {"mu": "first", "nu": "second"}


# The learning rate holds no state: any will do.
_fresh = jax.jit(optax.adam(0.0).init)


def resume(params: Pytree, state: Arrays) -> optax.OptState:
    """Adam's state for ``params``, in the dtype of each parameter: a fresh one, or ``state``.

    Args:
        params: the parameters.
        state: as :func:`leave_state` left it; empty for a fresh one.
    """
    fresh = _fresh(params)
    if not state:
        return fresh
    moments = {
        theirs: {name: jnp.array(state[f"{ours}.{name}"], dtype=p.dtype) for name, p in params.items()}
        for theirs, ours in _MOMENTS.items()
    }
    return tree_utils.tree_set(fresh, count=jnp.array(state["count"], dtype=jnp.int32), **moments)


def leave_state(state: optax.OptState) -> Arrays:
    """A copy of Adam's state as NumPy arrays: ``count``, and two moments of every parameter."""
    moments = {
        f"{ours}.{name}": array
        for theirs, ours in _MOMENTS.items()
        for name, array in tree_utils.tree_get(state, theirs).items()
    }
    return {"count": np.array(int(tree_utils.tree_get(state, "count"))), **leave(moments)}
