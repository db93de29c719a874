"""The report: complete, self-contained, and silent about what it did not measure."""

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest

import compare
import scenarios
from compare import describe
from compare.figures import draw
from compare.record import Environment, Failure, Run
from compare.report import RENDERERS

NAMES = tuple(statement.name for statement in scenarios.ALL)
VOID = {"meta", "img", "br"}


@pytest.fixture(scope="module")
def run():
    records = compare.run(NAMES, dtypes=["float64"], every=10)
    environment = Environment(
        schema_version=1,
        started="2026-01-30T12:00:00+00:00",
        versions={"torch": "2"},
        machine={"cores": "2"},
        sides={"functional": {"device": "cpu"}},
        scenarios=NAMES,
        dtypes=("float64",),
        device="cpu",
    )
    return Run(environment, records)


@pytest.fixture(scope="module")
def page(run):
    return RENDERERS["html"](run).decode()


class Page(HTMLParser):
    """Checks that what is opened is closed; collects identifiers and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [attributes[name] for name in ("href", "src") if name in attributes]
        self.images += [attributes] if tag == "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(page):
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_well_formed_and_asks_for_nothing(page):
    parser = parsed(page)
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in parser.addresses)
    assert "<script" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert len(parser.ids) == len(set(parser.ids))
    assert {address[1:] for address in parser.addresses if address.startswith("#")} <= set(parser.ids)


def test_the_page_draws_the_notes_figures_each_with_words_for_who_cannot_see_it(page, run):
    drawings = [drawing for record in run.records for drawing in draw(record)]
    # Loss curves of four trainings, fits of the polynomial and two networks, the activation functions.
    assert len(drawings) == 4 + 3 + 1
    images = parsed(page).images
    assert [image["alt"] for image in images] == [drawing.caption for drawing in drawings]


def test_the_same_record_draws_the_same_bytes(run):
    record = run.records[NAMES.index("root_finding")]
    assert [d.svg for d in draw(record)] == [d.svg for d in draw(record)]


@pytest.mark.parametrize("kind", ["html", "md"])
def test_every_record_has_its_verdict_in_words_and_all_its_tables(run, kind):
    text = unescape(RENDERERS[kind](run).decode())
    for record in run.records:
        assert describe.sentence(record) in text
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
    assert "data:image" not in page
    assert "8 are missing" in page


def test_a_disagreement_is_the_first_thing_its_section_says(run):
    record = run.records[0]
    wrong = replace(
        record, verdict=replace(record.verdict, agrees=False, complaints=("b: apart", "c: apart"))
    )
    assert describe.word(wrong) == "disagree"
    assert describe.sentence(wrong) == "They disagree: b: apart (and 1 more)."
    assert '<p class="disagree">' in RENDERERS["html"](replace(run, records=(wrong,))).decode()


def test_a_float32_agreement_says_that_it_covers_the_start_alone():
    (record,) = compare.run(["root_finding"], dtypes=["float32"])
    assert describe.overview([record]).rows[0][2] == "agree at start"
    assert describe.sentence(record) == (
        "They agree at the start: all 2 judged quantities are equal. "
        "7 more are measured but not judged in float32."
    )


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "2 s"), (0.25, "250 ms"), (0.00123, "1.23 ms"), (4.5e-5, "45 µs")]
)
def test_durations_carry_their_unit(value, text):
    assert describe.seconds(value) == text
