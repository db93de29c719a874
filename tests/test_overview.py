"""The overview: what a cell says of the findings behind it, and where it leads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare import overview
from compare.overview import COLUMNS, Cell, rows
from compare.timing import Timing, saved

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture
def network(run):
    return next(record for record in run.records if record.scenario == "sine_network")


def cells(record, bench=None):
    (row,) = rows([record], bench)
    return dict(zip(COLUMNS, row.cells, strict=True))


def changed(record, part, of, **how):
    """The record, with every finding of a quantity changed."""
    findings = tuple(
        replace(f, **how) if f.quantity.startswith(of) else f for f in getattr(record.verdict, part)
    )
    return replace(record, verdict=replace(record.verdict, **{part: findings}))


def test_every_record_has_a_row_and_what_is_not_compared_is_empty(run):
    found = list(rows(run.records))
    assert [row.record.scenario for row in found] == list(run.environment.scenarios)
    leaves = cells(run.records[0])
    assert leaves["value"] == Cell("identical", "", "step")
    assert [name for name, cell in leaves.items() if cell is None] == [
        "gradient",
        "every step",
        "converged parameters",
        "the note's figures",
        "time",
    ]


@pytest.mark.parametrize(
    ("part", "of", "column"),
    [
        ("step", "values.", "value"),
        ("step", "gradients.", "gradient"),
        ("step", "state.", "every step"),
        ("run", "gradients.", "every step"),
        ("run", "final.", "converged parameters"),
    ],
)
def test_what_differs_is_what_its_column_says_and_no_other(network, part, of, column):
    before = cells(network)
    after = cells(
        changed(
            network,
            part,
            of,
            word="different",
            absolute=np.float64(7),
            budget=np.float64(1),
            ulps=np.float64(81234),
        )
    )
    assert after.pop(column) == Cell(
        "different", "81,200 ULPs", "step" if part == "step" and column != "every step" else "run"
    )
    del before[column]
    assert after == before


def test_a_cell_says_the_gravest_word_and_the_units_of_its_largest_share(network):
    first, *others = [f for f in network.verdict.step if f.quantity.startswith("gradients.")]
    told = (
        replace(first, word="rounding", absolute=np.float64(0.9), budget=np.float64(1), ulps=np.float64(1)),
        *(
            replace(f, word="rounding", absolute=np.float64(0.1), budget=np.float64(1), ulps=np.float64(500))
            for f in others
        ),
    )
    record = replace(network, verdict=replace(network.verdict, step=told))
    assert cells(record)["gradient"] == Cell("rounding", "1 ULP", "step")
    record = replace(
        network, verdict=replace(network.verdict, step=(*told, replace(told[1], word="undecided")))
    )
    assert cells(record)["gradient"] == Cell("undecided", "500 ULPs", "step")
    record = replace(
        network, verdict=replace(network.verdict, step=(replace(first, word="vacuous", ulps=np.float64(0)),))
    )
    assert cells(record)["gradient"] == Cell("vacuous", "", "step")


def test_truth_and_figures_disagree_where_one_of_them_does(run):
    record = next(r for r in run.records if r.scenario == "root_finding")
    assert cells(record)["the note's figures"] == Cell("agree", "3 of 3", "published")
    assert cells(record)["truth"].word == "agree"
    verdict = record.verdict
    far = replace(verdict.distances[0], absolute=np.float64(3), budget=np.float64(1), agrees=False)
    wrong = (replace(verdict.published[0], agrees=False), *verdict.published[1:])
    record = replace(
        record, verdict=replace(verdict, distances=(far, *verdict.distances[1:]), published=wrong)
    )
    assert cells(record)["truth"] == Cell("disagree", "3e+02 %", "truth")
    assert cells(record)["the note's figures"] == Cell("disagree", "2 of 3", "published")


def test_times_are_of_the_bench_where_it_has_the_very_problem_and_else_of_the_run(network):
    timings = {"imperative": Timing(1.0, 0.6), "functional": Timing(1.0, 0.02)}
    single, double = (replace(network, dtype=dtype, timings=timings) for dtype in ("float32", "float64"))
    assert cells(double)["time"] == Cell("", "functional about 30 ×", "time")
    bench = saved.load(Path(__file__).parents[1] / "benchmarks" / "results")
    best = {
        side: min(
            (t for t in bench.timed if (t.scenario, t.dtype, t.side) == ("sine_network", "float32", side)),
            key=lambda timed: timed.per_step().median,
        )
        for side in ("imperative", "functional")
    }
    ratio = best["imperative"].per_step().median / best["functional"].per_step().median
    who, times, _ = cells(single, bench)["time"].text.split()
    assert (who, float(times)) == ("functional", pytest.approx(ratio, rel=0.05))
    assert cells(double, bench)["time"] is None  # float64 was not timed, and one run is no bench


def test_a_side_that_raised_is_all_that_its_row_says(network):
    (row,) = rows([replace(network, verdict=None, results={}, timings={})])
    assert row.cells == (Cell("raised", "", ""), *[None] * (len(COLUMNS) - 1))
    assert row.target(row.cells[0]) == "sine_network-float64"


def test_every_word_has_a_sign_of_its_own_kind():
    assert set(overview.SIGNS) >= {"identical", "rounding", "vacuous", "undecided", "different", "raised"}
    assert (
        len(
            {
                overview.SIGNS[word]
                for word in ("identical", "rounding", "vacuous", "undecided", "different", "raised")
            }
        )
        == 6
    )
