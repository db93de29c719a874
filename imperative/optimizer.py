"""Takes an optimizer's state out and puts it back, so that a run can go on from any step."""

from collections.abc import Mapping

import numpy as np
import torch

from imperative.arrays import leave
from scenarios.types import Arrays

# What PyTorch calls the moving averages, and what we call them.
_MOMENTS = {"exp_avg": "first", "exp_avg_sq": "second"}


def resume(optimizer: torch.optim.Optimizer, names: list[str], state: Arrays) -> None:
    """Put ``state`` into ``optimizer``, whose parameters are called ``names`` in its own order; in place.

    Args:
        optimizer: a fresh Adam.
        names: of its parameters.
        state: as :func:`leave_state` left it; empty leaves the optimizer fresh.
    """
    if not state:
        return
    memory = optimizer.state_dict()
    memory["state"] = {
        index: {
            "step": torch.tensor(float(state["count"])),
            # load_state_dict converts them to the dtype and the device of the parameter.
            **{
                theirs: torch.tensor(np.asarray(state[f"{ours}.{name}"])) for theirs, ours in _MOMENTS.items()
            },
        }
        for index, name in enumerate(names)
    }
    optimizer.load_state_dict(memory)


def leave_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]) -> Arrays:
    """A copy of the optimizer's state as NumPy arrays: ``count``, and two moments of every parameter."""
    memory = {name: optimizer.state[p] for name, p in parameters.items() if p in optimizer.state}
    if not memory:
        return {}
    count = np.array(int(next(iter(memory.values()))["step"].item()))
    moments = {f"{ours}.{n}": m[theirs] for n, m in memory.items() for theirs, ours in _MOMENTS.items()}
    return {"count": count, **leave(moments)}
