"""The atlas: what is said of an entry is measured, and a translation is one only if it agrees."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import functional.atlas
import imperative.atlas
from compare.atlas import readings as atlas_readings
from compare.atlas.describe import document, table
from compare.atlas.measure import Sides, compared, measured, worst
from scenarios import atlas
from scenarios.atlas import Entry

ENTRIES = [entry for entries in atlas.ALL.values() for entry in entries]
TRANSLATED = [entry for entry in ENTRIES if entry.translation]


def read(entry):
    return {reading.dtype: reading for reading in measured(entry, Sides())}


def quantity(reading, name):
    [found] = [quantity for quantity in reading.port if quantity.name == name]
    return found


def test_every_entry_has_a_name_of_its_own():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


def test_there_are_as_many_kinks_as_anyone_could_meet():
    assert len(atlas.ALL["kinks"]) > 130


@pytest.mark.parametrize("entry", TRANSLATED, ids=lambda entry: entry.name)
def test_a_translation_agrees_where_the_port_does_not(entry):
    found = read(entry)
    kinds = ("value", "gradient", "type")
    assert "different" in {worst(reading.port, kinds) for reading in found.values()}
    assert {reading.translated for reading in found.values()} <= {"identical", "rounding"}


def test_a_translation_that_is_wrong_is_found_out():
    wrong = replace(atlas.get("gelu"), translation="nn.gelu(x, approximate=True)")
    assert {reading.translated for reading in read(wrong).values()} == {"different"}


def test_values_and_derivatives_are_those_of_the_closed_form():
    entry = Entry("cubes", "x ** 3", "x ** 3", {"x": (-1.0, 0.5, 2.0)})
    x = np.array(entry.at["x"])
    for reading in read(entry).values():
        for name, truth in (("value", x**3), ("gradient.x", 3 * x**2), ("second.x", 6 * x)):
            found = quantity(reading, name)
            assert found.word == "identical"
            np.testing.assert_array_equal(found.left, truth)
        np.testing.assert_array_equal(quantity(reading, "tangent").left, 3 * x**2)


def test_a_convention_at_a_kink_is_told_from_another_function():
    clip = read(atlas.get("clip at its bounds"))["float64"]
    assert quantity(clip, "gradient.x").reason == "a convention at a kink"
    gelu = read(atlas.get("gelu"))["float64"]
    assert (quantity(gelu, "value").word, quantity(gelu, "value").reason) == ("different", "")


def test_where_one_side_alone_has_a_number_that_is_different():
    norm = read(atlas.get("norm at 0"))["float32"]
    slope = quantity(norm, "gradient.x")
    assert slope.word == "different"
    np.testing.assert_array_equal(slope.left, [0, 0, 0])
    assert np.isnan(slope.right).all()


def test_what_is_infinite_on_both_sides_agrees():
    log = read(atlas.get("log at 0"))["float64"]
    assert log.word == "identical"
    assert np.isinf(quantity(log, "value").left).any()


def test_what_a_side_does_not_offer_is_said_in_its_own_words():
    step = read(atlas.get("step function at 0"))["float64"]
    refused = quantity(step, "gradient.x")
    assert refused.word == "refused"
    assert "heaviside" in refused.reason
    assert step.word == "identical"  # the value can still be held side by side


def test_the_modes_of_one_side_are_held_against_each_other():
    entry = Entry("plain", "x ** 2", "x ** 2", {"x": (1.0, 2.0)})
    smooth = read(entry)["float64"]
    assert {worst(found, ("mode",)) for found in smooth.modes.values()} <= {"identical", "rounding"}
    prelu = read(atlas.get("prelu"))["float64"]
    assert worst(prelu.modes["imperative"], ("mode",)) == "different"


def test_what_compiling_changes_is_told():
    traced = "x * (3 if isinstance(x, jax.core.Tracer) else 2)"
    [found] = [
        one for one in measured(Entry("traced", "x * 3", traced, {"x": (1.0, 2.0)}), Sides()) if one.compiled
    ]
    assert found.dtype == "float32"
    assert {q.name: q.word for q in found.compiled}["value"] == "different"
    assert worst(read(atlas.get("square"))["float32"].compiled) == "identical"


def test_a_derivative_that_only_one_precision_refuses_is_refused():
    def half(arrays, dtype):
        value = arrays["x"].astype(dtype)
        return {"value": value, "gradient.x": value if dtype == "float64" else "not in float32"}

    found = compared(half, half, {"x": np.array([1.0, 2.0])})
    assert [(q.name, q.word) for q in found["float64"]] == [("value", "identical"), ("gradient.x", "refused")]
    assert [q.reason for q in found["float32"]] == ["", "not in float32"]


def test_an_entry_of_which_a_side_has_no_value_is_refused_in_the_words_of_that_side():
    found = read(atlas.get("an index out of range"))["float32"]
    assert found.word == "refused"
    assert "out of bounds" in quantity(found, "value").reason


def test_the_type_of_a_value_is_told_where_it_differs_and_the_value_does_not():
    half = read(atlas.get("half precision and one number in another tensor"))["float32"]
    assert half.word == "identical"
    assert quantity(half, "type").reason == "float16 and float32"
    [row] = table([half]).rows
    assert "float16 and float32" in row


def test_no_expression_is_refused_on_both_sides_by_mistake():
    for entry in ENTRIES:
        for read_, text in ((imperative.atlas.measured, entry.torch), (functional.atlas.measured, entry.jax)):
            value = read_(text, entry.arrays, "float32", fixed=tuple(entry.at))["value"]
            assert "not defined" not in str(value), (entry.name, value)
            assert "has no attribute" not in str(value), (entry.name, value)
            assert "unexpected keyword" not in str(value), (entry.name, value)


@pytest.fixture
def two_entries(monkeypatch):
    some = (atlas.get("square"), atlas.get("clip at its bounds"))
    for family in atlas.ALL:
        monkeypatch.setitem(atlas.ALL, family, some if family == "kinks" else ())
    return some


def test_the_command_prints_a_row_an_entry(command, two_entries):
    answer = command("atlas", "kinks")
    assert answer.code == 0
    assert [entry.name in answer.out for entry in two_entries] == [True, True]


def test_the_command_prints_one_document_that_any_reader_of_json_takes(command, two_entries):
    answer = command("atlas", "--json")
    told = json.loads(answer.out, parse_constant=pytest.fail)
    assert [(one["entry"], one["dtype"]) for one in told] == [
        (entry.name, dtype) for entry in two_entries for dtype in ("float32", "float64")
    ]
    assert told[2]["port"][1]["left"] == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_an_unknown_family_is_named_with_the_nearest(command):
    answer = command("atlas", "kink")
    assert answer.code == 2
    assert answer.err == "gradtwin: no family is called 'kink': did you mean 'kinks'?\n"


def test_numbers_that_json_lacks_are_words():
    told = json.loads(document(measured(atlas.get("log at 0"), Sides())))
    assert told[0]["port"][0]["left"] == ["-inf", 0.0]


def test_both_precisions_share_a_row_and_are_told_apart_where_they_differ():
    rows = table(measured(atlas.get("square"), Sides())).rows
    assert [row[:3] for row in rows] == [("square", "identical", "identical")]


def test_two_processes_measure_what_one_does_and_in_the_same_order(two_entries):
    alone, together = (json.loads(document(atlas_readings(["kinks"], jobs=jobs))) for jobs in (1, 2))
    assert together == alone
    assert [one["entry"] for one in alone[::2]] == [entry.name for entry in two_entries]


def test_whoever_stops_early_waits_for_no_entry_that_was_not_begun(monkeypatch):
    asked, shutdown = [], ProcessPoolExecutor.shutdown

    def noted(pool, **options):
        asked.append(options)
        return shutdown(pool, **options)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", noted)
    some = atlas_readings(["kinks"], jobs=2)
    assert next(some).entry == atlas.ALL["kinks"][0].name
    some.close()
    assert asked == [{"cancel_futures": True}]


def _children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return found.read_text().split() if found.exists() else []


@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(ended):
    command = subprocess.Popen(
        [sys.executable, "-m", "compare", "atlas", "kinks"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while len(workers := _children(command.pid)) < min(3, 1 + (os.cpu_count() or 1)):  # one tracks resources
        assert command.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(5)  # some have begun
    command.send_signal(ended)
    out, err = command.communicate(timeout=100)
    if ended == signal.SIGINT:
        assert command.returncode == 130
        assert "Finishing the record at hand" in err
        assert re.search(r"^gradtwin: interrupted: \d+ of 336 readings were made\.$", err, re.MULTILINE)
        assert "relu" in out
        assert "Traceback" not in err
    until = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "else they wait for work for ever"
        time.sleep(0.1)
