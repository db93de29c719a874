"""Writes the chapters of a saved run as notebooks, executed by the interpreter that writes them.

A chapter is a text in jupytext's percent format, from ``templates/notebook.py.jinja``. What the template puts
in stands in it as numbered slots, which are filled when jupytext has cut the text into cells: so no title and
no line of a source can open a cell or end one. The sources are executed; they are therefore those of the
installed twins, or there is no notebook.
"""

import asyncio
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compare import lesson, mutants, twins
from compare.chapter import MARK
from compare.judge import SIDES
from compare.record import Record, UnreadableRunError, read
from compare.report import teach
from scenarios import UnavailableError

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

_SLOT = re.compile(r"⟦(\d+)⟧")

# What Markdown, GitHub's addresses in it, HTML and MathJax take for more than text.
_MEANT = re.compile(r"[\\`*\[\]$~|&<>#@]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.")

# Sockets in a directory of our own need no port; but the paths of sockets have to be short.
_LONGEST_SOCKET = 88


@dataclass(frozen=True)
class Chapter:
    """A notebook before it is executed.

    Attributes:
        name: of its file, without the suffix: ``03_chain_rule``.
        text: in percent format, with slots.
        slots: what stands in them, in Markdown or in code.
    """

    name: str
    text: str
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A notebook that was executed.

    Attributes:
        path: of the file.
        trouble: what a cell raised, after which no other was executed; empty if all went well.
    """

    path: Path
    trouble: str


@dataclass(frozen=True)
class _Cut:
    """One source, cut at its marks.

    Attributes:
        imports: what stands before the first mark.
        steps: each with its name.
    """

    imports: str
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answers:
    """Questions, each with the answer of the imperative and of the functional side."""

    questions: tuple[tuple[str, str, str], ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: every answer behind its question."""
        return "".join(
            f"<details><summary>{escape(question)}</summary><dl>"
            + "".join(
                f"<dt>{side}</dt><dd>{escape(answer)}</dd>"
                for side, answer in zip(SIDES, answers, strict=True)
            )
            + "</dl></details>"
            for question, *answers in self.questions
        )


def answers(record: Record) -> Answers:
    """What the chapter of a scenario asks, answered by a record; nothing where a side lacks an answer."""
    taught = teach(_templates(), [record])
    return Answers(taught.questions if taught else ())


def chapters(directory: Path) -> tuple[Chapter, ...]:
    """The chapters of a saved run, in its order; nothing of them has been executed.

    Raises:
        UnreadableRunError: the run or its lessons cannot be read; it has none, or not those of the installed
            twins.
        UnavailableError: it has a scenario that is not installed, or what notebooks need is not.
    """
    _require_jupyter()
    records: dict[str, list[Record]] = {}
    for record in read(directory).records:
        records.setdefault(record.scenario, []).append(record)
    lessons = lesson.load(directory)
    for name in records:
        if name not in lessons:
            what = f"lesson of {name}" if lessons else "lessons"
            raise UnreadableRunError(f"{directory} holds no {what}: run again.")
        _require_installed(lessons[name])
    planted = mutants.load(directory)
    return tuple(
        _chapter(f"{number:02}_{name}", found, lessons[name].sources, planted)
        for number, (name, found) in enumerate(records.items(), start=1)
    )


def write(chapters: Sequence[Chapter], directory: Path) -> Iterator[Written]:
    """Execute chapters one after the other, each in a kernel of its own, and write each when it is done.

    Raises:
        UnavailableError: the directory cannot be written, which is found out before anything is executed; or
            no kernel starts.
    """
    import nbformat  # noqa: PLC0415  # only whoever writes notebooks needs it

    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    for chapter in chapters:
        notebook = _notebook(chapter)
        trouble = asyncio.run(_execute(notebook))
        path = directory / f"{chapter.name}.ipynb"
        text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        with _writing(directory):
            path.write_text(f"{text}\n", "utf-8")
        yield Written(path, trouble)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"cannot write to {directory}: {error.strerror}; choose another directory."
        ) from error


def _require_jupyter() -> None:
    try:
        import ipykernel  # noqa: F401, PLC0415  # to see whether it is there
        import jupytext  # type: ignore[import-untyped]  # noqa: F401, PLC0415  # the same; it has no types
        import nbclient  # noqa: F401, PLC0415  # the same
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{error.name} is not installed: `pip install 'gradtwin[teach]'` brings it."
        ) from error


def _require_installed(kept: lesson.Lesson) -> None:
    """Refuse sources that are not those of the installed twins: nothing read from a file is executed."""
    pair = twins.load(kept.scenario)
    for side in SIDES:
        try:
            source = inspect.getsource(getattr(pair, side))
        except (OSError, TypeError):  # no file of its own
            source = ""
        if not source or kept.sources.get(side) != source:
            raise UnreadableRunError(
                f"the {side} side of {kept.scenario} has another source than the installed twin: run again."
            )


def _templates(put: Callable[[object], object] | None = None) -> Environment:
    return Environment(
        loader=PackageLoader("compare"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=put,
    )


def _chapter(
    name: str, records: Sequence[Record], sources: Mapping[str, str], planted: Sequence[mutants.Mutant]
) -> Chapter:
    slots: list[str] = []

    def put(value: object) -> str:
        slots.append(str(value) if isinstance(value, Markup) else _plain(str(value)))
        return f"⟦{len(slots) - 1}⟧"

    text = (
        _templates(put)
        .get_template("notebook.py.jinja")
        .render(
            name=records[0].scenario,
            title=records[0].title,
            source=records[0].source,
            taught=teach(_templates(), records, planted),
            cut={side: _cut(sources[side]) for side in SIDES},
        )
    )
    return Chapter(name, text, tuple(slots))


def _cut(source: str) -> _Cut:
    before, *parts = MARK.split(source)
    steps = zip(parts[::2], parts[1::2], strict=True)
    return _Cut(before.strip("\n"), tuple((name, code.strip("\n")) for name, code in steps))


def _plain(text: str) -> str:
    """Text for a line of Markdown that shows it as it is."""
    return _MEANT.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _notebook(chapter: Chapter) -> "NotebookNode":
    import jupytext  # noqa: PLC0415  # only whoever writes notebooks needs it

    notebook: NotebookNode = jupytext.reads(chapter.text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # it would be random
        cell.source = _SLOT.sub(lambda slot: chapter.slots[int(slot[1])], cell.source)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


async def _execute(notebook: "NotebookNode") -> str:
    """Fill in the outputs of the cells, up to the first that raises; returns what it raised, if one did."""
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415  # only whoever executes needs it
    from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415  # the same

    with TemporaryDirectory() as place:
        # Without any directory to look in, there is only the kernel of this very interpreter.
        kernel = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(Path(place, "kernel.json")),
            transport="ipc" if os.name == "posix" and len(place) < _LONGEST_SOCKET else "tcp",
        )
        try:
            return await _run_cells(notebook, kernel, place)
        finally:
            if kernel.has_kernel:
                await kernel.shutdown_kernel(now=True)


async def _run_cells(notebook: "NotebookNode", kernel: "AsyncKernelManager", place: str) -> str:
    from nbclient import NotebookClient  # noqa: PLC0415  # only whoever executes needs it
    from nbclient.exceptions import CellExecutionError, DeadKernelError  # noqa: PLC0415  # the same

    client = NotebookClient(notebook, km=kernel, record_timing=False)
    environment = {
        **os.environ,
        # It imports what this process imports, and nothing that lies about where one happens to be.
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        "PYTHONSTARTUP": "",
        "IPYTHONDIR": place,
    }
    try:
        await client.async_start_new_kernel(cwd=place, env=environment)
        await client.async_start_new_kernel_client()
    except (RuntimeError, OSError) as error:
        raise UnavailableError(f"no kernel starts that would execute the notebook: {error}.") from error
    try:
        for number, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, number)
            _keep_one_form(cell)
    except CellExecutionError as error:
        return f"a cell raised {error.ename}: {' '.join(error.evalue.split())}"
    except DeadKernelError:
        # nbclient takes every end of its waiting for an end of the kernel, an interrupt too.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        return "a cell ended the kernel"
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
    return ""


def _keep_one_form(cell: Any) -> None:  # noqa: ANN401  # nbformat's nodes have no types
    """Drop what Python would print of an object that shows itself otherwise: every array in it once more."""
    for output in cell.get("outputs", ()):
        if {"text/html", "image/svg+xml"} & set(output.get("data", ())):
            output.data.pop("text/plain", None)
