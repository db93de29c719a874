"""Makes an optimizer, takes its state out and puts it back, so that a run can go on from any step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from imperative.arrays import leave
from scenarios.port import Training
from scenarios.types import Arrays

_KINDS: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}

# What PyTorch calls the moving averages, and what we call them.
_ADAM = {"exp_avg": "first", "exp_avg_sq": "second"}
_MOMENTS: Mapping[type[torch.optim.Optimizer], Mapping[str, str]] = {
    torch.optim.SGD: {"momentum_buffer": "momentum"},
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.RMSprop: {"square_avg": "second", "momentum_buffer": "momentum"},
}


def made(training: Training, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
    """A fresh optimizer of these parameters."""
    options: dict[str, object] = {"lr": training.lr, **training.told}
    return _KINDS[training.optimizer](parameters, **options)  # type: ignore[arg-type]  # of this very kind


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
    memory["state"] = {
        index: {
            "step": torch.tensor(float(state.get("count", 0))),
            # load_state_dict converts them to the dtype and the device of the parameter.
            **{
                theirs: torch.tensor(np.asarray(state[f"{ours}.{name}"]))
                for theirs, ours in _moments(optimizer).items()
                if f"{ours}.{name}" in state
            },
        }
        for index, name in enumerate(names)
    }
    optimizer.load_state_dict(memory)


def leave_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]) -> Arrays:
    """A copy of the optimizer's state as NumPy arrays: ``count``, and the moments of every parameter."""
    memory = {name: optimizer.state[p] for name, p in parameters.items() if p in optimizer.state}
    ours = _moments(optimizer)
    moments = {
        f"{ours[theirs]}.{name}": tensor
        for name, kept in memory.items()
        for theirs, tensor in kept.items()
        if theirs in ours and tensor is not None
    }
    if not memory or ours is not _ADAM:  # the others do nothing that depends on how many steps there were
        return leave(moments)
    return {"count": np.array(int(next(iter(memory.values()))["step"].item())), **leave(moments)}


def _moments(optimizer: torch.optim.Optimizer) -> Mapping[str, str]:
    return next(names for kind, names in _MOMENTS.items() if isinstance(optimizer, kind))
