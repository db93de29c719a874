"""Renders a saved run as HTML, Markdown or JSON; it reads and shows, and computes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
    from compare import chapter
    from compare.figures import Drawing, draw, draw_bench  # drawing is loaded only for the page

    def image(drawing: Drawing) -> str:
        # An image of its own: the identifiers of several inline drawings would collide.
        return "data:image/svg+xml," + quote(drawing.svg, safe=" !$&'()*+,-./:;=?@_~")

    shown = {
        "draw": draw,
        "draw_bench": draw_bench,
        "image": image,
        "chapter": chapter,
        "lessons": lessons or {},
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
        return teach(templates, records)

    text = templates.get_template(template).render(
        taught=taught,
        run=run,
        mutants=mutants,
        bench=bench,
        timings=table,
        scenarios=[(name, list(records)) for name, records in groupby(run.records, lambda r: r.scenario)],
        describe=describe,
        words=words,
        **more,
    )
    return text.encode()


@dataclass(frozen=True)
class Taught:
    """What a chapter says of its scenario.

    Attributes:
        formula: the problem in mathematics (LaTeX).
        thinking: what differs in the way of thinking, a sentence each.
        questions: each with the answer of the imperative and of the functional side, from the run.
    """

    formula: str
    thinking: tuple[str, ...]
    questions: tuple[tuple[str, str, str], ...]

    @property
    def mathml(self) -> Markup:
        """The problem as a browser shows it."""
        return Markup(convert(self.formula, display="block"))  # it escapes


def teach(templates: Environment, records: Sequence[Record]) -> Taught | None:
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
    )


RENDERERS: dict[str, Callable[..., bytes]] = {"html": _html, "md": _markdown, "json": document}
