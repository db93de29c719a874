"""How closely the twins agree in float64, and how far above that a small defect lies.

Writes benchmarks/results/agreement.md. Differences of a gradient are in the Euclidean norm of the whole
gradient, relative to its norm at the same step.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import scenarios
from compare import describe, twins
from compare.differences import LIMIT
from compare.judge import judge
from compare.runner import environment
from scenarios import Arrays, Result, Statement

RESULTS = Path(__file__).parent / "results"


def norms(tree: Arrays) -> np.ndarray:
    """Euclidean norm of a tree at every row."""
    return np.sqrt(sum((array.reshape(len(array), -1) ** 2).sum(axis=1) for array in tree.values()))


def apart(left: Arrays, right: Arrays) -> np.ndarray:
    """Norm of the difference over the norm of the left tree, at every row."""
    return norms({name: left[name] - right[name] for name in left}) / norms(left)


def as_rows(tree: Arrays) -> Arrays:
    """A tree without steps as a tree of one step."""
    return {name: array[None] for name, array in tree.items()}


def row(statement: Statement, left: Result, right: Result) -> str:
    """One line of the table."""
    ulps = max(d.ulps for d in judge(statement, "float64", left, right).differences)
    steps = converged = nudged = "–"
    if left.history is not None and right.history is not None:
        relative = apart(left.history.gradients, right.history.gradients)
        steps = f"{relative.max():.1e} (step {relative.argmax() + 1})"
        converged = f"{apart(as_rows(left.converged), as_rows(right.converged)).max():.1e}"
        nudged = f"{nudge(statement, right):.1e}"
    start = f"{apart(as_rows(left.gradients), as_rows(right.gradients)).max():.1e}" if left.gradients else "–"
    return f"| {statement.name} | {start} | {steps} | {converged} | {ulps:.1f} | {nudged} |"


def nudge(statement: Statement, right: Result) -> float:
    """Largest difference in ULPs when one start value of the imperative side is off by 1e-9."""
    name = max(right.gradients, key=lambda key: np.abs(right.gradients[key]).max())
    moved = statement.start[name].copy()
    moved[np.unravel_index(np.abs(right.gradients[name]).argmax(), moved.shape)] += 1e-9
    mutant = replace(statement, start={**statement.start, name: moved})
    left = twins.load(statement.name).imperative.run(mutant, dtype="float64")
    return float(max(d.ulps for d in judge(statement, "float64", left, right).differences))


def main() -> None:
    """Measure every scenario and write the table."""
    lines = [
        "# Agreement in float64",
        "",
        "Written by `benchmarks/agreement.py`. Gradients and parameters: Euclidean norm of the difference",
        f"over that of the whole tree. ULPs: largest judged difference; the limit is {LIMIT}. Last column:",
        "the same, when one start value of the imperative side is off by 1e-9.",
        "",
        describe.machine(environment([], [], "cpu")) + ".",
        "",
        "| scenario | gradient at the start | at any step | converged parameters | ULPs | with a defect |",
        "|---|---|---|---|---|---|",
    ]
    for statement in scenarios.ALL:
        pair = twins.load(statement.name)
        lines.append(
            row(statement, pair.imperative.run(dtype="float64"), pair.functional.run(dtype="float64"))
        )
    lines += [
        "",
        "In `root_finding` the gradient passes through zero, and no relative bound can hold there: see",
        "the last section of `docs/errata.md`.",
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "agreement.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
