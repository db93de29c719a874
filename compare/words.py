"""Puts a verdict into words: one plain sentence, and a clause for everything that is wrong."""

from collections.abc import Iterator

import numpy as np

from compare.judge import SIDES, Distance, FactCheck, Finding, PublishedCheck, Verdict
from compare.judge.rounding import SAFETY
from compare.record import Record

#: What each word of a verdict says, for whoever has not met it.
MEANING = {
    "identical": "equal bit for bit",
    "rounding": "they differ, and rounding explains it",
    "vacuous": "nothing was really compared: never a pass",
    "undecided": "the evidence does not suffice",
    "different": "they compute different functions, or not what the statement asks for",
    "raised": "a side did not finish",
}


def word(record: Record) -> str:
    """The verdict in a word: a key of :data:`MEANING`."""
    return "raised" if record.verdict is None else record.verdict.word


def sentence(record: Record) -> str:
    """The verdict in a plain sentence, with the first thing that is wrong if something is."""
    if record.failure is not None:
        who = f"{record.failure.side} twin" if record.failure.side in SIDES else record.failure.side
        return f"The {who} raised {record.failure.message}"
    if record.verdict is None:
        return "Nothing was judged."
    # What happens in float32 belongs to its own record.
    lower = record.verdict.agrees and record.dtype == "float32"
    return told(record.verdict) + (_loser(_agreed(record.verdict)) if lower else "")


def told(verdict: Verdict) -> str:
    """The same of a verdict alone."""
    return {
        "identical": _identical,
        "rounding": _rounding,
        "vacuous": _vacuous,
        "undecided": _undecided,
        "different": _different,
    }[verdict.word](verdict)


def _identical(verdict: Verdict) -> str:
    return f"Both sides compute the same, bit for bit, in all {len(_agreed(verdict))} quantities."


def _rounding(verdict: Verdict) -> str:
    agreed = _agreed(verdict)
    worst = max(agreed, key=lambda f: f.share)
    blunt = max(f.notices for f in verdict.step if f in agreed)
    return (
        "Both sides compute the same function and differ by rounding alone, by at most "
        f"{percent(worst.share)} of what it accounts for ({number(worst.ulps)} ULPs in {_named(worst)}). "
        f"A relative error of {small(blunt)} in one step would have been noticed.{grown(verdict)}"
    )


def grown(verdict: Verdict) -> str:
    """From where on rounding alone has led two runs apart, as a sentence more; empty if it has not."""
    steps = [f.step or 0 for f in _agreed(verdict) if f.reason == "rounding that grew"]
    if not steps:
        return ""
    return (
        f" From step {min(steps)} on the runs are apart, by rounding that grew alone: the step function is "
        "the same there."
    )


def _loser(findings: list[Finding]) -> str:
    """Which side's float32 is worse, where it is so by more than the luck of a rounding."""
    left, right = SIDES
    telling = [f for f in findings if len(f.lost_bits) == len(SIDES)]
    if not telling:
        return ""
    widest = max(telling, key=lambda f: abs(f.lost_bits[left] - f.lost_bits[right]))
    more = widest.lost_bits[left] - widest.lost_bits[right]
    if abs(more) <= np.log2(SAFETY):
        return ""
    loser = left if more > 0 else right
    return f" In float32 the {loser} side has {abs(more):.0f} wrong bits more, in {_named(widest)}."


def _vacuous(verdict: Verdict) -> str:
    idle = [f"{f.quantity}: {remark(f)}" for f in (*verdict.step, *verdict.run) if f.word == "vacuous"]
    why = "; ".join(idle[:3]) or "no quantity is on both sides, or nothing moved in training"
    return f"Nothing was really compared: {why}."


def _undecided(verdict: Verdict) -> str:
    doubt = next(f for f in (*verdict.step, *verdict.run) if f.word == "undecided")
    return (
        f"The evidence does not suffice: {_named(doubt)} differs by {small(doubt.absolute)}, {remark(doubt)}."
    )


def _different(verdict: Verdict) -> str:
    first, *more = complaints(verdict)
    return f"They differ: {first}" + (f" (and {len(more)} more)." if more else ".")


def _agreed(verdict: Verdict) -> list[Finding]:
    return [f for f in (*verdict.step, *verdict.run) if f.word in {"identical", "rounding"}]


def complaints(verdict: Verdict) -> Iterator[str]:
    """One clause for each thing that is wrong, the most telling first."""
    yield from verdict.owed
    for finding in (*verdict.step, *verdict.run):
        if finding.word == "different":
            yield difference(finding)
    for distance in verdict.distances:
        if distance.agrees is False:
            yield _from_truth(distance)
    for published in verdict.published:
        if not published.agrees:
            yield _misprint(published)
    for fact in verdict.facts:
        if not fact.agrees:
            yield _no_fact(fact)


def difference(finding: Finding) -> str:
    """What is wrong with a quantity, in a clause."""
    if finding.note:
        return f"{_named(finding)}: {finding.note}"
    apart = f"{_named(finding)}: {small(finding.absolute)} apart ({number(finding.ulps)} ULPs)"
    if remark(finding):
        return f"{apart}, {remark(finding)}"
    if not finding.budget:
        return f"{apart}, where nothing is rounded"
    return f"{apart}, {multiple(finding.share)} what rounding accounts for"


def remark(finding: Finding) -> str:
    """What is peculiar about a finding, in words; empty where nothing is."""
    side = f"the {finding.side} side" if finding.side else "a side"
    return {
        "": "",
        "missing on one side": f"{side} lacks it",
        "another shape": "the shapes differ",
        "another dtype": "the dtypes differ",
        "not finite on one side": "only one of them is finite",
        "nothing finite": "nothing in it is finite, on both sides",
        "all zero": "it is zero on both sides",
        "zero up to rounding": "it is zero up to rounding on both sides",
        "a convention at a kink": "at this very point and at no neighbour: two conventions for a kink",
        "a branch that fell the other way": "at this very point alone: rounding decided a branch",
        "a jump at this very point": (
            "at this very point alone; inputs that the lower precision holds exactly would tell a convention "
            "from a branch that rounding decided"
        ),
        "rounding that grew": "rounding that grew along the run",
        "noise that the lower precision hides": "rounding noise of one side, which the lower precision hides",
        "noise of either precision": (
            "noise that may be of the higher precision or of a precision leak; "
            "a run of either side with the inputs scaled otherwise would tell"
        ),
        "in the higher precision alone": (
            "and in the lower precision they agree: noise that cannot be measured, or a program of its own "
            "in the higher one; other inputs would settle it"
        ),
        "one draw": (
            "which one lucky rounding in the lower precision would explain, since it is the same at all "
            "neighbouring inputs; other inputs would settle it"
        ),
        "the last bit decides": (
            "the last bit of the inputs moves it as much; another point or a higher precision would settle it"
        ),
        "not deterministic": f"{side} answers otherwise when it is run again",
        "precision leak": f"a precision leak: {side} passes through a lower precision",
        "no bit left in the lower precision": (
            f"{side} has no correct bit left in the lower precision, though the higher one shows no need: an "
            "overflow, a cancellation or a program of its own; its intermediate values would tell"
        ),
        "bits lost without need": f"{side} loses bits in the lower precision that the other one keeps",
        "no neighbour": f"it cannot be evaluated next to these inputs: {finding.note}",
    }[finding.reason]


def small(value: float) -> str:
    """A difference to two digits; exactly nothing is 0."""
    return f"{value:.1e}" if value else "0"


def number(value: float) -> str:
    """A count of units, to three digits."""
    return f"{value:.3g}"


def plain(value: float, digits: int = 3) -> str:
    """A number to so many digits, written out as long as it can be read so."""
    short = f"{value:.{digits}g}"
    return f"{float(short):,.0f}" if "e+" in short and value < MILLION else short


#: From here on numbers are written with a power of ten.
MILLION = 1e6


def percent(value: float) -> str:
    """A share, to two digits."""
    return f"{100 * value:.2g} %"


def multiple(value: float) -> str:
    """How many times something is something else."""
    return f"{value:.2g} times"


def _named(finding: Finding) -> str:
    entry = f"[{', '.join(map(str, finding.where))}]" if finding.where else ""
    step = f" after step {finding.step}" if finding.step else ""
    return f"{finding.quantity}{entry}{step}"


def _from_truth(distance: Distance) -> str:
    step = f" after step {distance.step}" if distance.step else ""
    return (
        f"{distance.quantity} of the {distance.side} side{step} is {small(distance.absolute)} from the truth "
        f"({distance.origin})"
    )


def _misprint(check: PublishedCheck) -> str:
    values = " and ".join(f"{value:.6g} ({side})" for side, value in check.computed.items())
    return f"the note has {check.printed} for {check.quantity}, computed are {values}"


def _no_fact(check: FactCheck) -> str:
    values = " and ".join(f"{value} ({side})" for side, value in check.derived.items())
    return f"the fact '{check.name}' should be {check.expected}, derived are {values}"


def lost(finding: Finding) -> str:
    """Which side lost how many bits of the lower precision, where it matters."""
    bits = finding.lost_bits
    if not bits or not np.isfinite(list(bits.values())).all():
        return "–"
    return " / ".join(f"{bits[side]:.0f}" for side in SIDES)
