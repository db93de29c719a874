"""The record types that every floor speaks: plain frozen data over NumPy, no framework."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np

from scenarios.markup import grid

Dtype = Literal["float32", "float64"]
Device = Literal["auto", "cpu", "gpu"]
Arrays = Mapping[str, np.ndarray]
Fact = bool | int | str | tuple[int, ...] | None
Scalar = Any  # a number in the arithmetic of what it was computed from: real, complex, or of more digits
Objective = Callable[[Arrays], Scalar]


class UnavailableError(ValueError):
    """What was asked for (a scenario, a device) does not exist here; the message says what does."""


def unavailable(kind: str, name: str, options: Sequence[str]) -> UnavailableError:
    """The error for a ``kind`` that has no such ``name``: it suggests the nearest, or lists all."""
    nearest = get_close_matches(name.lower(), options, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose from {', '.join(options)}."
    return UnavailableError(f"no {kind} is called '{name}': {hint}")


@dataclass(frozen=True)
class Training:
    """How a scenario trains: the optimizer's name, its learning rate and the number of steps.

    ``adam`` has PyTorch's and optax's common defaults: decays 0.9 and 0.999, epsilon 1e-8 outside the root.
    ``other`` is what a changed twin trains with, and no formula is known of it.
    """

    optimizer: Literal["adam", "gradient descent", "other"]
    learning_rate: float
    steps: int


@dataclass(frozen=True)
class Published:
    """A figure of the lecture note, as printed there.

    Attributes:
        quantity: dotted path into a :class:`Result`, such as ``"converged.a"``.
        printed: the digits as printed; half a unit of the last one is what they promise.
        relation: ``"equal"`` to the printed digits, or ``"at most"`` the printed number.
    """

    quantity: str
    printed: str
    relation: Literal["equal", "at most"] = "equal"


@dataclass(frozen=True, eq=False)
class Statement:
    """One problem of the lecture note, stated in no framework.

    A changed copy (``dataclasses.replace``) may train otherwise as it is; with another start or other data it
    also needs the truth, objective and limit that belong to them.

    Attributes:
        name: the stem shared by the statement and its two twins.
        title: one line for people.
        source: the section of the lecture note.
        start: start value of every parameter that is differentiated, by name (float64, read-only).
        data: constants of the problem, by name (float64, read-only).
        state: where the optimizer takes up its work, as :attr:`Result.state` left it; empty for a fresh one.
        training: optimizer, learning rate and steps; None where nothing is trained.
        facts: discrete facts that both sides must derive, by name.
        truth: closed forms, by dotted path into a :class:`Result`.
        objective: the loss in NumPy, in whatever arithmetic its arguments have, to be differentiated exactly.
        limit: what training tends to, by dotted path; the distance to it is reported, never judged.
        published: the figures that the note prints.
    """

    name: str
    title: str
    source: str
    start: Arrays
    data: Arrays = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)
    training: Training | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    truth: Arrays = field(default_factory=dict)
    objective: Objective | None = None
    limit: Arrays = field(default_factory=dict)
    published: tuple[Published, ...] = ()

    def require_training(self) -> Training:
        """How this scenario trains.

        Raises:
            ValueError: it trains nothing.
        """
        if self.training is None:
            raise ValueError(f"scenario '{self.name}' trains nothing.")
        return self.training


@dataclass(frozen=True, eq=False)
class History:
    """What the recorded steps left behind, one row a step.

    Row ``i`` belongs to step ``steps[i]`` (counted from 1): the loss and the gradients that the step
    computed, and the parameters that it produced.

    Attributes:
        steps: ``(rows,)`` integers.
        losses: ``(rows,)``, in the run's dtype.
        gradients: by parameter name, ``(rows, *shape)``.
        parameters: by parameter name, ``(rows, *shape)``.
    """

    steps: np.ndarray
    losses: np.ndarray
    gradients: Arrays
    parameters: Arrays

    @classmethod
    def of_losses(cls, losses: Sequence[float], dtype: Dtype, every: int | None) -> "History | None":
        """The losses of every ``every``-th of these steps, and nothing else; None if none is due."""
        if every is None or every > len(losses):
            return None
        kept = np.array(losses[every - 1 :: every], dtype)
        return cls(np.arange(1, len(kept) + 1) * every, kept, {}, {})


@dataclass(frozen=True, eq=False)
class Result:
    """What one twin computed, as NumPy arrays of its own (nothing is shared with a framework).

    Attributes:
        values: forward quantities at the start values, by name.
        gradients: gradients at the start values, by parameter (or intermediate value) name.
        facts: discrete facts, compared exactly.
        native: the same facts in the framework's own words; shown, never compared.
        history: the recorded steps; None where nothing is trained or recorded.
        converged: parameters after the last step, by name.
        state: the optimizer's state after the last step: ``count``, the number of steps since it was fresh
            (an integer), and for every parameter ``first.<name>`` and ``second.<name>``, the moving averages
            of its gradient and of the squares; empty where the optimizer keeps none.
        outcome: forward quantities after the last step, by name.
    """

    values: Arrays
    gradients: Arrays = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    native: Mapping[str, str] = field(default_factory=dict)
    history: History | None = None
    converged: Arrays = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)
    outcome: Arrays = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What a notebook shows: every array by its value, or by its Euclidean norm where it has many."""
        shown = {
            "Values at the start": self.values,
            "Gradients at the start": self.gradients,
            "Converged parameters": self.converged,
            "After training": self.outcome,
        }
        tables = [
            grid(caption, ("name", "shape", "dtype", "value"), map(_row, arrays.items()))
            for caption, arrays in shown.items()
            if arrays
        ]
        if self.facts:
            tables.append(
                grid("Facts", ("fact", "value"), [(n, str(fact)) for n, fact in self.facts.items()])
            )
        return "".join(tables)


def _row(named: tuple[str, np.ndarray]) -> tuple[str, str, str, str]:
    name, array = named
    with np.errstate(over="ignore"):  # the norm of what has diverged is infinite
        value = (
            f"{array.item():.9g}"
            if array.size == 1
            else f"norm {np.linalg.norm(array.astype(np.float64)):.9g}"
        )
    return name, str(array.shape), str(array.dtype), value


@dataclass(frozen=True, eq=False)
class Session:
    """One way to run a training, its phases apart, for a clock that must not mix them.

    Nothing in it waits for the device but ``finish`` and ``leave``. What ``prepare`` hands over is used up by
    one ``launch``; what ``launch`` hands over is the parameters, or holds them.

    Attributes:
        steps: how many steps one launch takes.
        prepare: puts start values, optimizer state and data on the device, and waits until they are there.
        launch: starts a whole run on what was prepared, and does not wait for the device.
        pending: whether the device is still at work on what was launched.
        finish: waits until it is not.
        leave: copies the parameters out to NumPy.
        compiling: seconds for which the framework says it has traced and compiled, in this process so far.
        memory: peak bytes on the device, in this process so far; None where the device is the host.
        threads: how many threads the framework says it computes with; None where it does not say.
        compile: traces and compiles what is launched; None where that happens during the first launch, or not
            at all.
    """

    steps: int
    prepare: Callable[[], Any]
    launch: Callable[[Any], Any]
    pending: Callable[[Any], bool]
    finish: Callable[[Any], None]
    leave: Callable[[Any], Arrays]
    compiling: Callable[[], float]
    memory: Callable[[], int] | None
    threads: int | None
    compile: Callable[[], None] | None = None


class Twin(Protocol):
    """What a twin module offers to the comparison."""

    def run(self, statement: Statement = ..., *, dtype: Dtype = ..., device: Device = ...) -> Result:
        """Run the statement once and finish before returning."""


def constants(**arrays: object) -> Arrays:
    """Read-only float64 arrays by name, so that no twin can change the statement under the other."""
    return read_only((name, np.array(array, dtype=np.float64)) for name, array in arrays.items())


def read_only(arrays: Iterable[tuple[str, np.ndarray]]) -> Arrays:
    """An immutable mapping of immutable arrays."""
    frozen = dict(arrays)
    for array in frozen.values():
        array.flags.writeable = False
    return MappingProxyType(frozen)


def stored_start(name: str) -> Arrays:
    """Start values that the note draws with a seeded PyTorch, from ``scenarios/start/<name>.json``.

    The file names the commands that drew them; the float32 values are written exactly, so a float64
    run starts from the very same numbers.
    """
    stored = json.loads(files("scenarios").joinpath("start", f"{name}.json").read_text("utf-8"))
    return read_only((name, np.array(value)) for name, value in stored["values"].items())
