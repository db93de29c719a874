"""Every variant of every training beside the floor of the machine, and how their cost grows.

python benchmarks/bench.py             results/timings.md and results/bench.json
python benchmarks/bench.py scaling     results/scaling.md and results/scaling/bench.json
"""

import sys
from pathlib import Path

import scenarios
from compare import describe
from compare.runner import environment
from compare.timing import saved, table
from compare.timing.bench import MODULES, ROUNDS, bench

RESULTS = Path(__file__).parent / "results"
MODULES_AND_FLOOR = {**MODULES, "floor": "floor.variants"}
# So few steps a run that the widest network can be timed, and the sizes that are swept.
STEPS = 10
SWEEPS = {"width": [10, 100, 1000, 4096], "points": [20, 1000, 30_000, 1_000_000]}
SCALED = ["C", "eager", "fused optimizer", "jitted step", "scan", "single-kernel scan"]


def timings() -> saved.Bench:
    """All variants of all trainings as the note states them."""
    names = [statement.name for statement in scenarios.ALL if statement.training]
    place, timed = environment(names, ("float32",), "cpu"), []
    for group in bench(names, modules=MODULES_AND_FLOOR):
        timed += group
        print(group[0].scenario, flush=True)
    return saved.Bench(place, 1, ROUNDS, tuple(timed))


def scaling() -> saved.Bench:
    """The network at other widths, and on more points."""
    place, timed, rounds = environment(["sine_network"], ("float32",), "cpu"), [], 3
    for name, sizes in SWEEPS.items():
        sweep = {name: sizes, "steps": [STEPS]}
        for group in bench(
            ["sine_network"], rounds=rounds, only=SCALED, sweep=sweep, modules=MODULES_AND_FLOOR
        ):
            timed += group
            print(group[0].sizes, flush=True)
    return saved.Bench(place, 1, rounds, tuple(timed))


def page(title: str, done: saved.Bench) -> str:
    """All tables of a bench."""
    lines = [f"# {title}", "", "Written by `benchmarks/bench.py`: float32, one core.", ""]
    lines += [f"{describe.machine(done.environment)}. {table.unmeasured(done)}", "", table.LEGEND, ""]
    for grid in table.tables(done):
        lines += [f"## {grid.caption}", "", f"| {' | '.join(grid.header)} |", f"|{'---|' * len(grid.header)}"]
        lines += [*(f"| {' | '.join(row)} |" for row in grid.rows), ""]
    return "\n".join(lines)


def main() -> None:
    """Time, save and write the tables."""
    if sys.argv[1:] not in ([], ["scaling"]):
        sys.exit(f"bench.py takes nothing, or 'scaling': {' '.join(sys.argv[1:])}")
    if sys.argv[1:] == ["scaling"]:
        done, title, directory = scaling(), "How the cost of every variant grows", RESULTS / "scaling"
    else:
        done, title, directory = timings(), "What every variant costs", RESULTS
    saved.save(directory, done)
    text = page(title, done)
    (RESULTS / ("scaling.md" if directory != RESULTS else "timings.md")).write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
