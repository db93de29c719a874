"""Makes an optimizer, takes its state out and puts it back, so that a run can go on from any step."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from functional.arrays import Pytree, leave
from scenarios.port import Training
from scenarios.types import Arrays

# What optax calls the moving averages, and what we call them.
_MOMENTS = {"mu": "first", "nu": "second", "trace": "momentum"}


# The learning rate holds no state: any will do.
_fresh = jax.jit(optax.adam(0.0).init)


def made(training: Training) -> optax.GradientTransformation:
    """The transformation that means what the optimizer of ``torch.optim`` does."""
    told = training.told
    decay = [optax.add_decayed_weights(told["weight_decay"])] if told["weight_decay"] else []
    momentum = [optax.trace(told["momentum"], told.get("nesterov", False))] if told.get("momentum") else []
    if training.optimizer == "sgd":
        parts = [*decay, *momentum]
    elif training.optimizer == "rmsprop":
        scaled = optax.scale_by_rms(told["alpha"], told["eps"], eps_in_sqrt=False)
        parts = [*decay, scaled, *momentum]
    else:
        scaled = optax.scale_by_adam(*told["betas"], told["eps"])
        parts = [scaled, *decay] if training.optimizer == "adamw" else [*decay, scaled]
    return optax.chain(*parts, optax.scale_by_learning_rate(training.lr))


def resume(params: Pytree, state: Arrays, fresh: optax.OptState | None = None) -> optax.OptState:
    """An optimizer's state for ``params``, in the dtype of each parameter: a fresh one, or ``state``.

    Args:
        params: the parameters.
        state: as :func:`leave_state` left it; empty for a fresh one. Moments that it lacks are zero.
        fresh: the fresh one; Adam's by default.
    """
    fresh = _fresh(params) if fresh is None else fresh
    if not state:
        return fresh

    def taken(field: str, kept: Any) -> Any:  # noqa: ANN401
        if field == "count":
            return jnp.array(state["count"], dtype=jnp.int32)
        moments = {name: state.get(f"{_MOMENTS[field]}.{name}", kept[name]) for name in params}
        return {name: jnp.array(moment, dtype=params[name].dtype) for name, moment in moments.items()}

    return tuple(
        part._replace(**{field: taken(field, kept) for field, kept in _kept(part)}) for part in fresh
    )


def leave_state(state: optax.OptState) -> Arrays:
    """A copy of an optimizer's state as NumPy arrays: ``count``, and the moments of every parameter."""
    kept = dict(held for part in state for held in _kept(part))
    count = kept.pop("count", None)
    moments = {
        f"{_MOMENTS[field]}.{name}": array for field, moment in kept.items() for name, array in moment.items()
    }
    return {**({} if count is None else {"count": np.array(int(count))}), **leave(moments)}


def _kept(part: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """What one transformation of a chain remembers, by field."""
    return ((field, kept) for field, kept in part._asdict().items() if field in {"count", *_MOMENTS})
