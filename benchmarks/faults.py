"""Where the localiser finds the faults that are planted in honest ports, and what it calls them.

    python benchmarks/faults.py run [K/N]     those that were not run yet; the K-th of N parts of them
    python benchmarks/faults.py report        benchmarks/results/faults.md from what was run

Each fault is planted alone, some in pairs, and the ports have the parameters of the honest ones. What was
run is left in benchmarks/results/faults, a line each, so that a run that was stopped goes on; without the
files it begins anew.
"""

import json
import random
import sys
import time
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pairs
from compare import describe
from compare.port.check import Pair
from compare.port.locate import Fault as Found
from compare.port.mapping import Map
from compare.runner import environment
from pairs.faults import FAULTS, PAIRS_OF_FAULTS, Fault

Row = dict[str, Any]

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
WORDS = tuple(PLACES)
GOOD = WORDS[:3]


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


def planted_in(planted: tuple[Fault, ...]) -> Row:
    """What a row says of the faults that were planted."""
    told = [[f.side, pairs.line(f), f.old, f.new, f.cause or ""] for f in planted]
    return {"pair": planted[0].pair, "planted": told}


def tried(planted: tuple[Fault, ...]) -> Row:
    """Plant faults and look for them."""
    row = planted_in(planted)
    try:
        pair = pairs.made(row["pair"], *planted, by=honest(row["pair"]))
        row["word"] = pair.verdict("float64", locate=False).word
        began = time.time()
        faults = pair.faults if row["word"] == "different" else ()
        row["seconds"] = round(time.time() - began, 1)
        row["found"] = []
        for found in faults:
            places = [place(pair, fault, found) for fault in planted]
            best = min(range(len(planted)), key=lambda k: WORDS.index(places[k]))
            site = found.functional if planted[best].side == "functional" else found.imperative
            row["found"].append([best, places[best], found.cause, found.kind, site.source.line])
    except Exception as error:  # noqa: BLE001  # it is a row of the table
        row["raised"] = f"{type(error).__name__}: {error}"[:200]
    jax.clear_caches()
    return row


def key(row: Row) -> str:
    """What was planted."""
    return json.dumps([row["pair"], *(f[:1] + f[2:4] for f in row["planted"])])


def read() -> list[Row]:
    """What was run."""
    files = sorted((RESULTS / "faults").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def run(part: int, parts: int) -> None:
    """Run what was not run yet."""
    known = {key(row) for row in read()}
    mixed = [*((fault,) for fault in FAULTS), *PAIRS_OF_FAULTS]
    random.Random(0).shuffle(mixed)
    (RESULTS / "faults").mkdir(parents=True, exist_ok=True)
    with (RESULTS / "faults" / f"{part}-{parts}.jsonl").open("a", encoding="utf-8") as file:
        for planted in mixed[part::parts]:
            if key(planted_in(planted)) not in known:
                row = tried(planted)
                print(row, flush=True)
                file.write(json.dumps(row) + "\n")
                file.flush()


def first(row: Row) -> str:
    """Where the first fault that is told of was found."""
    if "raised" in row or row["word"] != "different":
        return "raised" if "raised" in row else "unseen"
    return row["found"][0][1] if row["found"] else "none"


def wrong(row: Row) -> bool:
    """Whether a cause is named that no planted fault has."""
    causes = {cause for *_, cause in row["planted"]}
    return any(found[2] not in {"", *causes} for found in row.get("found", ()))


def named(row: Row) -> bool:
    """Whether the first fault that is told of has the cause of the planted one that it is."""
    if not row.get("found"):
        return False
    best, _, cause, *_ = row["found"][0]
    return bool(cause == row["planted"][best][-1])


def all_told(row: Row) -> bool:
    """Whether each planted fault is told of, and where it stands."""
    return {best for best, where, *_ in row.get("found", ()) if where in GOOD} == set(
        range(len(row["planted"]))
    )


def besides(row: Row) -> bool:
    """Whether something is told of that was not planted."""
    return any(where not in GOOD for _, where, *_ in row.get("found", ()))


def page(rows: list[Row], machine: str) -> str:
    """All of it on one page."""
    rows = sorted(rows, key=lambda r: (r["pair"], r["planted"]))
    alone, together = ([r for r in rows if len(r["planted"]) == n] for n in (1, 2))
    places, pairs_places = (Counter(map(first, some)) for some in (alone, together))
    listed = [r for r in alone if r["planted"][0][-1]]
    right = sum(map(named, listed))
    lines = [
        "# Planted faults, and where they are found",
        "",
        "Written by `benchmarks/faults.py`.",
        "",
        machine,
        "",
        f"{len(alone)} faults were planted alone, of {len(FAULTS)}, and {len(together)} of "
        f"{len(PAIRS_OF_FAULTS)} pairs of them. {(places + pairs_places)['unseen']} were said to agree.",
        "",
        "| the first fault that is told of is | planted alone | | in pairs |",
        "|---|---|---|---|",
        *(
            f"| {said} | {places[word]} | {places[word] / len(alone):.1%} | {pairs_places[word]} |"
            for word, said in PLACES.items()
        ),
        "",
        f"Of {len(listed)} with a cause that can be named, {right} are named so ({right / len(listed):.1%}). "
        f"A cause that no planted fault has is named in {sum(map(wrong, rows))} runs. "
        f"Of the {len(together)} pairs, both are told of in {sum(map(all_told, together))}; something that "
        f"was not planted is told of besides in {sum(map(besides, rows))} runs.",
        "",
        "| pair and line | becomes | cause | told of: place, line and cause |",
        "|---|---|---|---|",
    ]
    for r in rows:
        if (
            first(r) not in GOOD
            or not named(r)
            or wrong(r)
            or not all_told(r)
            or len(r["found"]) > len(r["planted"])
        ):
            code = "<br>".join(f"{line} `{new}`" for _, line, _, new, _ in r["planted"])
            causes = "<br>".join(cause for *_, cause in r["planted"])
            told = [
                f"{where}, {line}: {cause or 'unknown'}" for _, where, cause, _, line in r.get("found", ())
            ]
            said = "<br>".join(told) or r.get("raised", PLACES[first(r)])
            lines.append(
                "| " + " | ".join(c.replace("|", "\\|") for c in (r["pair"], code, causes, said)) + " |"
            )
    return "\n".join(lines) + "\n"


def report() -> None:
    """Put it into one page."""
    text = page(read(), f"{describe.machine(environment([], [], 'cpu'))}.")
    (RESULTS / "faults.md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of ports; what they warn of is not what is looked for
    match sys.argv[1:]:
        case ["run", *share]:
            run(*(int(n) for n in (share[0] if share else "0/1").split("/")))
        case ["report"]:
            report()
        case _:
            sys.exit(__doc__)
