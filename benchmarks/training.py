"""What a training run costs, as ratios within one run.

One compiled scan against a Python loop of the jitted step, our eager loop against the note's, what the
harness adds to the runs that it asks for, and the two commands as whole processes. Writes
benchmarks/results/training.md. Rounds alternate A B A B; each ratio is the median over rounds. One thread on
both sides.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import jax
import optax
import torch
from torch import nn

import functional
import imperative.variants
import scenarios
from compare import describe, twins
from compare.judge import Trial
from compare.record import Writer
from compare.runner import DTYPES, compare, environment
from compare.twins import Twins
from functional.arrays import enter, running
from functional.optimizer import resume
from scenarios import Result
from scenarios.types import Twin

RESULTS = Path(__file__).parent / "results"
ROUNDS = 7


def alternate(left: Callable[[], object], right: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of both and the median ratio of ``left`` over ``right``, after a warm-up of each."""
    left(), right()
    pairs = []
    for _ in range(ROUNDS):
        started = perf_counter()
        left()
        between = perf_counter()
        right()
        pairs.append((between - started, perf_counter() - between))
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)


def loops(name: str, *, recording: bool) -> tuple[Callable[[], object], Callable[[], object]]:
    """A Python loop of the twin's jitted step, and the twin's compiled run; both end when the device has.

    With ``recording``, both hand back every step's loss, gradients and parameters; without, the step is
    stripped to what it carries on, inside ``jit``, so that nothing else is even computed.
    """
    twin, statement = getattr(functional, name), scenarios.get(name)
    training, data = statement.require_training(), enter(statement.data)
    optimizer = optax.adam(training.learning_rate)

    def begin() -> tuple[object, ...]:
        params = enter(statement.start)
        return (params,) if name == "sine_polynomial" else (params, resume(params, {}))

    def step(carry: tuple[object, ...]) -> tuple[tuple[object, ...], object]:
        if name == "sine_polynomial":
            *carried, row = twin.step(*carry, **data, learning_rate=training.learning_rate)
        else:
            *carried, row = twin.step(*carry, optimizer, *data.values())
        return tuple(carried), row if recording else None

    jitted = jax.jit(step)

    def loop() -> None:
        carry, rows = begin(), []
        for _ in range(training.steps):
            carry, row = jitted(carry)
            rows.append(row)
        jax.block_until_ready((carry, rows))

    def compiled() -> None:
        params, *state = begin()
        every = 1 if recording else None
        jax.block_until_ready(
            twin.train(params, *([data] if data else []), *state, training=training, every=every)
        )

    return loop, compiled


def note_root_finding() -> None:
    """The note's loop."""
    a, b = torch.tensor([2.0], requires_grad=True), torch.tensor([8.0], requires_grad=True)
    P = (a**3 - 3 * b) ** 2
    optimizer = torch.optim.Adam(params=[a, b], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        P.backward()
        optimizer.step()
        P = (a**3 - 3 * b) ** 2


def note_sine_polynomial() -> None:
    """The note's loop with errata 8 and 9 mended: every iteration updates, and the update is not recorded."""
    x = torch.linspace(-math.pi, math.pi, 100)
    y = torch.sin(x)
    a, b, c = (torch.tensor(0.0, requires_grad=True) for _ in range(3))
    for _ in range(4000):
        loss = (a * x + b * x**2 + c * x**3 - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c):
                p.sub_(1e-5 * p.grad)
                p.grad = None


def note_sine_network() -> None:
    """The note's loop with its forward pass mended."""
    x = torch.linspace(-math.pi, math.pi, 20).view(-1, 1)
    y = torch.sin(x)
    torch.manual_seed(42)
    model = imperative.sine_network.Network(10)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(params=model.parameters(), lr=0.001)
    for _ in range(1000):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fused(name: str) -> Callable[[], object] | None:
    """Our loop with Adam's single-kernel update; None where there is no Adam."""
    statement = scenarios.get(name)
    if "fused optimizer" not in imperative.variants.variants(statement, "cpu"):
        return None
    session = imperative.variants.session(statement, "fused optimizer", "float32", "cpu")
    return lambda: session.launch(session.prepare())


class Watched:
    """A twin whose runs are counted, and timed."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.seconds, self.runs = twin, 0.0, 0

    def run(self, *args: Any, **options: Any) -> Result:  # noqa: ANN401  # whatever a twin takes
        """What the twin runs."""
        started = perf_counter()
        try:
            return self.twin.run(*args, **options)
        finally:
            self.seconds += perf_counter() - started
            self.runs += 1


def harness(name: str) -> tuple[int, float, float]:
    """How many runs of the twins ``gradtwin run`` asks for, their seconds, and those of all the rest."""
    pair = twins.load(name)
    watched = Twins(pair.statement, Watched(pair.imperative), Watched(pair.functional))
    with tempfile.TemporaryDirectory() as directory:
        started = perf_counter()
        trial, writer = Trial(watched), Writer(Path(directory) / "run", environment([name], DTYPES, "cpu"))
        for dtype in DTYPES:
            writer.add(compare(watched, dtype, trial=trial))
        total = perf_counter() - started
    within = watched.imperative.seconds + watched.functional.seconds
    return watched.imperative.runs + watched.functional.runs, within, total - within


def process(*command: str) -> float:
    """Seconds of a whole process, imports included."""
    with tempfile.TemporaryDirectory() as directory:
        started = perf_counter()
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        return perf_counter() - started


TABLES = """# What a training run costs

Written by `benchmarks/training.py`: float32, one thread, medians of {rounds} alternating rounds.
{machine}.

## Functional: one compiled scan

The twin's own step, jitted, in a Python loop against the twin's compiled run. Every step: both hand back
loss, gradients and parameters of every step. Nothing: the step is stripped to what it carries on.

| scenario | recorded | step in a Python loop | compiled run | ratio |
|---|---|---|---|---|
{functional}

## Imperative: our eager loop against the note's

| scenario | the note's loop | ours, nothing recorded | ratio | ours with the fused optimizer | ratio |
|---|---|---|---|---|---|
{imperative}

## The harness

Of `gradtwin run`, both dtypes, imports excluded: how many runs of either side the judge asked for (most of
them of a single step, or of none), the seconds that they took, and what the harness added: measuring
differences, looking at the clock, saving.

| scenario | runs | seconds within | the harness added | share |
|---|---|---|---|---|
{harness}

## Whole processes, imports included, all cores

| command | median | worst |
|---|---|---|
{processes}
"""


def main() -> None:
    """Measure and write the tables."""
    torch.set_num_threads(1)
    names = ("root_finding", "sine_polynomial", "sine_network")
    compiled, eager, processes = [], [], []
    with running("float32", "cpu"):
        for name in names:
            for recording in (True, False):
                loop, scan, ratio = alternate(*loops(name, recording=recording))
                kept = "every step" if recording else "nothing"
                compiled.append(
                    f"| {name} | {kept} | {loop * 1e3:.1f} ms | {scan * 1e3:.2f} ms | {ratio:.0f}× |"
                )
    for name in names:
        twin = getattr(imperative, name)
        note, ours, ratio = alternate(globals()[f"note_{name}"], lambda twin=twin: twin.run(every=None))
        row = f"| {name} | {note * 1e3:.0f} ms | {ours * 1e3:.0f} ms | {ratio:.2f}× |"
        if quick := fused(name):
            note, ours, ratio = alternate(globals()[f"note_{name}"], quick)
            row += f" {ours * 1e3:.0f} ms | {ratio:.2f}× |"
        eager.append(row if quick else f"{row} – | – |")
    added, judged = [], [0, 0.0, 0.0]
    for statement in scenarios.ALL:
        found = harness(statement.name)
        judged = [a + b for a, b in zip(judged, found, strict=True)]
        added.append((statement.name, *found))
    rows = [
        f"| {name} | {runs} | {within:.2f} s | {rest:.2f} s | {100 * rest / within:.1f} % |"
        for name, runs, within, rest in (*added, ("together", *judged))
    ]
    for variable in ("OMP_NUM_THREADS", "XLA_FLAGS"):
        os.environ.pop(variable)
    gradtwin = shutil.which("gradtwin", path=str(Path(sys.executable).parent)) or "gradtwin"
    for command, times in (("run", 3), ("list", 9)):
        took = [process(gradtwin, command) for _ in range(times)]
        processes.append(f"| `gradtwin {command}` | {median(took):.2f} s | {max(took):.2f} s |")
    text = TABLES.format(
        rounds=ROUNDS,
        machine=describe.machine(environment([], [], "cpu")),
        functional="\n".join(compiled),
        imperative="\n".join(eager),
        harness="\n".join(rows),
        processes="\n".join(processes),
    )
    (RESULTS / "training.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
