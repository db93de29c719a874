"""The long run of the judge on honest pairs, and on planted defects, and what another safety factor would do.

    python benchmarks/soak.py programs 2000 [SEED]     random programs, written in torch and in jax
    python benchmarks/soak.py again 2000 [SEED]        those that an earlier run of these doubted
    python benchmarks/soak.py variations 200 [SEED]    honest variations of every scenario from random starts
    python benchmarks/soak.py mutants                  every planted defect
    python benchmarks/soak.py report                   benchmarks/results/soak.md from what these have left

Each leaves a file under benchmarks/results and can be run beside the others.
"""

import json
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import jax
import numpy as np

import scenarios
from compare import describe, twins
from compare.judge import SIDES, Finding, Trial, examine
from compare.judge.rounding import SAFETY
from compare.mutants import load, mutants, save
from compare.runner import environment
from compare.twins import Twins
from programs import Pair, drafts, sound, stream
from scenarios import Statement, Training

RESULTS = Path(__file__).parent / "results"
FACTORS = [SAFETY * 2.0**n for n in range(-4, 5)]
HONEST = {
    "imperative": (
        "none",
        "points reordered",
        "fused optimizer",
        "foreach optimizer",
        "optimizer written out",
    ),
    "functional": ("none", "points reordered", "unjitted", "columns", "optimizer written out"),
}
STEPS = 24


def keep(name: str, rows: list[dict[str, object]]) -> None:
    """Leave what was found for the report."""
    (RESULTS / "soak").mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (RESULTS / "soak" / f"{name}.jsonl").write_text(lines, "utf-8")


def row(what: str, findings: tuple[Finding, ...]) -> dict[str, object]:
    """What is kept of one honest pair: the gravest word, and the largest share of the budget."""
    words = [finding.word for finding in findings]
    gravity = ("different", "undecided", "rounding", "identical", "vacuous")
    word = min(words, key=gravity.index)
    share = max((f.share for f in findings if f.word != "undecided"), default=0.0)
    return {"what": what, "word": word, "share": float(share)}


def soak_programs(count: int, start: int) -> None:
    """Judge ``count`` random programs, drawn independently of each other."""
    rows: list[dict[str, object]] = []
    began = time.time()
    for pair in islice(stream(start), count):
        rows.append(judged(pair))
        if len(rows) % 40 == 0 or len(rows) == count:
            jax.clear_caches()  # no program comes twice
            print(len(rows), f"{time.time() - began:.0f} s", flush=True)
            keep(f"programs-{start}", rows)


def soak_again(count: int, start: int) -> None:
    """Judge again what an earlier run doubted; what is no longer drawn is dropped."""
    rows = read(f"programs-{start}")
    doubted = {str(r["what"]) for r in rows if r["what"] != "program"}
    found = (pair for pair in islice(drafts(start), 2 * count) if pair.text in doubted)
    again = [judged(pair) for pair in found if sound(pair)]
    keep(f"programs-{start}", [r for r in rows if r["what"] == "program"] + again)
    print(f"{len(doubted)} doubted, {len(again)} judged again", Counter(str(r["word"]) for r in again))


def judged(pair: Pair) -> dict[str, object]:
    """Judge a program, and print it if it is doubted."""
    found = examine(pair.imperative, pair.functional, pair.inputs)
    findings = (*found.higher, *found.lower)
    doubtful = [finding for finding in findings if finding.word in {"different", "undecided"}]
    if doubtful:
        print(pair.text, *doubtful, sep="\n    ", flush=True)
    return row(pair.text if doubtful else "program", findings)


def elsewhere(statement: Statement, random: np.random.Generator) -> Statement:
    """The statement from another start, on other points, of which nothing is known beforehand."""

    def drawn(array: np.ndarray) -> np.ndarray:
        return np.asarray(random.normal(size=array.shape) * random.choice([0.3, 1.0, 2.0]))

    training = statement.training and Training("other", statement.training.learning_rate, STEPS)
    return replace(
        statement,
        start={name: drawn(array) for name, array in statement.start.items()},
        data={name: drawn(array) for name, array in statement.data.items()},
        training=training,
        truth={},
        objective=None,
        limit={},
        published=(),
    )


def soak_variations(count: int, start: int) -> None:
    """Judge ``count`` starts of every scenario, each side in one of its honest variations."""
    rows: list[dict[str, object]] = []
    for statement in scenarios.ALL:
        planted = {
            side: {c: t for c in HONEST[side] if (t := twins.changed(statement.name, side, c)) is not None}
            for side in SIDES
        }
        began = time.time()
        for n in range(start, start + count):
            random = np.random.default_rng([n, len(statement.name)])
            chosen = {side: str(random.choice(list(planted[side]))) for side in SIDES}
            sides = [planted[side][chosen[side]] for side in SIDES]
            trial = Trial(Twins(elsewhere(statement, random), *sides))
            what = f"{statement.name} from seed {n}: {chosen['imperative']}, {chosen['functional']}"
            findings = tuple(trial.findings())
            rows.append(row(what, findings))
            if rows[-1]["word"] in {"different", "undecided"}:
                print(rows[-1], flush=True)
                for finding in findings:
                    if finding.word in {"different", "undecided"}:
                        print("   ", finding, flush=True)
        print(statement.name, count, f"{time.time() - began:.0f} s", flush=True)
        keep(f"variations-{start}", rows)


def soak_mutants() -> None:
    """Judge every planted defect."""
    found = tuple(mutants())
    save(RESULTS, found)
    lines = [
        "# Planted defects",
        "",
        "Written by `benchmarks/soak.py mutants`.",
        "",
        describe.kill_rate(found),
        "",
    ]
    table = describe.kills(found)
    lines += [f"| {' | '.join(table.header)} |", f"|{'---|' * len(table.header)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in table.rows]
    (RESULTS / "mutants.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


def read(kind: str) -> list[dict[str, object]]:
    """Everything that runs of one kind have left."""
    files = sorted((RESULTS / "soak").glob(f"{kind}*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def report() -> None:
    """Put everything into one page, with what another safety factor would do."""
    honest = {kind: rows for kind in ("programs", "variations") if (rows := read(kind))}
    planted = [mutant for mutant in load(RESULTS) if "killed" in mutant.fates.values()]
    lines = ["# The judge on honest pairs and on planted defects", "", "Written by `benchmarks/soak.py`.", ""]
    lines += [f"{describe.machine(environment([], [], 'cpu'))}.", ""]
    lines += [
        "| honest pairs | judged | identical | rounding | vacuous | undecided | different | largest share |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for kind, rows in honest.items():
        words = Counter(str(r["word"]) for r in rows)
        largest = max(float(r["share"]) for r in rows)
        counts = [words[w] for w in ("identical", "rounding", "vacuous", "undecided", "different")]
        lines += [f"| {kind} | {len(rows)} | {' | '.join(map(str, counts))} | {largest:.2g} |"]
    lines += [
        "",
        "How the rates of both errors change with the safety factor. A budget is proportional to it, so the",
        "shares tell what another factor would have said: a false alarm where an honest share exceeds 1, a",
        "miss where the share of a planted defect, in the state in which it was found, does not.",
        "",
        f"| SAFETY | {' | '.join(f'false alarms, {kind}' for kind in honest)} | planted defects found |",
        f"|{'---|' * (len(honest) + 2)}",
    ]
    for factor in FACTORS:
        alarms = [sum(float(r["share"]) * SAFETY / factor > 1 for r in rows) for rows in honest.values()]
        found = sum(float(mutant.share) * SAFETY / factor > 1 for mutant in planted)
        totals = [len(rows) for rows in honest.values()]
        cells = [f"{a} of {t}" for a, t in zip(alarms, totals, strict=True)]
        lines += [f"| {factor:g} | {' | '.join(cells)} | {found} of {len(planted)} |"]
    text = "\n".join(lines) + "\n"
    (RESULTS / "soak.md").write_text(text, "utf-8")
    print(text)


def main() -> None:
    """Run what the command line names."""
    kind, *numbers = sys.argv[1:] or ["report"]
    if kind == "mutants":
        soak_mutants()
    elif kind == "report":
        report()
    else:
        {"programs": soak_programs, "again": soak_again, "variations": soak_variations}[kind](
            int(numbers[0]), int((*numbers[1:], 0)[0])
        )


if __name__ == "__main__":
    main()
