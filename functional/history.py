"""Keeps what every k-th step returned, while one compiled scan carries the values on."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from functional.arrays import Pytree, leave
from scenarios.types import History

Carry = TypeVar("Carry")


class Row(NamedTuple):
    """One step's loss, the gradients it used and the parameters it produced."""

    loss: Float[Array, "..."]
    gradients: Pytree
    parameters: Pytree


def scan(
    step: Callable[[Carry], tuple[Carry, Row]], carry: Carry, steps: int, every: int | None = 1
) -> tuple[Carry, Row | None]:
    """Take ``steps`` steps; return the last carry and the rows of steps ``every``, ``2·every``, ….

    Args:
        step: from a carry to the next carry and this step's row; traced, so it must be pure.
        carry: the start, any pytree.
        steps: number of steps, static.
        every: keep every ``every``-th row, static; ``None`` keeps none and returns ``None`` for them.

    Raises:
        ValueError: ``every`` is less than 1.
    """
    if every is not None and every < 1:
        raise ValueError(f"every is {every}: keep every 1st, 2nd, … step, or None of them.")

    def silently(carry: Carry, length: int) -> Carry:
        if length == 0:
            return carry
        return lax.scan(lambda carry, _: (step(carry)[0], None), carry, length=length)[0]

    if every is None:
        return silently(carry, steps), None

    def recorded(carry: Carry, _: None) -> tuple[Carry, Float[Array, "n"]]:
        # As one flat vector, a row is a single write into the stacked result instead of one per array.
        carry, row = step(silently(carry, every - 1))
        return carry, ravel_pytree(row)[0]

    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(step, carry)[1])
    carry, rows = lax.scan(recorded, carry, length=steps // every)
    return silently(carry, steps % every), jax.vmap(ravel_pytree(empty)[1])(rows)


def leave_history(rows: Row | None, every: int | None) -> History | None:
    """The rows as NumPy arrays; None if nothing was to be recorded."""
    if every is None or rows is None or rows.loss.size == 0:
        return None
    losses = leave({"losses": rows.loss})["losses"]
    return History(
        steps=np.arange(1, len(losses) + 1) * every,
        losses=losses,
        gradients=leave(rows.gradients),
        parameters=leave(rows.parameters),
    )
