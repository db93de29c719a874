"""What the localiser said of every planted fault when it was last run over all of them (`make soak`)."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from pairs.faults import FAULTS, PAIRS_OF_FAULTS

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "faults.py"


@pytest.fixture(scope="module")
def faults():
    spec = spec_from_file_location("faults", BENCHMARK)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(faults):
    return faults.read()


def alone(rows):
    return [row for row in rows if len(row["planted"]) == 1]


def planted(faults):
    return [faults.planted_in(some) for some in (*((fault,) for fault in FAULTS), *PAIRS_OF_FAULTS)]


def test_every_fault_and_every_pair_of_them_was_run_once_as_it_is_planted_today(faults, rows):
    was, today = ([json.dumps([r["pair"], r["planted"]]) for r in some] for some in (rows, planted(faults)))
    assert sorted(was) == sorted(today)


def test_none_of_them_is_said_to_agree_and_none_raises(faults, rows):
    assert [row for row in rows if faults.first(row) in {"unseen", "raised"}] == []


def test_in_95_of_100_the_first_that_is_told_of_is_at_the_planted_line(faults, rows):
    assert sum(faults.first(row) in faults.GOOD for row in alone(rows)) >= 0.95 * len(alone(rows))


def test_in_80_of_100_that_have_a_cause_it_is_named(faults, rows):
    listed = [row for row in alone(rows) if row["planted"][0][-1]]
    assert sum(map(faults.named, listed)) >= 0.8 * len(listed)


def test_no_wrong_cause_is_named_in_any_of_them(faults, rows):
    assert [row for row in rows if faults.wrong(row)] == []


@pytest.mark.parametrize(
    ("found", "first", "named", "wrong"),
    [
        ([[0, "line", "ddof", "another value", 3]], "line", True, False),
        ([[0, "line", "", "another value", 3]], "line", False, False),
        (
            [[0, "elsewhere", "", "extra", 1], [0, "line", "ddof", "another value", 3]],
            "elsewhere",
            False,
            False,
        ),
        ([[0, "line", "gelu", "another value", 3]], "line", False, True),
        ([[0, "line", "ddof", "another value", 3], [0, "region", "gelu", "extra", 4]], "line", True, True),
        ([], "none", False, False),
    ],
)
def test_what_is_counted_is_what_is_told_first_and_a_wrong_cause_anywhere(faults, found, first, named, wrong):
    row = {"pair": "a", "planted": [["functional", 3, "x", "y", "ddof"]], "word": "different", "found": found}
    assert (faults.first(row), faults.named(row), faults.wrong(row)) == (first, named, wrong)


def test_the_page_says_what_the_rows_say(faults, rows):
    page = BENCHMARK.with_name("results") / "faults.md"
    machine = page.read_text("utf-8").splitlines()[4]
    assert page.read_text("utf-8") == faults.page(rows, machine)
