"""Judges two results of one statement: whether they agree, with the evidence.

This verdict is provisional: one constant (:data:`compare.differences.LIMIT`) for every scenario, quantity
and dtype. In float64 the two sides are compared in everything. In float32 they are compared at the start
alone: along the steps they drift apart, most of all because optax computes Adam's bias correction in
float32 where PyTorch computes it in double precision, and how far is not for a constant to say; that is
measured and shown unjudged. In both, each side is held against the truth by itself: values and gradients
at the start, and every step against the optimizer's formula and the objective at its own parameters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from compare.differences import Difference, between, incomparable
from compare.judge.truth import Distance, PublishedCheck, check_published, distances
from scenarios import Arrays, Dtype, Result, Statement
from scenarios.types import Fact

SIDES = ("imperative", "functional")


@dataclass(frozen=True)
class FactCheck:
    """A discrete fact: what the statement expects and what each side derived."""

    name: str
    expected: Fact
    derived: Mapping[str, Fact]
    agrees: bool


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether two results agree, with the evidence.

    Attributes:
        agrees: everything judged does.
        complaints: one clause for each thing that does not.
        differences: between the sides.
        distances: of each side to the truth.
        published: the lecture note's printed figures.
        facts: the discrete facts.
    """

    agrees: bool
    complaints: tuple[str, ...]
    differences: tuple[Difference, ...]
    distances: tuple[Distance, ...]
    published: tuple[PublishedCheck, ...]
    facts: tuple[FactCheck, ...]


def judge(
    statement: Statement,
    dtype: Dtype,
    imperative: Result,
    functional: Result,
    bare: Mapping[str, Result] | None = None,
    every: int | None = 1,
) -> Verdict:
    """Compare two results of ``statement``, computed in ``dtype``, with each other and with the truth.

    Args:
        statement: what both sides were given.
        dtype: what both sides were asked to compute in.
        imperative: what the imperative side computed.
        functional: what the functional side computed.
        bare: by side, the result of the same run without recording, which is the one that is timed.
        every: both sides were to record every ``every``-th step; ``None`` of them.
    """
    results = dict(zip(SIDES, (imperative, functional), strict=True))
    settled = dtype == "float64"
    differences = (
        *_differences(dtype, imperative, functional, settled=settled),
        *(
            between(
                f"converged parameters of the {side} run, recorded or not",
                results[side].converged,
                result.converged,
                dtype=dtype,
                judged=settled,
            )
            for side, result in (bare or {}).items()
            if statement.training
        ),
    )
    from_truth = tuple(distances(statement, results, settled=settled))
    published = tuple(check_published(figure, results) for figure in statement.published)
    facts = tuple(_facts(statement, results))
    complaints = (
        *(
            complaint
            for side, result in results.items()
            for complaint in _lacks(statement, side, result, every)
        ),
        *_complaints(differences, from_truth, published, facts),
    )
    return Verdict(not complaints, complaints, differences, from_truth, published, facts)


def _lacks(statement: Statement, side: str, result: Result, every: int | None) -> Iterator[str]:
    """What a side owes the statement, even if the other side owes it too."""
    if not all(np.isfinite(array).all() for array in _arrays(result)):
        yield f"the {side} side computed NaN or infinity"
    if statement.training is None:
        return
    for group, tree in (("gradient", result.gradients), ("converged value", result.converged)):
        for name in statement.start.keys() - tree.keys():
            yield f"the {side} side has no {group} of {name}"
    steps = () if result.history is None else tuple(result.history.steps.tolist())
    due = () if every is None else tuple(range(every, statement.training.steps + 1, every))
    if steps != due:
        yield f"the {side} side recorded {len(steps)} steps of the {len(due)} that were asked for"


def _arrays(result: Result) -> Iterator[np.ndarray]:
    for tree in (result.values, result.gradients, result.converged, result.outcome):
        yield from tree.values()
    if result.history is not None:
        yield result.history.losses
        yield from result.history.gradients.values()
        yield from result.history.parameters.values()


def _differences(dtype: Dtype, left: Result, right: Result, *, settled: bool) -> Iterator[Difference]:
    for name in {**left.values, **right.values}:
        yield between(f"value of {name}", *_pick(name, left.values, right.values), dtype=dtype, judged=True)
    if left.gradients or right.gradients:
        yield between("gradients at the start", left.gradients, right.gradients, dtype=dtype, judged=True)
    yield from _step_differences(dtype, left, right, settled=settled)
    if left.converged or right.converged:
        yield between("converged parameters", left.converged, right.converged, dtype=dtype, judged=settled)
    for name in {**left.outcome, **right.outcome}:
        yield between(
            f"outcome of {name}",
            *_pick(name, left.outcome, right.outcome),
            dtype=dtype,
            judged=settled,
            # A loss near zero is what a larger one has come down to, and carries that one's rounding.
            scale=float(np.abs(left.values[name]).max()) if name in left.values else 0.0,
        )


def _pick(name: str, *trees: Arrays) -> list[Arrays]:
    return [{name: tree[name]} if name in tree else {} for tree in trees]


def _step_differences(dtype: Dtype, left: Result, right: Result, *, settled: bool) -> Iterator[Difference]:
    if left.history is None and right.history is None:
        return
    recorded = [() if r.history is None else tuple(r.history.steps.tolist()) for r in (left, right)]
    if left.history is None or right.history is None or recorded[0] != recorded[1]:
        spans = [f"{len(steps)} steps up to {steps[-1]}" if steps else "no step" for steps in recorded]
        note = f"the imperative side recorded {spans[0]}, the functional side {spans[1]}"
        yield incomparable("steps", note)
        return
    steps = left.history.steps
    for quantity, here, there in (
        ("loss at every step", {"loss": left.history.losses}, {"loss": right.history.losses}),
        ("gradients at every step", left.history.gradients, right.history.gradients),
        ("parameters at every step", left.history.parameters, right.history.parameters),
    ):
        yield between(quantity, here, there, dtype=dtype, judged=settled, steps=steps)


def _facts(statement: Statement, results: Mapping[str, Result]) -> Iterator[FactCheck]:
    names = dict.fromkeys([*statement.facts, *(name for r in results.values() for name in r.facts)])
    for name in names:
        expected = statement.facts.get(name)
        derived = {side: result.facts.get(name) for side, result in results.items()}
        known = all(name in facts for facts in (statement.facts, *(r.facts for r in results.values())))
        agrees = known and all(type(v) is type(expected) and v == expected for v in derived.values())
        yield FactCheck(name, expected, derived, agrees)


def _complaints(
    differences: tuple[Difference, ...],
    from_truth: tuple[Distance, ...],
    published: tuple[PublishedCheck, ...],
    facts: tuple[FactCheck, ...],
) -> Iterator[str]:
    if all(d.agrees is None for d in differences):
        yield "nothing was compared"
    for d in differences:
        if d.agrees is False:
            yield f"{d.quantity}: " + (d.note or f"{d.absolute:.1e} apart ({d.ulps:.2g} ULPs) in {d.where}")
    for t in from_truth:
        if t.agrees is False:
            yield f"{t.quantity} of the {t.side} side is {t.absolute:.1e} from the truth ({t.origin})"
    for p in published:
        if not p.agrees:
            values = " and ".join(f"{value:.6g} ({side})" for side, value in p.computed.items())
            yield f"the note has {p.printed} for {p.quantity}, computed are {values}"
    for f in facts:
        if not f.agrees:
            values = " and ".join(f"{value} ({side})" for side, value in f.derived.items())
            yield f"the fact '{f.name}' should be {f.expected}, derived are {values}"
