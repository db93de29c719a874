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

import msgspec

import scenarios
from compare import twins
from compare.judge import SIDES
from compare.timing.clock import Opened, Request, Sample, refusal
from compare.timing.statistics import Estimate, estimate, ratios
from scenarios import Device, Dtype, UnavailableError, unavailable
from scenarios.sizes import scaled

#: Where each side keeps its variants.
MODULES: Mapping[str, str] = {side: f"{side}.variants" for side in SIDES}

#: How often every variant is run, in turns.
ROUNDS = 15

#: Steps of a run that is traced: a trace of thousands is too large to look at.
TRACED = 20


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
    dtypes: Sequence[Dtype] = ("float32",),
    devices: Sequence[Device] = ("cpu",),
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
        dtypes: of the runs; each is a group.
        devices: each is a group; ``auto`` is the GPU if both sides see one.
        threads: cores that each side may use; both are kept on the same ones.
        rounds: how often each variant is run, in turns with all others.
        only: variants by name; all by default.
        sweep: sizes by name; every combination is a group.
        modules: by side, the module with its variants.
        traces: an existing directory for a Perfetto-readable trace of every variant, over a few steps; None
            writes none.

    Raises:
        UnavailableError: a scenario, a size of it, a variant or a device does not exist, a scenario trains
            nothing, or threads or rounds are less than 1.
    """
    if threads < 1 or rounds < 1:
        raise UnavailableError(f"threads={threads} and rounds={rounds}: both are 1 or more.")
    if hasattr(os, "sched_getaffinity") and threads > (cores := len(os.sched_getaffinity(0))):
        raise UnavailableError(f"threads={threads}: there are {cores} cores for each side here.")
    sweep, places = sweep or {}, dict.fromkeys(map(twins.resolve, devices))
    once = [dict.fromkeys(sizes) for sizes in sweep.values()]
    grid = [dict(zip(sweep, sizes, strict=True)) for sizes in product(*once)]
    groups = [
        tuple(
            Timed(name, sizes, dtype, device, side, variant, "", None, ())
            for side, module in modules.items()
            for variant in _offered(name, sizes, module, device)
        )
        for name, dtype, device, sizes in product(names, dict.fromkeys(dtypes), places, grid)
    ]
    every = dict.fromkeys(one.variant for group in groups for one in group)
    for variant in only or ():
        if variant not in every:
            raise unavailable("variant", variant, list(every))
    with _Workers(threads) as judges:
        for group in groups:
            chosen = [one for one in group if only is None or one.variant in only]
            if chosen:
                with _Workers(threads) as workers:
                    yield _group(chosen, judges, workers, rounds, modules)
                if traces is not None:
                    with _Workers(threads) as workers:
                        _trace(chosen, workers, modules, traces)


def _offered(name: str, sizes: Mapping[str, int], module: str, device: Device) -> tuple[str, ...]:
    """The variants that a side has of a training."""
    statement = scaled(scenarios.get(name), **sizes)
    if statement.training is None:
        raise UnavailableError(f"{statement.name} trains nothing, and only training runs are timed.")
    return tuple(import_module(module).variants(statement, device))


def _group(
    chosen: Sequence[Timed],
    judges: "_Workers",
    workers: "_Workers",
    rounds: int,
    modules: Mapping[str, str],
) -> tuple[Timed, ...]:
    """All variants of one statement, in turns."""
    rivals: list[Timed] = []
    sessions: dict[int, tuple[_Worker, int]] = {}
    for rival in chosen:
        module = modules[rival.side]
        request = Request(rival.scenario, rival.sizes, rival.variant, rival.dtype, rival.device)
        # In an environment like the one that it is timed in, since that may change what it computes.
        answer = judges.of(module, rival.variant, "compare.timing.judging").ask(
            replace(request, judged=module)
        )
        if not answer.error:
            worker = workers.of(module, rival.variant, module)
            answer = worker.ask(request)
            if answer.opened is not None:
                sessions[len(rivals)] = worker, answer.session
        rivals.append(replace(rival, refused=answer.error, opened=answer.opened))
    taken, lost = _rounds(sessions, rounds)
    rivals = [
        replace(r, samples=tuple(taken.get(i, ())), refused=r.refused or lost.get(i, ""))
        for i, r in enumerate(rivals)
    ]
    return tuple(
        replace(r, refused=refusal(r.samples, r.opened.unfinished, workers.threads) or _uneven(r, rivals))
        if r.opened and not r.refused
        else r
        for r in rivals
    )


def _trace(chosen: Sequence[Timed], workers: "_Workers", modules: Mapping[str, str], directory: Path) -> None:
    """Write a trace of every variant that can be traced; nothing is timed any more."""
    for one in chosen:
        module = modules[one.side]
        if hasattr(import_module(module), "profiled"):
            steps = scaled(scenarios.get(one.scenario), **one.sizes).require_training().steps
            few = {**one.sizes, "steps": min(steps, TRACED)}
            sizes = "".join(f"-{name}-{size}" for name, size in one.sizes.items())
            place = f"{one.scenario}{sizes}-{one.dtype}-{one.device}"
            target = directory / f"{place}-{one.side}-{one.variant.replace(' ', '-')}"
            request = Request(one.scenario, few, one.variant, one.dtype, one.device)
            worker = workers.of(module, one.variant, module)
            worker.ask(replace(request, trace=str(target.absolute())))


def _rounds(
    sessions: Mapping[int, "tuple[_Worker, int]"], rounds: int
) -> tuple[dict[int, list[Sample]], dict[int, str]]:
    """A B C, C B A, A B C, …: what slows the machine down for a while slows down all of them.

    Returns:
        The samples, and why there are no more of those that were lost on the way.
    """
    taken: dict[int, list[Sample]] = {index: [] for index in sessions}
    lost: dict[int, str] = {}
    for turn in range(rounds):
        for index in list(sessions)[:: -1 if turn % 2 else 1]:
            if index not in lost:
                worker, session = sessions[index]
                answer = worker.ask(Request(session=session))
                if answer.sample is None:
                    lost[index] = answer.error
                else:
                    taken[index].append(answer.sample)
    return taken, lost


def _uneven(rival: Timed, rivals: Sequence[Timed]) -> str:
    """Why a variant was not run under the same conditions as the others; empty if it was."""
    cores = {r.side: r.opened.cores for r in rivals if r.opened}
    if len(set(cores.values())) > 1:
        return f"the sides were not given the same number of cores: {cores}"
    opened = rival.opened
    if opened and opened.threads and opened.cores and opened.threads != opened.cores:
        return f"it computes with {opened.threads} threads and may use {opened.cores}"
    return ""


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    opened: Opened | None = None
    session: int = -1
    sample: Sample | None = None
    error: str = ""


class _Workers(ExitStack):
    """The processes of a group, each started when it is first asked for."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.threads = threads
        self._started: dict[tuple[str, str], _Worker] = {}

    def of(self, module: str, variant: str, loads: str) -> "_Worker":
        """The process for a variant of a module.

        Args:
            module: with the variants of a side.
            variant: by name; one that must be compiled with flags of its own is given a process of its own.
            loads: the module that the process begins with.
        """
        flags: str = getattr(import_module(module), "FLAGS", {}).get(variant, "")
        started = self._started.get((loads, flags))
        if started is None or started.process.poll() is not None:  # one that has died takes nobody with it
            self._started[loads, flags] = started = self.enter_context(_Worker(loads, self.threads, flags))
        return started


class _Worker:
    """A process of its own for one side."""

    def __init__(self, module: str, threads: int, flags: str = "") -> None:
        self.command = (sys.executable, "-m", "compare.timing.worker", module, str(threads))
        few = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
        self.environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
            # Ours first: XLA reads no further than to the first word that is no flag.
            "XLA_FLAGS": f"{few} {flags} {os.environ.get('XLA_FLAGS', '')}".strip(),
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
