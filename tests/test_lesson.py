"""What a chapter teaches with: kept beside a run, cut into steps, drawn with its twins, and safe to show."""

import json
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import Markup

import scenarios
from compare import chapter, lesson
from compare.judge import SIDES
from compare.lesson import Lesson
from compare.record import Record, UnreadableRunError, UnwritableRunError, decode, encode, seal
from compare.report import RENDERERS

NAMES = [statement.name for statement in scenarios.ALL]

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def gathered():
    return {name: lesson.gather(name) for name in ("chain_rule", "sine_network")}


@pytest.mark.parametrize("name", NAMES)
def test_the_sources_are_the_very_files_and_both_graphs_are_there(name):
    found = lesson.gather(name)
    for side in SIDES:
        assert found.sources[side] == Path(f"{side}/{name}.py").read_text("utf-8")
        assert found.alignment.graphs[side].nodes


def test_lessons_are_kept_beside_a_run_and_read_back_whole(gathered, tmp_path):
    lesson.save(tmp_path, list(gathered.values()))
    again = lesson.load(tmp_path)
    assert again.keys() == gathered.keys()
    for name, before in gathered.items():
        after = again[name]
        assert after.sources == before.sources
        assert (after.alignment.twins, after.alignment.alone) == (
            before.alignment.twins,
            before.alignment.alone,
        )
        for side in SIDES:
            one, other = (x.alignment.graphs[side] for x in (before, after))
            assert one.text() == other.text()
            assert [n.gradient is None for n in one.nodes] == [n.gradient is None for n in other.nodes]


def test_a_run_without_lessons_has_none(tmp_path):
    assert lesson.load(tmp_path) == {}


def test_lessons_that_were_changed_or_cannot_be_kept_are_one_sentence(gathered, tmp_path):
    lesson.save(tmp_path, list(gathered.values()))
    file = tmp_path / lesson.FILE
    whole = file.read_bytes()
    for changed in (
        whole.replace(b"-384.0", b"777.0", 1),
        whole[:-100],
        b"{}",
        whole.replace(b'"a"', b'"e"', 1),
    ):
        assert changed != whole
        file.write_bytes(changed)
        with pytest.raises(UnreadableRunError):
            lesson.load(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(UnreadableRunError, match="directory"):
        lesson.load(tmp_path)
    with pytest.raises(UnwritableRunError, match="cannot write to"):
        lesson.save(tmp_path, [])


DAMAGES = {
    "no source": lambda w: w.replace('"functional":"', '"elsewhere":"', 1),
    "no twins": lambda w: re.sub(r'"twins":{.*?}}', '"twins":{}', w, count=1),
    "nobody alone": lambda w: re.sub(
        r'"alone":{.*?}}', '"alone":{"imperative":{},"functional":{}}', w, count=1
    ),
    "an unknown input": lambda w: w.replace('"inputs":["a"]', '"inputs":["z"]', 1),
    "a name twice": lambda w: w.replace('"name":"b"', '"name":"a"', 1),
    "a twin that is not there": lambda w: w.replace('{"a":"a"', '{"a":"z"', 1),
    "another drawing": lambda w: w.replace('"identifier":"chain_rule-imperative-0"', '"identifier":"x"', 1),
    "a curve without points": lambda w: re.sub(r'"points":\[\[.*?\]\]', '"points":[]', w, count=1),
    "an endless drawing": lambda w: re.sub(r'"width":[0-9.]+', '"width":1e300', w, count=1),
    "no layout": lambda w: re.sub(r'"layouts":{.*}}', '"layouts":{}}', w, count=1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lesson_that_contradicts_itself_is_refused(gathered, tmp_path, damage):
    whole = encode(gathered["chain_rule"]).decode()
    changed = DAMAGES[damage](whole)
    assert changed != whole
    seal(tmp_path / lesson.FILE, [decode(changed.encode(), Lesson, "here")])
    with pytest.raises(UnreadableRunError, match="the lesson of chain_rule does not fit itself; run again"):
        lesson.load(tmp_path)


@pytest.mark.parametrize("value", [np.array([1j]), np.array([1], np.float16)])
def test_a_graph_with_values_that_cannot_be_kept_is_left_out(monkeypatch, gathered, value):
    graph = gathered["chain_rule"].alignment.graphs["imperative"]
    odd = replace(graph, nodes=(replace(graph.nodes[0], value=value), *graph.nodes[1:]))
    alignment = replace(gathered["chain_rule"].alignment, graphs={"imperative": odd, "functional": graph})
    monkeypatch.setattr(lesson, "drawn", lambda *_, **__: alignment)
    assert lesson.gather("chain_rule").alignment is None


def test_a_twin_that_exits_while_it_is_drawn_ends_nothing_else(monkeypatch):
    monkeypatch.setattr(lesson, "drawn", lambda *_, **__: sys.exit(9))
    assert lesson.gather("chain_rule").alignment is None


def test_a_twin_that_cannot_be_drawn_leaves_a_lesson_without_graphs(monkeypatch):
    def broken(*_, **__):
        raise OSError("no such thing")

    monkeypatch.setattr(lesson, "drawn", broken)
    found = lesson.gather("chain_rule")
    assert found.alignment is None
    assert found.sources["functional"]


def test_a_twin_without_a_file_has_no_source(monkeypatch):
    bare = SimpleNamespace(imperative=SimpleNamespace(), functional=SimpleNamespace())
    monkeypatch.setattr(lesson.twins, "load", lambda _: bare)
    assert set(lesson.gather("chain_rule").sources.values()) == {""}


@pytest.mark.parametrize("name", NAMES)
def test_both_sources_are_cut_at_the_same_steps_and_nothing_behind_the_first_mark_is_lost(name):
    sources = {side: Path(f"{side}/{name}.py").read_text("utf-8") for side in SIDES}
    found = list(chapter.steps(Lesson(name, sources, None)))
    assert [step.name for step in found][-1] == "run"
    for side in SIDES:
        shown = "".join(plain(step.code[side]) for step in found).split()
        kept = "".join(sources[side].partition("# %% step: ")[2].partition("\n")[2])
        lines = [line for line in kept.splitlines() if not line.startswith("# %% step: ")]
        assert shown == "\n".join(lines).split()


def test_a_step_that_one_side_lacks_is_empty_there():
    sources = {"imperative": "# %% step: loss\nx = 1\n", "functional": ""}
    (step,) = chapter.steps(Lesson("x", sources, None))
    assert (step.name, step.code["functional"].strip(), step.recorded) == ("loss", "", ())


def plain(markup):
    parts = []
    parser = HTMLParser()
    parser.handle_data = parts.append
    parser.feed(markup)
    parser.close()
    return "".join(parts)


def test_code_is_shown_as_text_whatever_it_holds():
    code = "# %% step: run\nx = '<script>alert(1)</script>'\n"
    (step,) = chapter.steps(Lesson("x", {"imperative": code, "functional": code}, None))
    assert "<script" not in step.code["imperative"]
    assert plain(step.code["imperative"]).strip() == "x = '<script>alert(1)</script>'"


def nodes_of(svg):
    """By its identifier, what a node carries."""
    return {
        element.attrib["id"]: element.attrib
        for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
        if "id" in element.attrib
    }


def test_every_node_can_be_reached_says_what_it_is_and_names_its_twins(gathered):
    for name, found in gathered.items():
        drawn = chapter.drawings(found)
        shown = {side: nodes_of(drawn[side][0].svg) for side in SIDES}
        for side, other in (SIDES, SIDES[::-1]):
            nodes = found.alignment.graphs[side].collapsed().nodes
            assert [a["tabindex"] for a in shown[side].values()].count("0") == 1
            for node, (identifier, attributes) in zip(nodes, shown[side].items(), strict=True):
                assert identifier.startswith(f"{name}-{side}-")
                assert attributes["aria-label"].startswith(node.name)
                twins = attributes["data-twins"].split()
                assert set(twins) <= shown[other].keys()
                assert [shown[other][t]["aria-label"].split()[0] for t in twins] == [
                    twin for twin in [found.alignment.twins[side].get(node.name)] if twin
                ]


def told(lesson):
    return [
        a["aria-label"]
        for drawn in chapter.drawings(lesson).values()
        for a in nodes_of(drawn[0].svg).values()
    ]


def test_the_gradient_that_flows_through_q_is_told_on_either_side(gathered):
    texts = told(gathered["chain_rule"])
    assert sum("gradient [-32.]" in text for text in texts) == 2  # Q and a³
    assert sum("cotangent [-32.]" in text for text in texts) == 3  # Q also with the tap


def test_of_a_large_graph_several_nodes_are_drawn_as_one_and_what_is_behind_it_is_drawn_too(monkeypatch):
    monkeypatch.setattr(lesson, "NODES", 20)
    found = lesson.gather("three_neurons")
    drawn = chapter.drawings(found)
    for side, other in (SIDES, SIDES[::-1]):
        whole, *inside = drawn[side]
        assert len(nodes_of(whole.svg)) <= 20
        assert {one.behind for one in inside} <= nodes_of(whole.svg).keys()
        within = [a["aria-label"].splitlines()[0] for one in inside for a in nodes_of(one.svg).values()]
        alone = [n for n in found.alignment.graphs[side].collapsed(20).nodes if not n.members]
        names = [text.split()[0] for text in within if not text.endswith("from outside")]
        assert sorted([*names, *(n.name for n in alone)]) == sorted(
            n.name for n in found.alignment.graphs[side].nodes
        )
        everywhere = {i for one in drawn[other] for i in nodes_of(one.svg)}
        twins = {
            t for one in drawn[side] for a in nodes_of(one.svg).values() for t in a["data-twins"].split()
        }
        assert twins
        assert twins <= everywhere


def test_what_ran_at_a_step_stands_under_it_with_its_twin(gathered, run):
    found = list(chapter.steps(gathered["chain_rule"]))
    (table,) = found[0].recorded
    assert [step.name for step in found if step.recorded] == ["model"]
    assert table.rows == (
        ("a", "[2.]", "[-384.]", "a", "[2.]", "[-384.]"),
        ("PowBackward0", "[8.]", "[-32.]", "integer_pow", "[8.]", "[-32.]"),
        ("b", "[8.]", "[96.]", "b", "[8.]", "[96.]"),
        ("MulBackward0", "[24.]", "[32.]", "mul", "[24.]", "[32.]"),
        ("SubBackward0", "[-16.]", "[-32.]", "sub", "[-16.]", "[-32.]"),
        ("", "", "", "add", "[-16.]", "[-32.]"),
        ("output = PowBackward0", "[256.]", "[1.]", "output = integer_pow", "[256.]", "[1.]"),
    )


def test_what_a_training_computed_stands_under_its_step_and_its_run(gathered, run):
    record = next(r for r in run.records if r.scenario == "sine_network")
    found = {
        step.name: [t.caption for t in step.recorded]
        for step in chapter.steps(gathered["sine_network"], record)
    }
    assert any("Recorded here" in caption for caption in found["model"])
    assert any("Recorded here" in caption for caption in found["loss"])
    assert found["step"] == ["Gradients at the start"]
    assert {"Loss along the run", "Converged parameters", "After training"} <= set(found["run"])


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<script>" + "x" * 10_000])
def test_whatever_a_node_is_called_the_page_shows_it_as_text(gathered, name):
    before = gathered["chain_rule"]
    text = encode(before).decode().replace('"a"', json.dumps(name))
    after = decode(text.encode(), Lesson, "here")
    drawn = chapter.drawings(after)
    assert any(name.split("x")[0] in label for label in told(after))
    assert not any("<script" in d.svg for drawings in drawn.values() for d in drawings)
    assert not any(
        isinstance(text, Markup) for text in chapter.texts(after).values()
    )  # the page escapes them


def test_a_run_with_hostile_texts_is_a_page_that_shows_them(run):
    text = encode(run.records[2]).decode()
    evil = "<script>alert(1)</script>" + "y" * 10_000
    for word in ("title", "source"):
        text = re.sub(rf'"{word}":"[^"]*"', f'"{word}":{json.dumps(evil)}', text)
    text = text.replace('"a"', json.dumps(evil)).replace(
        '"scenario":"chain_rule"', f'"scenario":{json.dumps(evil)}'
    )
    record = decode(text.encode(), Record, "here")
    page = RENDERERS["html"](replace(run, records=(record,))).decode()
    assert page.count("<script") == 1
    assert plain(page).count("<script>alert(1)</script>") >= 4
