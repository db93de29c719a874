"""The words of a verdict, and the figures behind them: plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from scenarios.types import Fact

SIDES = ("imperative", "functional")

Word = Literal["identical", "rounding", "vacuous", "undecided", "different"]

Reason = Literal[
    "",
    "missing on one side",
    "another shape",
    "another dtype",
    "not finite on one side",
    "nothing finite",
    "all zero",
    "zero up to rounding",
    "a convention at a kink",
    "a branch that fell the other way",
    "a jump at this very point",
    "rounding that grew",
    "noise that the lower precision hides",
    "noise of either precision",
    "in the higher precision alone",
    "one draw",
    "the last bit decides",
    "not deterministic",
    "precision leak",
    "no bit left in the lower precision",
    "bits lost without need",
    "no neighbour",
]

#: Nothing need be measured to see that a quantity is missing, or has another shape or dtype.
Evidence = Literal["both precisions", "perturbations", "none needed"]


@dataclass(frozen=True, eq=False)
class Finding:
    """What is said of one quantity, and why.

    Attributes:
        quantity: its name, such as ``gradients.hidden1.weight``.
        word: ``identical`` (bit for bit), ``rounding``, ``vacuous`` (nothing was really compared),
            ``undecided`` or ``different``.
        reason: what is peculiar about it; empty where nothing is.
        step: the training step after which it was judged, 0 for the start; None if nothing is trained.
        side: the side that the reason speaks of; empty if it speaks of none, or of both.
        absolute: largest absolute difference of an entry.
        scale: largest magnitude of an entry, on either side.
        ulps: ``absolute`` in units of the last place of ``scale``.
        budget: how large a difference rounding may account for.
        notices: the smallest error, relative to ``scale``, that would not have passed for rounding. In the
            lower precision that of the higher one, which decides for both.
        where: index of the entry with the largest difference.
        lost_bits: by side, how many of its last bits the result in the lower precision got wrong.
        evidence: what the budget rests on.
        points: at how many neighbouring points the sides were evaluated.
        note: what could not be compared, in words; or why a side cannot be evaluated elsewhere.
    """

    quantity: str
    word: Word
    absolute: np.float64
    scale: np.float64
    ulps: np.float64
    budget: np.float64
    notices: np.float64
    reason: Reason = ""
    side: str = ""
    step: int | None = None
    where: tuple[int, ...] = ()
    lost_bits: Mapping[str, np.float64] = field(default_factory=dict)
    evidence: Evidence = "none needed"
    points: int = 0
    note: str = ""

    @property
    def share(self) -> float:
        """``absolute / budget``: the share of the rounding budget that the difference uses."""
        return self.absolute / self.budget if self.budget else (float("inf") if self.absolute else 0.0)


Origin = Literal[
    "closed form",
    "fifty digits",
    "complex step",
    "objective at its own parameters",
    "the optimizer's formula",
    "limit of training",
]


@dataclass(frozen=True, eq=False)
class Dynamics:
    """What the free run says of itself.

    Attributes:
        steps: the recorded steps, ``(rows,)``.
        amplification: ``(rows,)``, how far apart two runs of one side are whose start and data differ in the
            last bit, in units of the last place of the parameters; the larger of both sides.
        growth: factor per step by which such a difference grows, on average over the run.
        horizon: first recorded step at which it has consumed every bit of the run's dtype; None if it does
            not within the run.
        parted: first step at which the sides are further apart than rounding of the run so far allows,
            though the step function is the same there; None if they never are.
        parameters: how many parameters there are.
        identified: how many directions among them change what the model computes at the end of the run. If
            it is fewer, the converged parameters are one choice of many, and the function is what compares.
    """

    steps: np.ndarray
    amplification: np.ndarray
    growth: np.float64
    horizon: int | None
    parted: int | None
    parameters: int
    identified: int


@dataclass(frozen=True)
class Distance:
    """How far one side is from the truth, or from what training tends to.

    Attributes:
        quantity: dotted path into the result.
        side: ``imperative`` or ``functional``.
        origin: where the truth comes from.
        step: the training step after which it was measured; None if nothing is trained, or over all steps.
        absolute: largest absolute distance of an entry.
        relative: that over the largest magnitude of the truth.
        budget: how far rounding may put them apart.
        agrees: whether it is within the budget; None if that is not judged but only measured, as for every
            ``limit`` of training.
    """

    quantity: str
    side: str
    origin: Origin
    step: int | None
    absolute: np.float64
    relative: np.float64
    budget: np.float64
    agrees: bool | None


@dataclass(frozen=True)
class PublishedCheck:
    """A printed figure of the lecture note beside what each side computed."""

    quantity: str
    printed: str
    relation: str
    computed: Mapping[str, np.float64]
    agrees: bool


@dataclass(frozen=True)
class FactCheck:
    """A discrete fact: what the statement expects and what each side derived."""

    name: str
    expected: Fact
    derived: Mapping[str, Fact]
    agrees: bool


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether two twins compute the same function, with the evidence.

    Attributes:
        word: the verdict in a word.
        step: of a step of training, restarted from states that both sides were handed; of the whole, where
            nothing is trained. One finding a quantity, the most telling of all states.
        run: of the free run, one finding a quantity.
        dynamics: what the free run says of itself; None where nothing is trained.
        distances: of each side to the truth.
        published: the lecture note's printed figures.
        facts: the discrete facts.
        owed: what a side owes the statement, a clause each.
    """

    word: Word
    step: tuple[Finding, ...]
    run: tuple[Finding, ...]
    dynamics: Dynamics | None
    distances: tuple[Distance, ...]
    published: tuple[PublishedCheck, ...]
    facts: tuple[FactCheck, ...]
    owed: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the sides compute the same function, and what the statement asks for."""
        return self.word in {"identical", "rounding"}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from compare import as_html  # noqa: PLC0415  # it knows what a verdict is

        return as_html.verdict(self)
