"""Keeps what every k-th step left behind, while a loop mutates the originals."""

from collections.abc import Mapping

import torch

from imperative.arrays import leave
from scenarios.types import History


class Recorder:
    """Copies loss, gradients and parameters after every ``every``-th step; after none if ``None``."""

    def __init__(self, every: int | None = 1) -> None:
        """Start with nothing recorded.

        Raises:
            ValueError: ``every`` is less than 1.
        """
        if every is not None and every < 1:
            raise ValueError(f"every is {every}: keep every 1st, 2nd, … step, or None of them.")
        self.every = every
        self.steps: list[int] = []
        self.losses: list[torch.Tensor] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.parameters: list[dict[str, torch.Tensor]] = []

    def keep(self, step: int, loss: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> None:
        """Record step number ``step`` (from 1) if it is due."""
        if self.every is None or step % self.every:
            return
        self.steps.append(step)
        self.losses.append(loss)
        self.gradients.append(gradients(parameters))
        self.parameters.append({name: p.detach().clone() for name, p in parameters.items()})

    def history(self) -> History | None:
        """The rows as stacked NumPy arrays; None if nothing was to be recorded."""
        if not self.steps:
            return None
        stacked = leave({"losses": torch.stack(self.losses).ravel(), "steps": torch.tensor(self.steps)})
        return History(
            steps=stacked["steps"],
            losses=stacked["losses"],
            gradients=leave(_stack(self.gradients)),
            parameters=leave(_stack(self.parameters)),
        )


def gradients(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy of every parameter's ``.grad``: the next ``backward`` adds to the original."""
    return {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}


def _stack(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
