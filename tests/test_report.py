"""The report: complete, self-contained, and silent about what it did not measure."""

import gzip
import json
import re
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import scenarios
from compare import describe, figures, words
from compare.figures import draw
from compare.record import Failure
from compare.report import RENDERERS
from compare.timing import Timing, measure, saved
from compare.timing.table import floor, rivals

NAMES = tuple(statement.name for statement in scenarios.ALL)
VOID = {"meta", "img", "br"}


pytestmark = pytest.mark.xdist_group("page")  # what they share is made once


class Page(HTMLParser):
    """Checks that what is opened is closed; collects identifiers and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.images, self.twins = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [attributes[name] for name in ("href", "src") if name in attributes]
        self.images += [attributes["aria-label"]] if tag == "svg" and "role" in attributes else []
        self.twins += attributes.get("data-twins", "").split()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(page):
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_well_formed_and_asks_for_nothing(page):
    parser = parsed(page)
    assert page.count("<script") == page.count("<script>\n") == 1  # our own, which loads nothing
    assert "@import" not in page
    within = [address.removeprefix("#") for address in parser.addresses if address.startswith("#")]
    within += re.findall(r"url\(#([^)]*)\)", page)
    assert len(within) == len(parser.addresses) + page.count("url(")
    assert len(parser.ids) == len(set(parser.ids))
    assert {*within, *parser.twins} <= set(parser.ids)


def test_the_page_draws_the_notes_figures_each_with_words_for_who_cannot_see_it(page, run):
    drawings = [drawing for record in run.records for drawing in draw([record])]
    # Loss curves of four trainings, fits of the polynomial and two networks, the activation functions.
    assert len(drawings) == 4 + 3 + 1
    images = parsed(page).images
    assert {drawing.caption for drawing in drawings} <= set(images)
    assert len(images) == len(set(images)) == len(drawings) + 4  # and the timings of four trainings
    assert page.count("<figcaption>") == len(images)


def test_a_chart_of_timings_names_every_variant_and_its_multiple_of_the_floor():
    bench = saved.load(Path(__file__).parents[1] / "benchmarks" / "results")
    charts = dict(figures.draw_bench(bench))
    for _, group in rivals(bench.timed):
        shown = re.findall(r">([^<>]+)</text>", charts[group[0].scenario].svg)
        least = floor(group)
        for timed in group:
            times = 1.0 if timed is least else timed.over(least).median
            assert {timed.name, words.plain(times)} <= set(shown)


def test_a_drawing_has_the_colours_of_the_page_and_its_numbers_whole(run):
    (drawing,) = draw([run.records[NAMES.index("activations")]])
    assert not re.findall(r"#[0-9a-f]{6}", drawing.svg)  # no colour of its own
    assert {">0.25<", ">0.50<", ">0.75<"} <= set(re.findall(r">[0-9.]+<", drawing.svg))


def test_a_page_with_all_there_is_weighs_less_than_a_megabyte_and_little_on_its_way(page):
    assert len(page.encode()) < 1_000_000
    assert len(gzip.compress(page.encode())) < 200_000


def test_every_chapter_states_its_problem_thinks_and_asks_what_the_run_answers(page):
    text = unescape(page)
    assert page.count("<math ") == len(NAMES)
    assert page.count("Find the defect: ") == len(NAMES)
    assert text.count("<dd>-32</dd>") == 2  # ∂P/∂Q
    assert text.count("<dd>gradients never cleared, on the imperative side</dd>") == 1
    assert text.count("<dd>True") == 2  # d is a leaf on either side; b is none
    assert text.count("<dd>False") == 4


def test_an_answer_is_the_runs_and_not_the_chapters(run):
    record = run.records[NAMES.index("chain_rule")]
    results = {
        side: replace(r, gradients={**r.gradients, "Q": np.array([7.5])})
        for side, r in record.results.items()
    }
    page = RENDERERS["html"](replace(run, records=(replace(record, results=results),))).decode()
    assert "<dd>7.5</dd>" in page
    assert "<dd>-32</dd>" not in page


def test_a_chapter_without_an_answer_is_left_out_and_the_page_is_made_all_the_same(run):
    record = run.records[NAMES.index("chain_rule")]
    results = {side: replace(r, gradients={}) for side, r in record.results.items()}
    page = RENDERERS["html"](replace(run, records=(replace(record, results=results),))).decode()
    assert "<math " not in page
    assert words.sentence(record) in unescape(page)


def test_the_same_record_draws_the_same_bytes(run):
    record = run.records[NAMES.index("root_finding")]
    assert [d.svg for d in draw([record])] == [d.svg for d in draw([record])]


@pytest.mark.parametrize("kind", ["html", "md"])
def test_every_record_has_its_verdict_in_words_and_all_its_tables(run, kind):
    text = unescape(RENDERERS[kind](run).decode())
    for record in run.records:
        assert words.sentence(record) in text
        for table in describe.tables(record):
            assert table.caption in text
    assert run.environment.started in text


def test_markdown_tables_have_as_many_cells_in_every_row_as_in_their_header(run):
    lines = RENDERERS["md"](run).decode().splitlines()
    for line, following in pairwise(lines):
        if line.startswith("|") and following.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", following))
    assert sum(line.startswith("|---") for line in lines) > len(NAMES)


def test_the_json_report_is_complete(run):
    document = json.loads(RENDERERS["json"](run))
    assert [record["scenario"] for record in document["records"]] == list(NAMES)
    network = document["records"][NAMES.index("sine_network")]
    assert len(network["results"]["functional"]["history"]["losses"]["data"]) == 100
    assert network["results"]["imperative"]["converged"]["hidden1.weight"]["shape"] == [10, 10]


def test_the_losses_are_shown_at_about_the_steps_at_which_the_note_prints_them(run):
    record = run.records[NAMES.index("sine_network")]
    (table,) = [t for t in describe.tables(record) if t.caption == "Loss along the run"]
    assert [row[0] for row in table.rows][:2] == ["10", "110"]
    assert table.rows[-1][0] == "1000"


def test_a_twin_that_raised_shows_its_traceback_and_nothing_it_did_not_compute(run):
    failure = Failure("functional", "ValueError: <no> & never", "Traceback: <no> & never")
    broken = replace(run.records[0], verdict=None, results={}, timings={}, failure=failure)
    page = RENDERERS["html"](replace(run, records=(broken,))).decode()
    parsed(page)
    assert "Traceback: &lt;no&gt; &amp; never" in page
    assert "The functional twin raised ValueError: &lt;no&gt; &amp; never" in page
    assert "raised ValueError: &lt;no> & never" in RENDERERS["md"](replace(run, records=(broken,))).decode()
    assert "<svg" not in page
    assert "8 are missing" in page


def test_a_difference_is_the_first_thing_its_section_says(run):
    record = run.records[0]
    wrong = replace(
        record, verdict=replace(record.verdict, word="different", owed=("b is owed", "c is owed"))
    )
    assert words.word(wrong) == "different"
    assert words.sentence(wrong) == "They differ: b is owed (and 1 more)."
    assert '<p class="verdict different"' in RENDERERS["html"](replace(run, records=(wrong,))).decode()


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "2 s"), (0.25, "250 ms"), (0.00123, "1.23 ms"), (4.5e-5, "45 µs")]
)
def test_durations_carry_their_unit(value, text):
    assert describe.seconds(value) == text


def crafted(record):
    """A record with numbers that no two quantities share."""
    verdict = record.verdict
    step = tuple(
        replace(
            f,
            word="rounding",
            absolute=np.float64(n),
            ulps=np.float64(2 * n),
            budget=np.float64(1000),
            notices=np.float64(n * 1e-15),
            lost_bits={"imperative": np.float64(n), "functional": np.float64(0)},
        )
        for n, f in enumerate(verdict.step, start=1)
    )
    distances = tuple(replace(t, relative=np.float64(n * 1e-20)) for n, t in enumerate(verdict.distances))
    timings = {"imperative": Timing(first=1.5, warm=0.25), "functional": Timing(first=3.5, warm=4e-5)}
    return replace(record, verdict=replace(verdict, step=step, run=(), distances=distances), timings=timings)


def test_the_overview_row_and_the_sentence_show_the_worst_of_each_kind(run):
    record = crafted(run.records[NAMES.index("root_finding")])
    n = len(record.verdict.step)
    truth = max(t.relative for t in record.verdict.distances if t.quantity.startswith("gradients"))
    assert describe.overview([record]).rows == (
        (
            "root_finding",
            "float64",
            "rounding",
            f"{2 * n}",
            f"{n / 10:.2g} %",
            f"{n * 1e-15:.1e}",
            f"{n} / 0",
            f"{truth:.1e}",
            "3/3",
            "250 ms",
            "40 µs",
        ),
    )
    assert f"at most {n / 10:.2g} % of what it accounts for ({2 * n} ULPs in outcome.P" in words.sentence(
        record
    )
    assert f"A relative error of {n * 1e-15:.1e} in one step would have been noticed." in words.sentence(
        record
    )


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_the_loss_curves_are_the_losses_and_the_dots_their_distance(run):
    record = run.records[NAMES.index("sine_network")]
    above, below = figures.losses([record]).axes
    for side, result in record.results.items():
        expected = np.column_stack([result.history.steps, result.history.losses])
        np.testing.assert_array_equal(lines(above)[side], expected)
    left, right = (record.results[side].history.losses for side in ("imperative", "functional"))
    gap = np.abs(left - right) / np.spacing(np.maximum(left, right))
    np.testing.assert_array_equal(below.get_lines()[0].get_ydata(), np.where(gap > 0, gap, np.nan))


def test_of_a_long_curve_the_worst_of_every_stretch_is_drawn(monkeypatch):
    monkeypatch.setattr(figures, "POINTS", 3)
    steps, gap = np.arange(7), np.array([0.0, 5.0, 1.0, np.nan, 2.0, 7.0, 3.0])
    shown = figures._worst(steps, gap)
    np.testing.assert_array_equal(shown, [[1, 3, 5], [5.0, np.nan, 7.0]])
    assert figures._worst(np.zeros(0), np.zeros(0))[0].size == 0


def test_both_precisions_distances_are_drawn_in_units_of_their_own_last_place(run):
    double = run.records[NAMES.index("sine_network")]
    results = {
        side: replace(r, history=replace(r.history, losses=r.history.losses.astype(np.float32)))
        for side, r in double.results.items()
    }
    single = replace(double, dtype="float32", results=results)
    _, below = figures.losses([single, double]).axes
    drawn = {line.get_label(): line.get_ydata() for line in below.get_lines()}
    assert len({line.get_linestyle() for line in below.get_lines()}) == 2  # told apart without colours
    assert list(drawn) == ["float32", "float64"]
    for record in (single, double):
        steps, ulps = describe.loss_ulps(record.results)
        assert len(steps) == len(ulps) == 100
        assert np.allclose(ulps, np.round(ulps))  # numbers of one binade are whole units apart
    assert not np.array_equal(drawn["float32"], drawn["float64"], equal_nan=True)


def test_the_fit_shows_the_exact_points_and_both_predictions(run):
    for name in ("sine_polynomial", "sine_network", "line_network"):
        record = run.records[NAMES.index(name)]
        drawn = lines(figures.fit(record).axes[0])
        np.testing.assert_array_equal(drawn["exact"][:, 1], record.data["y"].ravel())
        for side, result in record.results.items():
            np.testing.assert_array_equal(drawn[side][:, 0], record.data["x"].ravel())
            np.testing.assert_array_equal(drawn[side][:, 1], result.outcome["prediction"].ravel())


def test_every_activation_stands_above_its_derivative(run):
    record = run.records[NAMES.index("activations")]
    axes = figures.functions(record).axes
    for column, name in enumerate(("relu", "tanh", "sigmoid")):
        for side, result in record.results.items():
            np.testing.assert_array_equal(lines(axes[column])[side][:, 1], result.values[name])
            np.testing.assert_array_equal(lines(axes[column + 3])[side][:, 1], result.gradients[name])


def test_a_first_call_is_timed_apart_from_a_warm_one():
    calls = iter([0.05, 0.0])
    timing, result = measure(lambda: time.sleep(next(calls)) or "done")
    assert timing.first >= 0.05 > timing.warm
    assert result == "done"
