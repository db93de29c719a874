"""Every variant of every training, and the floor of the machine: results/timings.md and results/bench.json.

python benchmarks/bench.py [ROUNDS]
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


def main() -> None:
    """Time, save and write the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    names = [statement.name for statement in scenarios.ALL if statement.training]
    timed = []
    for group in bench(names, rounds=rounds, modules=MODULES_AND_FLOOR):
        timed += group
        print(group[0].scenario, flush=True)
    done = saved.Bench(environment(names, ("float32",), "cpu"), 1, rounds, tuple(timed))
    saved.save(RESULTS, done)
    lines = ["# What every variant costs", "", "Written by `benchmarks/bench.py`: float32, one core.", ""]
    lines += [f"{describe.machine(done.environment)}.", "", table.LEGEND, ""]
    for grid in table.tables(done):
        lines += [f"## {grid.caption}", "", f"| {' | '.join(grid.header)} |", f"|{'---|' * len(grid.header)}"]
        lines += [*(f"| {' | '.join(row)} |" for row in grid.rows), ""]
    (RESULTS / "timings.md").write_text("\n".join(lines), "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
