"""What it costs to measure two trees of 1e8 float32 parameters, against the two usual assertions.

Writes benchmarks/results/trees.md; with `--entries N`, prints the table for smaller trees instead. chex is no
dependency: to compare with it, `pip install --no-deps --target DIR chex toolz` and put DIR on PYTHONPATH.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "passive"  # torch's threads spin otherwise, for seconds if a core is busy

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from compare import describe
from compare.judge.trees import gaps
from compare.runner import environment

RESULTS = Path(__file__).parent / "results"
ENTRIES, LEAVES, ROUNDS = 10**8, 10, 7
OURS, TORCH, CHEX = "`gaps`", "`torch.testing.assert_close`", "`chex.assert_trees_all_close`"
EQUAL, ROUNDED, FAR = "equal bit for bit", "every entry rounded apart", "one entry far off"


def grow(entries: int) -> dict[str, np.ndarray]:
    """A tree of standard normal float32 numbers; nothing else is allocated on the way."""
    rng, size = np.random.default_rng(0), entries // LEAVES
    return {f"leaf{i}": rng.standard_normal(size, dtype=np.float32) for i in range(LEAVES)}


def spoil(tree: Mapping[str, np.ndarray], case: str) -> None:
    """Make a tree differ from its twin as the case says, in place."""
    if case == ROUNDED:
        for leaf in tree.values():
            leaf[::2] *= 1 + 2**-23
            leaf[1::2] *= 1 - 2**-24
    elif case == FAR:
        tree[f"leaf{LEAVES - 1}"][-1] += 1


def judges(
    left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]
) -> dict[str, Callable[[], object]]:
    """What is measured, on the same memory, by name."""
    tensors = [{name: torch.from_numpy(leaf) for name, leaf in tree.items()} for tree in (left, right)]
    found = {OURS: lambda: gaps(left, right), TORCH: lambda: torch.testing.assert_close(*tensors)}
    if find_spec("chex"):
        close = import_module("chex").assert_trees_all_close
        found[CHEX] = lambda: close(left, right)
    return found


def seconds(judge: Callable[[], object], case: str) -> float:
    """How long a judge takes; an assertion must fail where an entry is far off, and nowhere else."""
    started, failed = perf_counter(), False
    try:
        measured = judge()
    except AssertionError:
        measured, failed = None, True
    took = perf_counter() - started
    if measured is None and failed != (case == FAR):
        raise RuntimeError(f"an assertion {'failed' if failed else 'held'} on trees with {case}")
    return took


def resident(kind: str) -> int:
    """KiB of this process that are resident now (``VmRSS``) or were at the peak (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def extra_memory(name: str, case: str, entries: int) -> float:
    """By how much the resident set of this process rises at most, as a share of the two trees."""
    for judge in judges(grow(LEAVES), grow(LEAVES)).values():
        judge()  # what is loaded at the first call is no cost of the trees
    left, right = grow(entries), grow(entries)
    spoil(right, case)
    judge, before = judges(left, right)[name], resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # sets the peak back to the present
    seconds(judge, case)
    return (resident("VmHWM") - before) * 1024 / (2 * entries * 4)


def in_process(name: str, case: str, entries: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--entries", str(entries), "--memory", name, case]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(case: str, entries: int) -> list[str]:
    """A line of the table for each judge."""
    left, right = grow(entries), grow(entries)
    spoil(right, case)
    found = judges(left, right)
    rounds = [{name: seconds(judge, case) for name, judge in found.items()} for _ in range(1 + ROUNDS)][1:]
    lines = []
    for name in found:
        times, ratios = [r[name] for r in rounds], [r[name] / r[OURS] for r in rounds]
        memory = in_process(name, case, entries)
        lines.append(
            f"| {case} | {name} | {min(times) * 1e3:.0f} ms | {median(times) * 1e3:.0f} ms "
            f"| {min(ratios):.1f}× | {median(ratios):.1f}× | {memory:.1%} |"
        )
    return lines


TABLE = """# What it costs to measure two trees

Written by `benchmarks/trees.py`: two trees of {entries:.0e} float32 parameters in {leaves} leaves,
{rounds} rounds that alternate between the judges on the same memory, after a warm-up of each; ratios to
`gaps` within a round. The assertions run at their default tolerances: they hold in the first two cases and
fail in the last, where the entry is the very last one, because `chex` stops at the first leaf that differs.
Extra memory: the rise of the resident set (Linux's VmHWM) in a process of its own, over both trees.
{machine}{chex}.

| case | judge | fastest | median | least ratio | median ratio | extra memory |
|---|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(extra_memory(*options.memory, options.entries))
        return
    found = find_spec("chex") is not None
    text = TABLE.format(
        entries=options.entries,
        leaves=LEAVES,
        rounds=ROUNDS,
        machine=describe.machine(environment([], [], "cpu")),
        chex=f", chex {import_module('chex').__version__}"
        if found
        else ". chex is missing: it is not installed",
        rows="\n".join(line for case in (EQUAL, ROUNDED, FAR) for line in rows(case, options.entries)),
    )
    if options.entries == ENTRIES:
        (RESULTS / "trees.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
