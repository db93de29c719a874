"""How closely the twins agree, and how small a defect would have been noticed.

Writes benchmarks/results/agreement.md.
"""

from pathlib import Path

import scenarios
from compare import describe, twins
from compare.judge import Finding, Trial, Verdict
from compare.runner import environment
from compare.words import percent, small

RESULTS = Path(__file__).parent / "results"
HEADER = (
    "scenario",
    "dtype",
    "verdict",
    "of the budget: step",
    "free run",
    "error noticed in the first gradient",
    "in the last",
    "growth per step",
    "parameters determined",
)


def gradients(findings: tuple[Finding, ...]) -> list[Finding]:
    """Of the gradients, those that are not zero up to rounding."""
    return [f for f in findings if f.quantity.startswith("gradients") and f.word != "vacuous"]


def worst(findings: tuple[Finding, ...]) -> str:
    """The largest share of the rounding budget."""
    return percent(max(f.share for f in findings)) if findings else "–"


def row(name: str, dtype: str, verdict: Verdict, start: tuple[Finding, ...]) -> tuple[str, ...]:
    """One line of the table."""
    dynamics = verdict.dynamics
    early, late = gradients(start), gradients(verdict.step)
    return (
        name,
        dtype,
        verdict.word,
        worst(verdict.step),
        worst(verdict.run),
        small(max(f.notices for f in early)) if early else "–",
        small(max(f.notices for f in late)) if late else "–",
        f"{dynamics.growth:.5f}" if dynamics else "–",
        f"{dynamics.identified} of {dynamics.parameters}" if dynamics else "–",
    )


def main() -> None:
    """Measure every scenario and write the table."""
    lines = [
        "# Agreement",
        "",
        "Written by `benchmarks/agreement.py`. Of the budget: the largest difference as a share of what",
        "rounding accounts for, in one step from common states and along the free run. Error noticed: the",
        "smallest relative error of a gradient that would not have passed for rounding, at the start and at",
        "the least telling of nine states along the run. Growth: factor per step by which a difference in",
        "the last bit grows.",
        "",
        describe.machine(environment([], [], "cpu")) + ".",
        "",
        f"| {' | '.join(HEADER)} |",
        f"|{'---|' * len(HEADER)}",
    ]
    for statement in scenarios.ALL:
        pair = twins.load(statement.name)
        trial = Trial(pair)
        start = trial.examinations[0][1].higher
        for dtype in ("float32", "float64"):
            cells = row(statement.name, dtype, trial.verdict(dtype), start)
            lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "agreement.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
