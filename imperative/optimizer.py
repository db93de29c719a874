"""Takes an optimizer's state out and puts it back, so that a run can go on from any step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from imperative.arrays import leave
from scenarios.port import Optimizer
from scenarios.types import Arrays

# What PyTorch calls the moving averages, and what we call them.
_MOMENTS = {"exp_avg": "first", "exp_avg_sq": "second", "momentum_buffer": "first", "square_avg": "second"}

# What each keeps.
_KEPT = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.RMSprop: ("square_avg",),
    torch.optim.Adam: ("exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("exp_avg", "exp_avg_sq"),
}


def resume(optimizer: torch.optim.Optimizer, names: list[str], state: Arrays) -> None:
    """Put ``state`` into ``optimizer``, whose parameters are called ``names`` in its own order; in place.

    Args:
        optimizer: a fresh one.
        names: of its parameters.
        state: as :func:`leave_state` left it; empty leaves the optimizer fresh.
    """
    if not state:
        return
    memory = optimizer.state_dict()
    kept = next(held for kind, held in _KEPT.items() if isinstance(optimizer, kind))
    memory["state"] = {
        index: {
            **({"step": torch.tensor(float(state["count"]))} if "count" in state else {}),
            # load_state_dict converts them to the dtype and the device of the parameter.
            **{theirs: torch.tensor(np.asarray(state[f"{_MOMENTS[theirs]}.{name}"])) for theirs in kept},
        }
        for index, name in enumerate(names)
    }
    optimizer.load_state_dict(memory)


def leave_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]) -> Arrays:
    """A copy of the optimizer's state as NumPy arrays: ``count``, and the moments of every parameter."""
    memory = {name: optimizer.state[p] for name, p in parameters.items() if optimizer.state.get(p)}
    if not memory:
        return {}
    steps = [held["step"] for held in memory.values() if "step" in held]
    moments = {
        f"{ours}.{name}": held[theirs]
        for name, held in memory.items()
        for theirs, ours in _MOMENTS.items()
        if held.get(theirs) is not None
    }
    return {**({"count": np.array(int(steps[0]))} if steps else {}), **leave(moments)}


def made(optimizer: Optimizer, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
    """The optimizer of that description."""
    told, rate = optimizer.told, optimizer.learning_rate
    if optimizer.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=told["momentum"])
    if optimizer.name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, alpha=told["decay"], eps=told["eps"])
    betas = (told["b1"], told["b2"])
    if optimizer.name == "adamw":
        return torch.optim.AdamW(parameters, rate, betas, told["eps"], told["weight_decay"])
    return torch.optim.Adam(parameters, rate, betas, told["eps"])
