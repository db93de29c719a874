"""Renders a saved run as HTML, Markdown or JSON; it reads and shows, and computes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jinja2 import (
    Environment,
    PackageLoader,
    StrictUndefined,
    TemplateNotFound,
    UndefinedError,
    select_autoescape,
)
from latex2mathml.converter import convert
from markupsafe import Markup

from compare import describe, lesson, words
from compare.lesson import Lesson
from compare.mutants import Mutant, load
from compare.record import Record, Run, encode, read
from compare.timing import saved, table
from compare.timing.saved import Bench


def render(directory: Path, kind: str) -> bytes:
    """The saved run in ``directory`` as a file of ``kind`` (a key of :data:`RENDERERS`).

    Raises:
        UnreadableRunError: the saved run cannot be read.
    """
    return RENDERERS[kind](read(directory), load(directory), saved.load(directory), lesson.load(directory))


def document(run: Run, *_: object) -> bytes:
    """The whole run as one JSON document."""
    return msgspec.json.format(encode(run), indent=2)


def _html(
    run: Run,
    mutants: Sequence[Mutant] = (),
    bench: Bench | None = None,
    lessons: Mapping[str, Lesson] | None = None,
) -> bytes:
    from compare import chapter, overview
    from compare.figures import Drawing, draw, draw_bench  # drawing is loaded only for the page

    def figures(records: Sequence[Record]) -> list[Drawing]:
        return list(draw(records))

    charts: dict[str, list[Drawing]] = {}
    for scenario, drawing in draw_bench(bench) if bench is not None else ():
        charts.setdefault(scenario, []).append(drawing)
    shown = {
        "figures": figures,
        "charts": charts,
        "chapter": chapter,
        "overview": overview,
        "lessons": lessons or {},
        "Markup": Markup,
    }
    return _fill("report.html.jinja", run, mutants, bench, **shown)


def _markdown(run: Run, mutants: Sequence[Mutant] = (), bench: Bench | None = None, *_: object) -> bytes:
    return _fill("report.md.jinja", run, mutants, bench)


def _fill(template: str, run: Run, mutants: Sequence[Mutant], bench: Bench | None, **more: object) -> bytes:
    templates = Environment(
        loader=PackageLoader("compare"),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def taught(records: Sequence[Record]) -> Taught | None:
        return teach(templates, records, mutants)

    text = templates.get_template(template).render(
        taught=taught,
        run=run,
        mutants=mutants,
        bench=bench,
        timings=table,
        scenarios=[(name, list(records)) for name, records in groupby(run.records, lambda r: r.scenario)],
        describe=describe,
        words=words,
        JUDGED={*words.MEANING, "agree", "disagree", "measured"},
        **more,
    )
    return text.encode()


@dataclass(frozen=True)
class Hunt:
    """A defect to find.

    Attributes:
        mutant: what was planted, and what gave it away.
        choices: defects by name, the planted one among them; empty where nothing gives it away.
        why: it shows as it does.
    """

    mutant: Mutant
    choices: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Taught:
    """What a chapter says of its scenario.

    Attributes:
        formula: the problem in mathematics (LaTeX).
        thinking: what differs in the way of thinking, a sentence each.
        questions: each with the answer of the imperative and of the functional side, from the run.
        hunt: a planted defect to find; None if none was planted.
    """

    formula: str
    thinking: tuple[str, ...]
    questions: tuple[tuple[str, str, str], ...]
    hunt: Hunt | None

    @property
    def mathml(self) -> Markup:
        """The problem as a browser shows it."""
        return Markup(convert(self.formula, display="block"))  # it escapes


def teach(templates: Environment, records: Sequence[Record], mutants: Sequence[Mutant] = ()) -> Taught | None:
    """The chapter of a scenario, answered by its most precise record; None where a side lacks an answer."""
    judged = [record for record in records if record.verdict is not None]
    if not judged:
        return None
    record = judged[-1]
    try:
        module: Any = templates.get_template(f"chapters/{record.scenario}.jinja").make_module(
            {
                "left": record.results["imperative"],
                "right": record.results["functional"],
                "timings": record.timings,
                "dynamics": record.verdict and record.verdict.dynamics,
                "number": describe.answer,
                "seconds": describe.seconds,
                "abs": np.abs,
            }
        )
    except (UndefinedError, TemplateNotFound, KeyError, TypeError, ValueError):
        return None
    return Taught(
        str(module.formula),
        tuple(module.thinking),
        tuple((question, str(left), str(right)) for question, left, right in module.questions),
        _hunted(record.scenario, module.hunt, mutants),
    )


def _hunted(
    scenario: str, hunt: tuple[str, str, tuple[str, ...], str], mutants: Sequence[Mutant]
) -> Hunt | None:
    """The defect that a chapter has its readers look for, as it was found."""
    side, defect, others, why = hunt
    found = (m for m in mutants if (m.scenario, m.side, m.defect) == (scenario, side, defect))
    choices = tuple(sorted((defect, *others))) if others else ()
    return next((Hunt(mutant, choices, why) for mutant in found), None)


RENDERERS: dict[str, Callable[..., bytes]] = {"html": _html, "md": _markdown, "json": document}
