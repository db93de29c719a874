"""What a step of the sine network is made of: in C, and in a scan with and without XLA's kernels made one.

    python benchmarks/parts.py

Each row adds something to the one before. Writes results/parts.md. One thread, float32, medians of
alternating rounds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import jax
import optax
from jax.flatten_util import ravel_pytree

import scenarios
from compare import describe
from compare.runner import environment
from floor.variants import session
from functional import sine_network as twin
from functional.arrays import Pytree, enter, running
from functional.variants import FLAGS

RESULTS = Path(__file__).parent / "results"
ROUNDS, STEPS = 25, 1000
STATEMENT = scenarios.get("sine_network")
FLAGGED = FLAGS["single-kernel scan"]


def loop(params: Pytree, _: Pytree) -> Pytree:
    """A loop that does next to nothing."""
    return jax.tree.map(lambda p: p - 1e-9, params)


def forward(params: Pytree, data: Pytree) -> Pytree:
    """The loss, fed into all parameters so that nothing of the next step is known before."""
    value = twin.loss(params, **data)
    return jax.tree.map(lambda p: p - 1e-9 * value, params)


def descent(params: Pytree, data: Pytree) -> Pytree:
    """Gradient descent: the loss and its gradients, and the least that one can do with them."""
    slopes = jax.grad(twin.loss)(params, **data)
    return jax.tree.map(lambda p, g: p - 1e-9 * g, params, slopes)


def adam(carry: tuple[Pytree, optax.OptState], data: Pytree) -> tuple[Pytree, optax.OptState]:
    """The twin's step."""
    return twin.step(*carry, optax.adam(1e-3), **data)[:-1]


def flat(carry: tuple[jax.Array, optax.OptState], data: Pytree) -> tuple[jax.Array, optax.OptState]:
    """The same with all parameters in one vector."""
    vector, state = carry
    unravel = ravel_pytree(enter(STATEMENT.start))[1]
    slopes = jax.grad(lambda v: twin.loss(unravel(v), **data))(vector)
    updates, state = optax.adam(1e-3).update(slopes, state)
    return vector + updates, state


def compiled(step: Callable[..., object], carry: object, data: Pytree) -> Callable[[], float]:
    """A scan of STEPS steps, compiled."""
    run = jax.jit(
        lambda carry, data: jax.lax.scan(lambda c, _: (step(c, data), None), carry, length=STEPS)[0]
    )
    ready = run.lower(carry, data).compile()
    return lambda: timed(lambda: jax.block_until_ready(ready(carry, data)))


def timed(run: Callable[[], object]) -> float:
    """Nanoseconds of a step."""
    started = perf_counter()
    run()
    return (perf_counter() - started) / STEPS * 1e9


def in_c(*options: str) -> Callable[[], float]:
    """The floor, compiled with further options."""
    built = session(STATEMENT, "C", "float32", "cpu", options)

    def run() -> float:
        prepared = built.prepare()
        return timed(lambda: built.launch(prepared))

    return run


def measured() -> dict[str, float]:
    """Nanoseconds of a step, by what it does."""
    with running("float32", "cpu"):
        params, data = enter(STATEMENT.start), enter(STATEMENT.data)
        vector = ravel_pytree(params)[0]
        runs = {
            "loop": compiled(loop, params, data),
            "and loss": compiled(forward, params, data),
            "and gradients": compiled(descent, params, data),
            "and Adam": compiled(adam, (params, optax.adam(1e-3).init(params)), data),
            "the same with one vector": compiled(flat, (vector, optax.adam(1e-3).init(vector)), data),
            "in C, and gradients": in_c("-DDESCENT"),
            "in C, and Adam": in_c(),
        }
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                taken[name].append(run())
    return {name: median(times) for name, times in taken.items()}


def elsewhere(flags: str) -> dict[str, float]:
    """The same in a process with other XLA flags."""
    environment = {**os.environ, "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen=false {flags}".strip()}
    command = [sys.executable, __file__, "measure"]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def main() -> None:
    """Measure and write the table."""
    if sys.argv[1:] == ["measure"]:
        print(json.dumps(measured()))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    kernels, single = elsewhere(""), elsewhere(FLAGGED)
    lines = [
        "# What a step of the sine network is made of",
        "",
        "Written by `benchmarks/parts.py`: float32, one core, nanoseconds of a step, medians of alternating",
        "rounds. Each row adds something to the one before; C has all parameters in one vector.",
        "",
        f"{describe.machine(environment([], [], 'cpu'))}.",
        "",
        "| a step | scan | single-kernel scan | C |",
        "|---|---|---|---|",
    ]
    for name in ("loop", "and loss", "and gradients", "and Adam", "the same with one vector"):
        c = single.get(f"in C, {name}")
        cells = [f"{kernels[name]:.0f}", f"{single[name]:.0f}", f"{c:.0f}" if c else "–"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "parts.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
