"""The command ``gradtwin``: a thin door onto :func:`compare.runner.records` and the report.

Exit codes: 0 agree, 1 disagree, 2 usage, 3 a twin raised, 4 unreadable saved run, 130 interrupted.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar, get_args

import typer

import scenarios
from scenarios import Device, Dtype, Statement, UnavailableError
from scenarios.types import unavailable

if TYPE_CHECKING:
    from compare.describe import Table
    from compare.record import Record

# Frameworks, drawing and tables are imported where they are used, so that `gradtwin list` starts at once.

DISAGREE, USAGE, RAISED, UNREADABLE, INTERRUPTED = 1, 2, 3, 4, 130
RUNS = Path("gradtwin-runs")

Choice = TypeVar("Choice", bound=str)

app = typer.Typer(
    name="gradtwin",
    help="Run a lecture's autograd scenarios in PyTorch and in JAX, and say whether they agree.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command("list")
def list_scenarios(*, as_json: Json = False) -> None:
    """List the scenarios in teaching order."""
    if as_json:
        typer.echo(json.dumps([_summary(statement) for statement in scenarios.ALL], indent=2))
        return
    width = max(len(statement.name) for statement in scenarios.ALL)
    for statement in scenarios.ALL:
        typer.echo(f"{statement.name:{width}}  {statement.title}")


@app.command()
def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="By name; all by default.", show_default=False),
    ] = None,
    *,
    dtype: Annotated[str, typer.Option(metavar="float32|float64|both")] = "both",
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help=f"Save the run here; a new directory in {RUNS} by default."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run scenarios on both sides from the same bits, and compare them."""
    chosen = [scenarios.get(name).name for name in names or [s.name for s in scenarios.ALL]]
    dtypes = _dtypes(dtype)
    place = _choose("device", device, get_args(Device))

    from compare import describe, twins
    from compare.record import Record, Run, Writer
    from compare.report import document
    from compare.runner import environment, records

    made: list[Record] = []
    place = twins.resolve(place)
    directory = output or RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    setting = environment(chosen, dtypes, place)
    writer = Writer(directory, setting)
    interrupted = False
    try:
        for record in _progress(
            records(chosen, dtypes=dtypes, device=place), total=len(chosen) * len(dtypes)
        ):
            writer.add(record)
            made.append(record)
    except KeyboardInterrupt:
        interrupted = True

    if as_json:
        sys.stdout.buffer.write(document(Run(setting, tuple(made))) + b"\n")
    elif made:
        _print_table(describe.overview(made), describe.LEGEND)
    for record in made:
        if describe.word(record) != "agree":
            typer.echo(f"{record.scenario} ({record.dtype}): {describe.sentence(record)}", err=True)
        if record.failure is not None:
            typer.echo(f"  The traceback is kept in {writer.path}.", err=True)
    if interrupted:
        total = len(chosen) * len(dtypes)
        _fail(f"interrupted: {len(made)} of {total} records are saved in {directory}.", INTERRUPTED)
    typer.echo(f"Saved in {directory}; `gradtwin report {directory}` makes the page.", err=True)
    words = {describe.word(record) for record in made}
    raise typer.Exit(RAISED if "raised" in words else DISAGREE if "disagree" in words else 0)


@app.command()
def report(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help=f"A saved run; the newest in {RUNS} by default.")
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="`-` is standard output.")
    ] = None,
    format_name: Annotated[str, typer.Option("--format", metavar="html|md|json")] = "html",
) -> None:
    """Render a saved run as one file."""
    from compare.report import RENDERERS, render

    kind = _choose("format", format_name, tuple(RENDERERS))
    directory = directory or _newest()
    content = render(directory, kind)
    target = output or directory / f"report.{kind}"
    if str(target) == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        target.write_bytes(content)
    except OSError as error:
        _fail(f"cannot write {target}: {error.strerror}; choose another file with -o.", USAGE)
    typer.echo(f"Wrote {target}.", err=True)


def main() -> NoReturn:
    """Run the command line; every error is one sentence on standard error and an exit code."""
    from compare.record import UnreadableRunError, UnwritableRunError

    try:
        app()
    except (UnavailableError, UnwritableRunError) as error:
        _fail(str(error), USAGE)
    except UnreadableRunError as error:
        _fail(str(error), UNREADABLE)
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed: `pip install gradtwin` brings it along.", USAGE)
    except KeyboardInterrupt:
        _fail("interrupted before anything was finished.", INTERRUPTED)
    sys.exit(0)


def _summary(statement: Statement) -> dict[str, object]:
    training = statement.training
    return {
        "name": statement.name,
        "title": statement.title,
        "source": statement.source,
        "optimizer": training.optimizer if training else None,
        "learning_rate": training.learning_rate if training else None,
        "steps": training.steps if training else None,
    }


def _dtypes(choice: str) -> tuple[Dtype, ...]:
    every: tuple[Dtype, ...] = get_args(Dtype)
    return every if _choose("dtype", choice, (*every, "both")) == "both" else (choice,)  # type: ignore[return-value]


def _choose(kind: str, choice: str, options: Sequence[Choice]) -> Choice:
    for option in options:
        if option == choice:
            return option
    raise unavailable(kind, choice, options)


def _newest() -> Path:
    runs = sorted(path.parent for path in RUNS.glob("*/run.json"))
    if not runs:
        _fail(f"there is no saved run in {RUNS}: `gradtwin run` makes one.", UNREADABLE)
    return runs[-1]


def _progress(records: "Iterable[Record]", total: int) -> "Iterable[Record]":
    """Pass the records on, and show on a terminal how many there are."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(
        records, "Comparing", total, console=console, transient=True, disable=not console.is_terminal
    )


def _print_table(table: "Table", legend: str) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width that a table would have to fit
    grid = Grid(*table.header)
    for row in table.rows:
        grid.add_row(*row)
    console.print(grid)
    console.print(legend, style="dim")


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"gradtwin: {message}", err=True)
    sys.exit(code)
