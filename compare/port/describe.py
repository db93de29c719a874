"""Puts what is said of a pair into words, and into a document; and what a side raised."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from os import path, sep
from pathlib import Path
from traceback import format_exception, walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from compare.port.mapping import SIDES
from compare.record import encode
from compare.words import difference, grown, multiple, percent, small, told
from scenarios.sources import libraries
from scenarios.trace import Source

if TYPE_CHECKING:
    from compare.port.check import PairVerdict
    from compare.port.locate import Fault, Site
    from compare.port.mapping import Map
    from compare.port.training import Trained

#: Which side goes on with a value that the other one changes.
_IDLE = {"missing": "functional", "extra": "imperative"}

#: Of quantities, guesses and left-overs no more than these are listed.
_MOST = 10

#: Of the nearest values that agree no more than these.
_ANCESTORS = 3

_HEADS = {
    "another value": "both sides compute this, and differently",
    "another order": "both sides have these entries, at other places",
    "missing": "the functional side goes on without what the imperative side does",
    "extra": "the functional side does what the imperative side does not",
    "stopped": "one side holds a gradient back that the other lets through",
}


def text(verdict: "PairVerdict") -> str:
    """What is said of a pair: the judge's word and sentence, a block a fault, then what else is known.

    Args:
        verdict: what is said.
    """
    parts = [f"{verdict.word}: {_sentence(verdict)}"]
    parts += [_fault(number, fault) for number, fault in enumerate(verdict.faults, start=1)]
    if verdict.verdict.word == "different" and not verdict.faults:
        parts.append("\n".join(_unlocated(verdict)))
    if verdict.trained is not None:
        parts.append(_training(verdict.trained))
    besides = [*verdict.notes, *_of_map(verdict.map)]
    if besides:
        parts.append("\n".join(besides))
    return "\n\n".join(parts)


def document(verdict: "PairVerdict") -> dict[str, Any]:
    """The same as plain data for JSON; NaN and infinities are strings, as in a saved run."""
    by = verdict.map
    content = {
        "word": verdict.word,
        "agrees": verdict.agrees,
        "sentence": _sentence(verdict),
        "faults": [_plain(fault) for fault in verdict.faults],
        "notes": verdict.notes,
        "map": {
            "pieces": by.pieces,
            "guesses": [(piece.imperative, piece.functional) for piece in by.guesses],
            "left_over": by.left_over,
            "tied": by.tied,
            "notes": by.notes,
        },
        "verdict": verdict.verdict,
        "training": verdict.trained
        and {
            "run": verdict.trained.training,
            "word": verdict.trained.verdict.word,
            "sentence": _training(verdict.trained),
            "parted": verdict.trained.parted,
            "verdict": verdict.trained.verdict,
        },
    }
    document: dict[str, Any] = msgspec.json.decode(encode(content))
    return document


def _sentence(verdict: "PairVerdict") -> str:
    """The judge's, unless the training is to blame for the word."""
    alone = verdict.verdict.word
    if verdict.word == alone:
        return told(verdict.verdict)
    return f"Output, loss and gradients are {alone}, the training is {verdict.word}."


def _training(trained: "Trained") -> str:
    """What is said of the training run."""
    run, found = trained.training, trained.verdict
    steps = f"training: {run.steps} step{'s' * (run.steps > 1)} of {run.optimizer}"
    if found.agrees:
        how = "bit for bit" if found.word == "identical" else "up to rounding"
        return f"{steps} agree {how}.{grown(found)}"
    return f"{steps}{f' part at step {trained.parted}' if trained.parted else ''}. {told(found)}"


def at(source: Source) -> str:
    """A line of a file, which is named from the current directory where that is shorter."""
    if not source.file:
        return ""
    try:
        near = path.relpath(source.file)
    except (ValueError, OSError):  # on another drive, or there is no current directory any more
        near = source.file
    return f"{min(near, source.file, key=len)}:{source.line}"


def exception(error: BaseException) -> str:
    """An exception in a line."""
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first.rstrip('.')}" if first else type(error).__name__


def raised_by(error: BaseException) -> str:
    """Which side raised an exception; empty if none did."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return next((name.partition(".")[0] for name in reversed(modules) if name in _PORTS), "")


def trim(error: BaseException) -> None:
    """Leave nothing but the user's own lines in the traceback of an exception, and of its causes; in place.

    Where there are none, what lies below ours is left.
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = _trimmed(cause.__traceback__)
        if hasattr(cause, "__notes__"):  # JAX says that it has removed some of its own
            cause.__notes__ = [note for note in cause.__notes__ if "JAX_TRACEBACK_FILTERING" not in note]
        cause = cause.__cause__ or cause.__context__


def traceback(error: BaseException) -> str:
    """The user's part of a traceback, as Python prints it; the exception is trimmed to it.

    Empty where there is none, and the exception is a line.
    """
    trim(error)
    if error.__traceback__ is None and "\n" not in str(error):
        return ""
    return "".join(format_exception(error, chain=False)).rstrip()


_PORTS = {f"{name}.port" for name in SIDES}


def _trimmed(trace: TracebackType | None) -> TracebackType | None:
    steps: list[TracebackType] = []
    while trace is not None:
        steps = [] if _is_in(trace, _ours()) else [*steps, trace]
        trace = trace.tb_next
    kept = [step for step in steps if not _is_in(step, ("<", *libraries()))] or steps
    made = None
    for step in reversed(kept):
        made = TracebackType(made, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return made


def _is_in(step: TracebackType, places: tuple[str, ...]) -> bool:
    return step.tb_frame.f_code.co_filename.startswith(places)


@cache
def _ours() -> tuple[str, ...]:
    root = Path(__file__).parents[2]
    return tuple(f"{root / name}{sep}" for name in ("compare", "scenarios", *SIDES))


def _fault(number: int, fault: "Fault") -> str:
    sites = {side: getattr(fault, side) for side in SIDES}
    dtypes = len({site.dtype for site in sites.values()}) > 1
    rows: list[tuple[str, str]] = []
    for side, site in sites.items():
        idle = _IDLE.get(fault.kind) == side
        rows.append((side, f"{'goes on with ' if idle else ''}{_site(site, dtype=dtypes)}"))
        if idle and side in fault.goes_on:
            rows.append(("", f"in {_site(fault.goes_on[side])}"))
    rows += [("apart", _apart(fault)), ("cause", _cause(fault))]
    before = [dict.fromkeys(map(_site, pair)) for pair in fault.ancestors[:_ANCESTORS]]
    rows += [("same before", " = ".join(names)) for names in before]
    if fault.places > 1:
        rows.append(("repeated", f"the same lines ran {fault.places} times"))
    width = max(len(name) for name, _ in rows)
    lines = [f"{number}. {fault.phase}, {fault.kind}: {_HEADS[fault.kind]}"]
    return "\n".join([*lines, *(f"   {name:{width}}  {said}" for name, said in rows)])


def _site(site: "Site", *, dtype: bool = False) -> str:
    """An operation, its modules, the user's line and the shape; of a value that was given, its name too."""
    what = site.operation or site.value or "a constant"
    if site.operation and site.value:
        what = f"{site.value} (taken by {site.operation})"
    within = f" in {'.'.join(site.group)}" if site.group else ""
    line = f" at {at(site.source)}" if site.source.file else ""
    if site.source.callers:
        line += f" (called at {', '.join(map(at, site.source.callers[:_ANCESTORS]))})"
    return f"{what}{within}{line}, {site.shape}{f' {site.dtype}' if dtype else ''}"


def _apart(fault: "Fault") -> str:
    part = fault.local / fault.scale if fault.scale else 0.0
    told = f"{percent(part)} of" if part < 1 else f"{multiple(part)}"
    share = f" ({told} the largest magnitude)" if part else ""
    return f"{small(fault.local)}{share} from the same inputs, {small(fault.accumulated)} as it ran"


def _cause(fault: "Fault") -> str:
    return f"{fault.cause}: {fault.evidence}" if fault.cause else "unknown cause"


def _unlocated(verdict: "PairVerdict") -> Iterator[str]:
    """That no operation is to blame, and what differs."""
    yield (
        "No operation was found at which the sides part. What differs:"
        if verdict.sought
        else "The operations that differ were not looked for. What differs:"
    )
    found = verdict.verdict
    wrong = [difference(f) for f in (*found.step, *found.run) if f.word == "different"]
    yield from _some([f"  {clause}" for clause in (*found.owed, *wrong)])


def _of_map(by: "Map") -> Iterator[str]:
    """What of the map the user should look at."""
    guesses = [f"  {p.imperative} → {p.functional}: {p.evidence}" for p in by.guesses]
    if guesses:
        yield "Guessed, since another pair or layout is as likely; a map settles it:"
        yield from _some(guesses)
    for side in SIDES:
        left: Sequence[Any] = by.left_over[side]
        if left:
            yield f"Without a counterpart on the other side, of the {side} one:"
            yield from _some(
                [f"  {entry.name} {by.shapes[side][entry.name]}: {entry.reason}" for entry in left]
            )
    yield from by.notes


def _some(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST} more"


def _plain(fault: "Fault") -> Mapping[str, object]:
    """A fault without its two arrays."""
    names = ("kind", "phase", *SIDES, "region", "ancestors", "local", "accumulated", "scale", "places")
    return {name: getattr(fault, name) for name in (*names, "cause", "evidence")}
