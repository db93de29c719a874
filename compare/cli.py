"""The command ``gradtwin``: a thin door onto what :mod:`compare` runs, judges and reports.

Exit codes: 0 agree, 1 disagree, 2 usage, 3 a side raised, 4 unreadable saved run, 130 interrupted.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from compare.atlas import Reading
    from compare.describe import Table as Grid
    from compare.port.check import PairVerdict
    from compare.record import Record, Run
    from scenarios import Device, Dtype, Statement
    from scenarios.graph import Of

# Everything else is imported where it is used, so that the command starts at once and can be interrupted.

DISAGREE, USAGE, RAISED, UNREADABLE, INTERRUPTED = 1, 2, 3, 4, 130
AGREE = {"identical", "rounding"}
RUNS = Path("gradtwin-runs")
DEVICES: "tuple[Device, ...]" = ("auto", "cpu", "gpu")
OF: "tuple[Of, ...]" = ("forward", "gradient")

Choice = TypeVar("Choice", bound=str)
T = TypeVar("T")

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
    import scenarios

    if as_json:
        _write(json.dumps([_summary(statement) for statement in scenarios.ALL], indent=2))
        return
    width = max(len(statement.name) for statement in scenarios.ALL)
    _write("\n".join(f"{statement.name:{width}}  {statement.title}" for statement in scenarios.ALL))


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
    import scenarios
    from compare import twins
    from compare.report import document
    from compare.runner import DTYPES

    asked = names or [statement.name for statement in scenarios.ALL]
    chosen = list(dict.fromkeys(scenarios.get(name).name for name in asked))
    dtypes = DTYPES if dtype == "both" else (_choose("dtype", dtype, DTYPES, "both"),)
    place = twins.resolve(_choose("device", device, DEVICES))
    directory = output or RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    finished, trouble, code = _carry_out(directory, chosen, dtypes, place)
    if not code:
        _say(f"Saved in {directory}; `gradtwin report {shlex.quote(str(directory))}` makes the page.")
    said = _complain(finished.records, directory)
    if as_json:
        _write(document(finished).decode())
    elif finished.records:
        _write(_overview(finished.records))
    if code:
        total = len(chosen) * len(dtypes)
        _fail(f"{trouble} {len(finished.records)} of {total} records are saved in {directory}.", code)
    raise typer.Exit(RAISED if "raised" in said else DISAGREE if said - AGREE else 0)


def _carry_out(
    directory: Path, names: "Sequence[str]", dtypes: "Sequence[Dtype]", device: "Device"
) -> "tuple[Run, str, int]":
    """Run and save everything; returns what is on disk, and what stopped it, if anything, with its code."""
    from compare import lesson
    from compare.record import UnwritableRunError, Writer, read
    from compare.runner import environment, records

    writer = Writer(directory, environment(names, dtypes, device))
    trouble, code = "", 0
    lessons: dict[str, lesson.Lesson] = {}
    with _Interruptible() as interrupt:
        try:
            for record in _progress(records(names, dtypes=dtypes, device=device), len(names) * len(dtypes)):
                writer.add(record)
                if record.scenario not in lessons:
                    lessons[record.scenario] = lesson.gather(record.scenario, device)
                    lesson.save(directory, list(lessons.values()))
                if interrupt.came:
                    break
        except KeyboardInterrupt:
            pass
        except UnwritableRunError as error:
            trouble, code = str(error), USAGE
    if interrupt.came:
        trouble, code = "interrupted:", INTERRUPTED
    return read(directory), trouble, code


def _complain(records: "Sequence[Record]", directory: Path) -> set[str]:
    """Say what did not agree, a sentence each; returns the verdicts that came up."""
    from compare.words import sentence, word

    for record in records:
        if word(record) not in AGREE:
            _say(f"{record.scenario} ({record.dtype}): {sentence(record)}")
        if record.failure is not None:
            _say(f"  The traceback is kept in {directory / 'records.jsonl'}.")
    return {word(record) for record in records}


@app.command()
def atlas(
    families: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FAMILY]...", help="Of entries; all by default.", show_default=False),
    ] = None,
    *,
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu")] = "cpu",
    as_json: Json = False,
) -> None:
    """Measure where PyTorch and JAX mean different things by one name."""
    from compare import twins
    from compare.atlas import describe, readings
    from scenarios.atlas import ALL

    chosen = [_choose("family", name, tuple(ALL)) for name in dict.fromkeys(families or ALL)]
    place = twins.resolve(_choose("device", device, DEVICES))
    total = 2 * sum(len(ALL[family]) for family in chosen)
    found: list[Reading] = []
    with (
        _Interruptible() as interrupt,
        closing(readings(chosen, place)) as source,
        suppress(KeyboardInterrupt),
    ):
        for reading in _progress(source, total, "Measuring"):
            found.append(reading)
            if interrupt.came:
                break
    if as_json:
        _write(describe.document(found).decode())
    elif found:
        _write(_grid(describe.table(found)) + describe.LEGEND)
    if interrupt.came:
        _fail(f"interrupted: {len(found)} of {total} readings were made.", INTERRUPTED)


@app.command()
def check(
    torch_target: Annotated[
        str,
        typer.Argument(
            metavar="TORCH_TARGET",
            help="A PyTorch module or function: package.module:NAME or path/to/file.py:NAME.",
        ),
    ],
    jax_target: Annotated[
        str,
        typer.Argument(
            metavar="JAX_TARGET", help="Its JAX port. On either side NAME() is what NAME returns when called."
        ),
    ],
    *,
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of the PyTorch side, as .npz or .safetensors.")
    ] = None,
    pytree: Annotated[
        str | None,
        typer.Option(metavar="FILE|TARGET", help="Of the JAX side; in a file, layers[0].w is a path."),
    ] = None,
    args: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Arguments of both: the arrays of the file, in its order."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET,TARGET", help="Of PyTorch and JAX: from output and arguments to a scalar."
        ),
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Which parameter is which.")
    ] = None,
    save_map: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write that down, to be read, mended and given to --map."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            metavar="optimizer=NAME,lr=LR,steps=N[,…]",
            help="Train both by the loss, with sgd, adam, adamw or rmsprop and the options of torch.optim.",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="float32|float64|both")] = "float64",
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu")] = "auto",
    locate: Annotated[
        bool, typer.Option(help="Look for the operations that differ, if the sides do.")
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the first that differ as a script with its values."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge whether a JAX port computes what its PyTorch original does, and say where it does not."""
    from compare import twins
    from compare.port import describe, load
    from compare.port.check import Pair
    from compare.port.mapping import Map
    from compare.runner import DTYPES

    dtypes = DTYPES if dtype == "both" else (_choose("dtype", dtype, DTYPES, "both"),)
    named = None if params is None else load.arrays(params)
    given = () if args is None else load.arguments(args)
    known = None if map_file is None else Map.load(map_file)
    run = None if train is None else load.training(train)
    place = twins.resolve(_choose("device", device, DEVICES))
    # The functional side first: importing torch first can hide the GPU from JAX (jax#19004).
    right, tree = load.target(jax_target), None if pytree is None else load.pytree(pytree)
    left, losses = load.target(torch_target), None if loss is None else load.losses(loss)
    with _blaming():
        pair = Pair(left, right, named, given, pytree=tree, loss=losses, map=known, train=run, device=place)
        if save_map is not None:
            pair.map.save(save_map)
            _say(f"Wrote {save_map}.")
        verdicts = {kind: pair.verdict(kind, locate=locate) for kind in dtypes}
    if as_json:
        sides = {"imperative": torch_target, "functional": jax_target, "device": place}
        told = {kind: describe.document(verdict) for kind, verdict in verdicts.items()}
        _write(json.dumps({**sides, "verdicts": told}, indent=2))
    else:
        texts = [describe.text(verdict) for verdict in verdicts.values()]
        heads = [f"{kind}, " for kind in dtypes] if len(dtypes) > 1 else [""]
        _write("\n\n".join(map("".join, zip(heads, texts, strict=True))))
    if export is not None:  # last, so that what was found is not lost where it cannot be written
        _export(verdicts.values(), export)
    raise typer.Exit(0 if all(verdict.agrees for verdict in verdicts.values()) else DISAGREE)


def _export(verdicts: "Iterable[PairVerdict]", directory: Path) -> None:
    """Write the first fault of these as a script, and say so, or that there is none."""
    from compare.port.export import export

    fault = next((v.first_difference for v in verdicts if v.first_difference is not None), None)
    if fault is None:
        _say("No operation was found to differ: nothing was exported.")
        return
    _say(f"Wrote {export(fault, directory)}.")


@contextmanager
def _blaming() -> "Iterator[None]":
    """End with the side that raised, its exception in a sentence, and the user's lines that led there."""
    from compare.port import describe
    from compare.port.load import LoadError
    from compare.port.mapping import MapError
    from scenarios.port import UnusablePortError

    try:
        yield
    except (LoadError, MapError, UnusablePortError):
        raise
    except (Exception, SystemExit) as error:
        side = describe.raised_by(error)
        if not side:
            raise
        told = f"the {side} side raised {describe.exception(error)}."
        _fail(f"{told}\n{describe.traceback(error)}".rstrip(), RAISED)


@app.command()
def mutants(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="By name; all by default.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Keep the table in this saved run, for its report."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Plant known defects in one side at a time, and print which of them the judge finds."""
    import scenarios
    from compare import describe
    from compare import mutants as planted
    from compare.record import encode

    chosen = [scenarios.get(name).name for name in dict.fromkeys(names)] if names else None
    found = list(_progress(planted.mutants(chosen), None, "Planting"))
    if output is not None:
        planted.save(output, found)
    for mutant in found:
        if mutant.fate == "survived":
            _say(f"{mutant.scenario}: '{mutant.defect}' on the {mutant.side} side survived.")
    _write(
        encode(found).decode() if as_json else f"{_grid(describe.kills(found))}{describe.kill_rate(found)}"
    )
    raise typer.Exit(DISAGREE if any(mutant.fate == "survived" for mutant in found) else 0)


@app.command()
def report(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help=f"A saved run; the newest in {RUNS} by default.")
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="`-` is standard output.")
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="html|md|json", help="html by default.")
    ] = None,
    notebook: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write its chapters here instead, as executed notebooks."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Render a saved run as one file."""
    from compare.report import RENDERERS, render

    kind = _choose("format", format_name or "html", tuple(RENDERERS))
    if notebook is not None and (output is not None or format_name is not None):
        _fail("--notebook names a place and a format of its own: leave out -o and --format.", USAGE)
    if open_page and (kind != "html" or notebook is not None or str(output) == "-"):
        _fail("--open opens a page: write one, with --format html and to a file.", USAGE)
    directory = directory or _newest()
    if notebook is not None:
        raise typer.Exit(_notebooks(directory, notebook))
    content = render(directory, kind)
    target = output or directory / f"report.{kind}"
    if str(target) == "-":
        _write(content.decode())
        return
    _write_file(target, content)
    if open_page:
        import webbrowser

        if not webbrowser.open(target.resolve().as_uri()):
            _say(f"No browser was found: open {target} in yours.")


@app.command()
def serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="By name; all by default.", show_default=False),
    ] = None,
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine, which alone sees it.")] = 8765,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Keep runs and page here; in a temporary place by default."
        ),
    ] = None,
) -> None:
    """Serve a page that runs again and reloads by itself whenever a twin is edited."""
    import scenarios
    from compare import serve as teaching

    asked = names or [statement.name for statement in scenarios.ALL]
    chosen = list(dict.fromkeys(scenarios.get(name).name for name in asked))
    try:
        teaching.serve(chosen, port, output, open_page=open_page, say=_say)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"livereload", "tornado"}:
            raise
        _fail("livereload is not installed: `pip install 'gradtwin[teach]'` brings it.", USAGE)
    except teaching.ServingError as error:
        _fail(str(error), USAGE)
    _say("Stopped.")


def _notebooks(directory: Path, target: Path) -> int:
    """Write the chapters of a saved run as notebooks; returns the exit code."""
    from compare import notebook

    chapters = notebook.chapters(directory)
    done: list[notebook.Written] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a kernel has to be ended first
    try:
        for written in _progress(notebook.write(chapters, target), len(chapters), "Executing"):
            done.append(written)
            if written.trouble:
                _say(f"{written.path}: {written.trouble}.")
    except KeyboardInterrupt:
        _fail(f"interrupted: {len(done)} of {len(chapters)} notebooks are in {target}.", INTERRUPTED)
    _say(f"Wrote {len(done)} notebook{'' if len(done) == 1 else 's'} to {target}.")
    return RAISED if any(written.trouble for written in done) else 0


@app.command()
def graph(
    name: Annotated[str, typer.Argument(metavar="SCENARIO", help="By name.")],
    *,
    side: Annotated[str, typer.Option(metavar="imperative|functional|both")] = "both",
    of: Annotated[str, typer.Option(metavar="forward|gradient")] = "forward",
    form: Annotated[str | None, typer.Option("--format", metavar="text|svg|png|dot|json")] = None,
    dtype: Annotated[str, typer.Option(metavar="float32|float64")] = "float64",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Standard output by default, for text, dot and json."
        ),
    ] = None,
) -> None:
    """Draw the tape and the jaxpr of a scenario's loss, with what has a twin on the other side."""
    from compare.graph_formats import FORMATS
    from compare.graphs import drawn
    from compare.runner import DTYPES
    from scenarios import UnavailableError

    if str(output) == "-":
        output = None
    given = output.suffix.removeprefix(".").lower() if output is not None else ""
    kind = _choose("format", form or {"": "text", "txt": "text"}.get(given, given), tuple(FORMATS))
    sides = ("imperative", "functional")
    chosen = sides if side == "both" else (_choose("side", side, sides, "both"),)
    what: Of = _choose("graph", of, OF)
    if output is None and kind in {"svg", "png"}:
        _fail(f"a drawing as {kind} needs a file: name one with -o.", USAGE)
    try:
        aligned = drawn(name, what, dtype=_choose("dtype", dtype, DTYPES))
    except UnavailableError:
        raise
    except ValueError as error:
        _fail(f"{name}: {error}", USAGE)
    content = FORMATS[kind](aligned, chosen)
    if output is None:
        _write(content.decode().rstrip())
        return
    _write_file(output, content)


@app.command()
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...", help="By name; all that train by default.", show_default=False
        ),
    ] = None,
    *,
    dtype: Annotated[str, typer.Option(metavar="float32|float64|both")] = "float32",
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu|both")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Cores that each side may use.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often every variant is run, in turns.")] = 15,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Time this variant only; may be repeated."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE=N,N,...",
            help="Sizes to time: width, points or steps (or dtype, or device); may be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help=f"Save here; a new directory in {RUNS} by default."
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a trace of every variant that Perfetto reads.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Time every variant of a training against every other, each judged before it is timed."""
    import scenarios
    from compare import twins
    from compare.record import encode
    from compare.runner import DTYPES, environment
    from compare.timing import bench as timing
    from compare.timing import saved, table

    trained = [statement.name for statement in scenarios.ALL if statement.training]
    chosen = [scenarios.get(name).name for name in dict.fromkeys(names or trained)]
    sizes, words = _sweeps(sweep or [])
    asked = {
        "dtype": DTYPES if dtype == "both" else (dtype,),
        "device": ("cpu", "gpu") if device == "both" else (device,),
    } | words
    dtypes = [_choose("dtype", kind, DTYPES, "both") for kind in asked["dtype"]]
    devices = [twins.resolve(_choose("device", where, DEVICES, "both")) for where in asked["device"]]
    place: Device = "gpu" if "gpu" in devices else "cpu"
    directory = output or RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    traces = _directory(directory / "traces") if profile else None
    groups = timing.bench(
        chosen,
        dtypes=dtypes,
        devices=devices,
        threads=threads,
        rounds=rounds,
        only=variant,
        sweep=sizes,
        traces=traces,
    )
    finished = saved.Bench(environment(chosen, dtypes, place), threads, rounds, ())
    with _Interruptible() as interrupt:
        for group in _progress(groups, None, "Timing"):
            finished = replace(finished, timed=(*finished.timed, *group))
            saved.save(directory, finished)
            if interrupt.came:
                break
    _say(f"Saved in {directory / saved.FILE}.")
    if traces is not None:
        _say(f"The traces in {traces} can be opened with Perfetto.")
    if as_json:
        _write(encode(finished).decode())
    else:
        _write("".join(f"{grid.caption}\n{_grid(grid)}" for grid in table.tables(finished)) + table.LEGEND)
    if interrupt.came:
        _fail("interrupted: what was finished is saved.", INTERRUPTED)
    raise typer.Exit(0 if any(not one.refused for one in finished.timed) else DISAGREE)


def _write_file(target: Path, content: bytes) -> None:
    """Write a file as a whole, but none that a saved run is made of."""
    from compare.record import HEAD, PARTS

    if target.name in PARTS and (target.parent / HEAD).exists():
        _fail(f"{target} is part of a saved run; choose another file with -o.", USAGE)
    draft = target.with_name(f"{target.name}.new")
    try:
        if target.exists() and not target.is_file():  # a device takes what is written to it
            target.write_bytes(content)
        else:
            draft.write_bytes(content)
            draft.replace(target)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        _fail(f"cannot write {target}: {error.strerror}; choose another file with -o.", USAGE)
    _say(f"Wrote {target}.")


def _directory(path: Path) -> Path:
    """Make a directory, if it is not there."""
    from compare.record import UnwritableRunError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableRunError(f"cannot write to {path}: {error.strerror}.") from error
    return path


def _whole(text: str) -> int | None:
    """``1000`` or ``1e3``; None for what is no whole number."""
    with suppress(ValueError):
        number = float(text)
        return int(number) if number.is_integer() else None
    return None


def _sweeps(sweep: "Sequence[str]") -> tuple[dict[str, list[int]], dict[str, tuple[str, ...]]]:
    """``width=10,100`` and the like, by name; and ``dtype`` and ``device``, whose values are no numbers."""
    from scenarios import UnavailableError

    sizes, words = {}, {}
    for text in sweep:
        name, _, listed = text.partition("=")
        if name in {"dtype", "device"}:
            words[name] = tuple(listed.split(","))
            continue
        numbers = [_whole(size) for size in listed.split(",")]
        if None in numbers or name in sizes:
            raise UnavailableError(f"--sweep {text}: write each size once with whole values: width=10,100.")
        sizes[name] = [number for number in numbers if number is not None]
    return sizes, words


@app.command()
def diff(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="A directory with a saved run or a bench.")
    ],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Another one.")],
    *,
    fail_on: Annotated[
        str, typer.Option(metavar="verdict,time", help="What makes the exit code 1.")
    ] = "verdict,time",
    factor: Annotated[
        float, typer.Option(min=1.0, help="A step may take this many times as long as before.")
    ] = 1.1,
    as_json: Json = False,
) -> None:
    """Say what changed between two saved runs or benches, in verdicts and in timings."""
    from compare.record import encode
    from compare.timing import table
    from compare.timing.difference import changes, difference

    kinds = [_choose("kind of change", kind, ("verdict", "time")) for kind in fail_on.split(",")]
    found = difference(before, after)
    if as_json:
        _write(encode(found).decode())
    else:
        grids = "".join(f"{grid.caption}\n{_grid(grid)}" for grid in table.change(found))
        _write(grids or "Nothing changed.")
    for kind, count in changes(found, kinds, factor).items():
        if count:
            what = "verdicts changed" if kind == "verdict" else f"variants take over {factor:g} times as long"
            _say(f"{count} {what}.")
    raise typer.Exit(DISAGREE if any(changes(found, kinds, factor).values()) else 0)


def main() -> NoReturn:
    """Run the command line; every error is one sentence on standard error and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal may not know every sign
    signal.signal(signal.SIGINT, _interrupted_early)
    try:
        app()
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed: `make report` sets everything up.", USAGE)
    except ValueError as error:
        _explain(error)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and saved; only the process has to end
    sys.exit(0)


def _explain(error: ValueError) -> None:
    """End with the sentence of an error that has one; return if it has none."""
    from compare.port import describe
    from compare.port.export import ExportError
    from compare.port.load import LoadError
    from compare.port.mapping import MapError
    from compare.record import UnreadableRunError, UnwritableRunError
    from scenarios import UnavailableError
    from scenarios.port import UnusablePortError

    if isinstance(error, UnreadableRunError):
        _fail(str(error), UNREADABLE)
    if isinstance(error, UnwritableRunError):
        _fail(f"{error} Choose another directory with -o.", USAGE)
    if isinstance(error, LoadError) and error.__cause__ is not None:
        _fail(f"{error}\n{describe.traceback(error.__cause__)}".rstrip(), USAGE)
    if isinstance(error, ExportError | LoadError | MapError | UnavailableError | UnusablePortError):
        _fail(str(error), USAGE)


class _Interruptible:
    """While records are made, the first Ctrl-C waits for the record at hand and the second raises.

    Raising at once would lose that record, and a framework's callback may swallow the exception. Before,
    nothing is finished, and the process may end at once; after, what is left to do is quick.
    """

    def __enter__(self) -> "_Interruptible":
        self.came = False
        signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, *_: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        _say("Finishing the record at hand; Ctrl-C again stops at once.")

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupted_early(*_: object) -> None:
    # Raising would not do: while a framework is imported, its callbacks may swallow an exception.
    os.write(2, b"gradtwin: interrupted before anything was finished.\n")
    os._exit(INTERRUPTED)


def _summary(statement: "Statement") -> dict[str, object]:
    training = statement.training
    return {
        "name": statement.name,
        "title": statement.title,
        "source": statement.source,
        "optimizer": training.optimizer if training else None,
        "learning_rate": training.learning_rate if training else None,
        "steps": training.steps if training else None,
    }


def _choose(kind: str, choice: str, options: Sequence[Choice], *others: str) -> Choice:
    from scenarios import unavailable

    for option in options:
        if option == choice:
            return option
    raise unavailable(kind, choice, (*options, *others))


def _newest() -> Path:
    runs = sorted(path.parent for path in RUNS.glob("*/run.json"))
    if not runs:
        _fail(f"there is no saved run in {RUNS}: `gradtwin run` makes one.", UNREADABLE)
    return runs[-1]


def _progress(items: "Iterable[T]", total: int | None, doing: str = "Comparing") -> "Iterable[T]":
    """Pass the items on, and show on a terminal how many there are."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, doing, total, console=console, transient=True, disable=not console.is_terminal)


def _overview(records: "Sequence[Record]") -> str:
    """The verdicts as a table, and what its columns say."""
    from compare import describe

    return _grid(describe.overview(records)) + describe.LEGEND


def _grid(table: "Grid") -> str:
    """A table for the terminal; on one too narrow for all columns, the first ones that fit."""
    from rich.console import Console
    from rich.table import Table

    terminal = Console()
    width = terminal.width if terminal.is_terminal else 200  # a file or a pipe has no width to fit
    for columns in range(len(table.header), 0, -1):
        grid = Table(*table.header[:columns])
        for row in table.rows:
            grid.add_row(*row[:columns])
        if Console(width=1000).measure(grid).maximum <= width:
            break
    text = StringIO()
    Console(file=text, width=width).print(grid)
    left_out = table.header[columns:]
    hidden = f"Not shown for want of width: {', '.join(left_out)}.\n" if left_out else ""
    return text.getvalue() + hidden


def _write(text: str) -> None:
    """Print to standard output; a reader who has left is no error, a full disk is."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the flush at exit fails once more
    except (OSError, AttributeError) as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        why = getattr(error, "strerror", None) or "it is closed"
        _fail(f"cannot write to standard output: {why}.", USAGE)


def _say(text: str) -> None:
    with suppress(OSError, AttributeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _fail(message: str, code: int) -> NoReturn:
    _say(f"gradtwin: {message}")
    sys.exit(code)
