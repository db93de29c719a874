"""Times every variant of a training against every other: judged first, in rounds, one process per side."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

import scenarios
from compare import twins
from compare.judge import SIDES, examine
from compare.judge.training import State, advanced, function, inputs
from compare.timing.clock import Opened, Request, Sample, refusal
from compare.timing.statistics import Estimate, estimate, ratios
from scenarios import Device, Dtype, Result, Session, Statement, UnavailableError, unavailable
from scenarios.sizes import scaled

#: Where each side keeps its variants.
MODULES: Mapping[str, str] = {side: f"{side}.variants" for side in SIDES}

#: How often every variant is run, in turns.
ROUNDS = 15

#: Steps of a run that is traced: a trace of thousands is too large to look at.
TRACED = 20

#: Steps of a run that a variant is judged by, from the start and from half-way.
JUDGED = 8


@dataclass(frozen=True)
class Timed:
    """What one variant cost, or why that cannot be said.

    Attributes:
        scenario, sizes, dtype, device: what was run.
        side, variant: by whom.
        refused: why there is no figure; empty if there is one.
        opened: what it cost before its steady state; None if it could not be run, or computes something else.
        samples: of the steady state, one a round.
    """

    scenario: str
    sizes: Mapping[str, int]
    dtype: Dtype
    device: Device
    side: str
    variant: str
    refused: str
    opened: Opened | None
    samples: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """Who it is."""
        return f"{self.side}: {self.variant}"

    @property
    def steps(self) -> int:
        """Of one run."""
        return self.opened.steps if self.opened else 0

    def per_step(self, phase: str = "run") -> Estimate:
        """Seconds per step of a phase, which is an attribute of :class:`Sample`."""
        return estimate([getattr(sample, phase) / self.steps for sample in self.samples])

    def over(self, other: "Timed") -> Estimate:
        """How many times as long as ``other`` it takes for a step, from the ratio of every round."""
        left, right = ([s.run / t.steps for s in t.samples] for t in (self, other))
        return estimate(ratios(left, right))

    def pays(self, plain: "Timed") -> float | None:
        """After how many steps it has paid for its compilation; None if it never does."""
        if self.opened is None:
            return None
        gained = plain.per_step().median - self.per_step().median
        once = (self.opened.compile or 0.0) + self.opened.first.run - self.per_step().median * self.steps
        return max(0.0, once) / gained if gained > 0 else None


def bench(
    names: Sequence[str],
    *,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: int = 1,
    rounds: int = ROUNDS,
    only: Sequence[str] | None = None,
    sweep: Mapping[str, Sequence[int]] | None = None,
    modules: Mapping[str, str] = MODULES,
    traces: Path | None = None,
) -> Iterator[tuple[Timed, ...]]:
    """Time all variants of training scenarios, one group of rivals after the other.

    Args:
        names: of scenarios.
        dtype: of the run.
        device: ``cpu`` or ``gpu``.
        threads: cores that each side may use; both are kept on the same ones.
        rounds: how often each variant is run, in turns with all others.
        only: variants by name; all by default.
        sweep: sizes by name; every combination is a group.
        modules: by side, the module with its variants.
        traces: an existing directory for a Perfetto-readable trace of every variant, over a few steps; None
            writes none.

    Raises:
        UnavailableError: a scenario, a size of it or a variant does not exist, a scenario trains nothing, or
            threads or rounds are less than 1.
    """
    if threads < 1 or rounds < 1:
        raise UnavailableError(f"threads={threads} and rounds={rounds}: both are 1 or more.")
    sweep = sweep or {}
    groups = [
        (name, dict(zip(sweep, sizes, strict=True))) for name in names for sizes in product(*sweep.values())
    ]
    statements = [scaled(scenarios.get(name), **sizes) for name, sizes in groups]
    for statement in statements:
        if statement.training is None:
            raise UnavailableError(f"{statement.name} trains nothing, and only training runs are timed.")
    offered = [
        {side: tuple(import_module(module).variants(statement, device)) for side, module in modules.items()}
        for statement in statements
    ]
    every = dict.fromkeys(variant for sides in offered for names in sides.values() for variant in names)
    for variant in only or ():
        if variant not in every:
            raise unavailable("variant", variant, list(every))
    for (_, sizes), statement, sides in zip(groups, statements, offered, strict=True):
        chosen = [
            Timed(statement.name, sizes, dtype, device, side, variant, "", None, ())
            for side, names in sides.items()
            for variant in names
            if only is None or variant in only
        ]
        if chosen:
            yield _group(statement, chosen, threads, rounds, modules)
            if traces is not None:
                _trace(chosen, statement.require_training().steps, threads, modules, traces)


def _group(
    statement: Statement,
    chosen: Sequence[Timed],
    threads: int,
    rounds: int,
    modules: Mapping[str, str],
) -> tuple[Timed, ...]:
    """All variants of one statement, in turns."""
    rivals: list[Timed] = []
    sessions: dict[int, tuple[str, int]] = {}
    with ExitStack() as stack:
        workers = {side: stack.enter_context(_Worker(m, threads)) for side, m in modules.items()}
        for rival in chosen:
            refused = judged(statement, modules[rival.side], rival.variant, rival.dtype, rival.device)
            opened = None
            if not refused:
                request = Request(rival.scenario, rival.sizes, rival.variant, rival.dtype, rival.device)
                answer = workers[rival.side].ask(request)
                refused, opened = answer.error, answer.opened
            if opened is not None:
                sessions[len(rivals)] = rival.side, answer.session
            rivals.append(replace(rival, refused=refused, opened=opened))
        taken = _rounds(workers, sessions, rounds)
    rivals = [replace(rival, samples=tuple(taken.get(i, ()))) for i, rival in enumerate(rivals)]
    return tuple(
        replace(r, refused=refusal(r.samples, r.opened.unfinished, threads) or _uneven(r, rivals))
        if r.opened
        else r
        for r in rivals
    )


def _trace(
    chosen: Sequence[Timed], steps: int, threads: int, modules: Mapping[str, str], directory: Path
) -> None:
    """Write a trace of every variant that can be traced; nothing is timed any more."""
    for side, module in modules.items():
        if not hasattr(import_module(module), "profiled"):
            continue
        with _Worker(module, threads) as worker:
            for one in chosen:
                if one.side == side:
                    few = {**one.sizes, "steps": min(steps, TRACED)}
                    sizes = "".join(f"-{name}-{size}" for name, size in one.sizes.items())
                    target = directory / f"{one.scenario}{sizes}-{side}-{one.variant.replace(' ', '-')}"
                    request = Request(one.scenario, few, one.variant, one.dtype, one.device)
                    worker.ask(replace(request, trace=str(target.absolute())))


def _rounds(
    workers: Mapping[str, "_Worker"], sessions: Mapping[int, tuple[str, int]], rounds: int
) -> dict[int, list[Sample]]:
    """A B C, C B A, A B C, …: what slows the machine down for a while slows down all of them."""
    taken: dict[int, list[Sample]] = {index: [] for index in sessions}
    for turn in range(rounds):
        for index in list(sessions)[:: -1 if turn % 2 else 1]:
            side, session = sessions[index]
            answer = workers[side].ask(Request(session=session))
            if answer.sample is None:
                raise RuntimeError(f"{side}: {answer.error}")
            taken[index].append(answer.sample)
    return taken


def _uneven(rival: Timed, rivals: Sequence[Timed]) -> str:
    """Why a variant was not run under the same conditions as the others; empty if it was."""
    cores = {r.side: r.opened.cores for r in rivals if r.opened}
    if len(set(cores.values())) > 1:
        return f"the sides were not given the same number of cores: {cores}"
    opened = rival.opened
    if opened and opened.threads and opened.cores and opened.threads != opened.cores:
        return f"it computes with {opened.threads} threads and may use {opened.cores}"
    return ""


def judged(statement: Statement, module: str, variant: str, dtype: Dtype, device: Device) -> str:
    """Why a variant does not compute what the other side's twin does; empty if it does.

    Args:
        statement: of a training.
        module: with the variants of a side.
        variant: by name.
        dtype: whose verdict counts.
        device: to run on.
    """
    offered = import_module(module)

    def run(asked: Statement, precision: str, _: int | None) -> Result:
        session: Session = offered.session(asked, variant, precision, device)
        if session.compile is not None:
            session.compile()
        handle = session.launch(session.prepare())
        session.finish(handle)
        return Result(values={}, converged=session.leave(handle))

    pair = twins.load(statement.name)
    other: Any = pair.imperative if module.startswith("functional") else pair.functional

    def reference(asked: Statement, precision: str, _: int | None) -> Result:
        result: Result = other.run(asked, dtype=precision, device=device, every=None)
        return result

    def told(asked: Statement, precision: str, every: int | None) -> Result:
        return Result(values={}, converged=reference(asked, precision, every).converged)

    training = statement.require_training()
    start = State(0, statement.start, statement.state)
    halfway = advanced(reference, statement, start, training.steps // 2)
    steps = min(JUDGED, training.steps)
    for state in (start, halfway):
        try:
            found = examine(
                function(run, statement, steps), function(told, statement, steps), inputs(statement, state)
            )
        except Exception as error:  # noqa: BLE001  # whatever a variant raises is why it has no figure
            return f"{type(error).__name__}: {error}".strip().splitlines()[0]
        findings = found.higher if dtype == "float64" else found.lower
        for finding in findings:
            if finding.word in {"different", "undecided"}:
                after = state.step + steps
                return f"it computes something else: {finding.quantity} is {finding.word} after step {after}"
        if all(f.word == "vacuous" for f in findings):
            return f"nothing of it could be compared after step {state.step + steps}"
    return ""


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    opened: Opened | None = None
    session: int = -1
    sample: Sample | None = None
    error: str = ""


class _Worker:
    """A process of its own for one side."""

    def __init__(self, module: str, threads: int) -> None:
        self.command = (sys.executable, "-m", "compare.timing.worker", module, str(threads))
        few = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
        self.environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {few}".strip(),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    def __enter__(self) -> "_Worker":
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,  # Ctrl-C is for the one who can save what there is
        )
        return self

    def ask(self, request: Request) -> _Answer:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(msgspec.json.encode(request) + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            return _Answer(error=f"its process ended with exit code {self.process.wait()}")
        return msgspec.json.decode(line, type=_Answer)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):
            self.process.communicate()
