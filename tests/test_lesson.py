"""What a chapter teaches with: kept beside a run, cut into steps, drawn with its twins, and safe to show."""

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import scenarios
from compare import chapter, lesson
from compare.judge import SIDES
from compare.lesson import Lesson
from compare.record import UnreadableRunError, UnwritableRunError, decode, encode

NAMES = [statement.name for statement in scenarios.ALL]


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
    found = list(chapter.steps(sources))
    assert [step.name for step in found][-1] == "run"
    for side in SIDES:
        shown = "".join(plain(step.code[side]) for step in found).split()
        kept = "".join(sources[side].partition("# %% step: ")[2].partition("\n")[2])
        lines = [line for line in kept.splitlines() if not line.startswith("# %% step: ")]
        assert shown == "\n".join(lines).split()


def test_a_step_that_one_side_lacks_is_empty_there():
    (step,) = chapter.steps({"imperative": "# %% step: loss\nx = 1\n", "functional": ""})
    assert (step.name, step.code["functional"].strip()) == ("loss", "")


def plain(markup):
    parts = []
    parser = HTMLParser()
    parser.handle_data = parts.append
    parser.feed(markup)
    parser.close()
    return "".join(parts)


def test_code_is_shown_as_text_whatever_it_holds():
    code = "# %% step: run\nx = '<script>alert(1)</script>'\n"
    (step,) = chapter.steps({"imperative": code, "functional": code})
    assert "<script" not in step.code["imperative"]
    assert plain(step.code["imperative"]).strip() == "x = '<script>alert(1)</script>'"


def test_every_node_can_be_reached_says_what_it_is_and_names_its_twins(gathered):
    for name, found in gathered.items():
        both = chapter.pair(found.alignment, name)
        told = json.loads(both.told)
        for side in SIDES:
            drawing = both.drawings[side]
            nodes = found.alignment.graphs[side].nodes
            assert drawing.count('tabindex="0"') == drawing.count("aria-label=") == len(nodes)
            for k, node in enumerate(found.alignment.graphs[side].collapsed(chapter.NODES).nodes):
                identifier = f"{name}-{side}{k}"
                assert f'id="{identifier}"' in drawing
                assert told[identifier]["text"].startswith(node.name)
                assert bool(told[identifier]["twins"]) == (node.name in found.alignment.twins[side])
        assert all(twin in told for entry in told.values() for twin in entry["twins"])


def test_the_gradient_that_flows_through_q_is_told_on_either_side(gathered):
    told = json.loads(chapter.pair(gathered["chain_rule"].alignment, "c").told)
    texts = [entry["text"] for entry in told.values()]
    assert sum("gradient [-32.]" in text for text in texts) == 2  # Q and a³
    assert sum("cotangent [-32.]" in text for text in texts) == 3  # Q also with the tap


def test_a_large_graph_is_collapsed_and_its_nodes_twins_are_still_told(monkeypatch):
    found = lesson.gather("three_neurons").alignment
    monkeypatch.setattr(chapter, "NODES", 20)
    told = json.loads(chapter.pair(found, "t").told)
    assert 20 < len(told) <= 40
    assert any("nodes(" in entry["text"] and entry["twins"] for entry in told.values())


def test_whatever_a_node_is_called_the_page_shows_it_as_text(gathered):
    before = gathered["chain_rule"]
    text = encode(Lesson(before.scenario, before.sources, before.alignment)).decode()
    evil = text.replace('"a"', '"</script><script>alert(1)</script>"')
    after = decode(evil.encode(), Lesson, "here")
    both = chapter.pair(after.alignment, "x")
    for shown in (*both.drawings.values(), both.told):
        assert "<script" not in shown
        assert "</script" not in shown
