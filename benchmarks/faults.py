"""Where the localiser finds the faults that are planted in honest ports, and what it calls them.

    python benchmarks/faults.py run [K/N]     those that were not run yet; the K-th of N parts of them
    python benchmarks/faults.py report        benchmarks/results/faults.md from what was run

Each fault is planted alone, and its pair has the parameters of the honest one. What was run is left in
benchmarks/results/faults, a line each, so that a run that was stopped goes on; without the files it begins
anew.
"""

import json
import random
import sys
import time
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pairs
from compare import describe
from compare.port.check import Pair
from compare.port.locate import Fault as Found
from compare.port.mapping import Map
from compare.runner import environment
from pairs.faults import FAULTS, Fault

RESULTS = Path(__file__).parent / "results"

#: Where a fault was found, from best to worst. A fault that removes an operation leaves none at its line.
PLACES = {
    "line": "at its line",
    "caller": "in what its line calls",
    "window": "at the last operation before its line, at which none is left",
    "region": "among the operations listed",
    "elsewhere": "elsewhere",
    "none": "not located",
    "unseen": "said to agree",
    "raised": "raised",
}


@cache
def honest(name: str) -> Map:
    """Which parameter is which in the honest pair."""
    found: Map = pairs.made(name).map
    return found


def ran(pair: Pair, side: str) -> set[int]:
    """The lines at which a side did something."""
    port, parameters = (
        (pair.left, pair.parameters)
        if side == "imperative"
        else (pair.right, pair.converted(pair.parameters))
    )
    trace, _ = port.record(parameters, pair.arguments.arrays, "float64")
    return {operation.source.line for operation in trace.operations}


def place(pair: Pair, planted: Fault, found: Found) -> str:
    """Where a fault was found."""
    line = pairs.line(planted)
    site = found.functional if planted.side == "functional" else found.imperative
    here, taker = site.source.line, found.goes_on.get(planted.side)
    if line in {here, taker.source.line if taker else here}:
        return "line"
    if line in {caller.line for caller in site.source.callers}:
        return "caller"
    if here == max((n for n in ran(pair, planted.side) if n <= line), default=0):
        return "window"
    return "region" if line in {s.source.line for s in found.region[planted.side]} else "elsewhere"


def tried(planted: Fault) -> dict[str, object]:
    """Plant a fault and look for it."""
    row: dict[str, object] = {
        "pair": planted.pair,
        "side": planted.side,
        "line": pairs.line(planted),
        "old": planted.old,
        "new": planted.new,
        "cause": planted.cause or "",
    }
    try:
        pair = pairs.made(planted.pair, planted, by=honest(planted.pair))
        verdict = pair.verdict("float64", locate=False)
        began = time.time()
        faults = pair.faults if verdict.word == "different" else ()
        row |= {"seconds": round(time.time() - began, 1), "faults": len(faults)}
    except Exception as error:  # noqa: BLE001  # it is a row of the table
        return {**row, "place": "raised", "named": f"{type(error).__name__}: {error}"[:200]}
    if not faults:
        return {**row, "place": "none" if verdict.word == "different" else "unseen", "named": ""}
    first = faults[0]
    return {**row, "place": place(pair, planted, first), "named": first.cause, "kind": first.kind}


def read() -> list[dict[str, object]]:
    """What was run."""
    files = sorted((RESULTS / "faults").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def run(part: int, parts: int) -> None:
    """Run what was not run yet."""
    known = {(r["pair"], r["side"], r["old"], r["new"]) for r in read()}
    mixed = list(FAULTS)
    random.Random(0).shuffle(mixed)
    (RESULTS / "faults").mkdir(parents=True, exist_ok=True)
    with (RESULTS / "faults" / f"{part}-{parts}.jsonl").open("a", encoding="utf-8") as file:
        for fault in mixed[part::parts]:
            if (fault.pair, fault.side, fault.old, fault.new) not in known:
                row = tried(fault)
                print(row, flush=True)
                file.write(json.dumps(row) + "\n")
                file.flush()


def report() -> None:
    """Put it into one page."""
    rows = read()
    places = Counter(str(r["place"]) for r in rows)
    listed = [r for r in rows if r["cause"]]
    right = sum(r["named"] == r["cause"] for r in listed)
    wrong = [r for r in rows if r["named"] not in {"", r["cause"]} and r["place"] != "raised"]
    lines = [
        "# Planted faults, and where they are found",
        "",
        "Written by `benchmarks/faults.py`.",
        "",
        f"{describe.machine(environment([], [], 'cpu'))}.",
        "",
        f"{len(rows)} of {len(FAULTS)} faults were planted, one at a time.",
        "",
        "| the first fault that is told of is | faults | |",
        "|---|---|---|",
        *(f"| {said} | {places[word]} | {places[word] / len(rows):.1%} |" for word, said in PLACES.items()),
        "",
        f"Of {len(listed)} with a cause that can be named, {right} are named so ({right / len(listed):.1%}); "
        f"another cause is named of {len(wrong)}.",
        "",
        "| not at its line, or not by its cause | becomes | found | cause | named |",
        "|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (str(r["pair"]), str(r["side"]), str(r["line"]))):
        if r["place"] not in {"line", "caller"} or r["named"] != r["cause"]:
            code = [f"`{str(r[key]).replace('|', chr(92) + '|')}`" for key in ("old", "new")]
            where = f"{r['pair']}:{r['line']}"
            lines.append(
                f"| {where} {code[0]} | {code[1]} | {PLACES[str(r['place'])]} | {r['cause']} | {r['named']} |"
            )
    (RESULTS / "faults.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of ports; what they warn of is not what is looked for
    match sys.argv[1:]:
        case ["run", *share]:
            run(*(int(n) for n in (share[0] if share else "0/1").split("/")))
        case ["report"]:
            report()
        case _:
            sys.exit(__doc__)
