"""Saved runs: what comes back is what was written, and what was damaged is refused with its place."""

import hashlib
import json
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import compare
from compare import runner, twins
from compare.record import Environment, Record, UnreadableRunError, UnwritableRunError, Writer, encode, read

ENVIRONMENT = Environment(
    schema_version=2,
    started="2026-01-30T12:00:00+00:00",
    versions={"python": "3.11"},
    machine={"cores": "2"},
    sides={"imperative": {"device": "cpu"}},
    scenarios=("leaves", "root_finding"),
    dtypes=("float64",),
    device="cpu",
)


@pytest.fixture(scope="module")
def records():
    return compare.run(["leaves", "root_finding"], dtypes=["float64"], every=50)


@pytest.fixture
def saved(tmp_path, records):
    directory = tmp_path / "run"
    writer = Writer(directory, ENVIRONMENT)
    for record in records:
        writer.add(record)
    return directory


def the_same(left, right):
    """Equality that looks into arrays and takes NaN for NaN."""
    return encode(left) == encode(right)


def test_a_saved_run_comes_back_as_it_was(saved, records):
    run = read(saved)
    assert run.environment == ENVIRONMENT
    assert run.missing == 0
    assert all(the_same(*pair) for pair in zip(run.records, records, strict=True))
    result = run.records[1].results["imperative"]
    assert result.converged["a"].dtype == np.float64
    np.testing.assert_array_equal(result.history.losses, records[1].results["imperative"].history.losses)
    assert run.records[0].verdict.facts[0].expected is True


@given(
    st.sampled_from(["float32", "float64"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    )
)
def test_every_array_survives_bit_for_bit_with_its_nans_and_infinities(array):
    twin = compare.record.Result(values={"x": array})
    back = compare.record.decode(encode(twin), compare.record.Result, "here").values["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(np.signbit(back[~np.isnan(back)]), np.signbit(array[~np.isnan(array)]))


def test_no_number_is_written_as_null(records):
    verdict = records[1].verdict
    infinite = replace(verdict.step[0], ulps=np.float64(np.inf), budget=np.float64(np.nan))
    text = encode(infinite)
    assert b'"ulps":"inf"' in text
    assert b'"budget":"nan"' in text
    back = compare.record.decode(text, type(infinite), "here")
    assert back.ulps == np.inf
    assert np.isnan(back.budget)


def test_each_line_is_a_document_of_its_own_with_a_schema_version(saved):
    lines = (saved / "records.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["record"]["scenario"] for line in lines] == ["leaves", "root_finding"]
    assert {json.loads(line)["schema_version"] for line in lines} == {2}


def test_the_gradients_and_parameters_of_every_step_are_not_saved(records):
    history = records[1].results["functional"].history
    assert (history.gradients, history.parameters) == ({}, {})
    assert history.losses.shape == (4,)


def test_a_twin_that_raised_is_saved_with_its_traceback(tmp_path, records):
    failure = compare.record.Failure("functional", "ValueError: no", "Traceback …")
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    writer.add(replace(records[0], verdict=None, results={}, timings={}, failure=failure))
    assert read(tmp_path / "run").records[0].failure == failure


def test_an_interrupted_run_knows_what_it_owes(tmp_path, records):
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    writer.add(records[0])
    assert read(tmp_path / "run").missing == 1


def test_a_missing_run_says_how_to_make_one(tmp_path):
    with pytest.raises(UnreadableRunError) as error:
        read(tmp_path / "nowhere")
    assert str(error.value) == (
        f"{tmp_path / 'nowhere' / 'run.json'}: No such file or directory; "
        "`gradtwin run -o DIR` saves a run in DIR."
    )


def test_a_truncated_line_is_refused_with_its_number(saved):
    path = saved / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableRunError) as error:
        read(saved)
    assert str(error.value).startswith(f"{path}, line 2: not readable as a saved run (")
    assert str(error.value).endswith("); delete it and what follows, or run again.")


def test_a_record_edited_by_hand_is_refused_even_if_it_is_well_formed(saved):
    path = saved / "records.jsonl"
    path.write_text(path.read_text("utf-8").replace('"agrees":true', '"agrees":false', 1), "utf-8")
    with pytest.raises(UnreadableRunError) as error:
        read(saved)
    assert str(error.value) == (
        f"{path}, line 1: this record, or something before it or in run.json, was changed after it was "
        "written; run again."
    )


def test_an_unknown_field_is_refused(saved):
    path = saved / "records.jsonl"
    path.write_text(
        path.read_text("utf-8").replace('{"schema_version":2,', '{"schema_version":2,"x":2,', 1), "utf-8"
    )
    with pytest.raises(UnreadableRunError, match="unknown field"):
        read(saved)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 2}', "\x00", "null"])
def test_a_run_json_that_is_none_is_refused(saved, content):
    (saved / "run.json").write_text(content, "utf-8")
    with pytest.raises(UnreadableRunError, match=r"run\.json: not readable as a saved run \("):
        read(saved)


def test_bytes_that_are_no_text_are_refused(saved):
    (saved / "records.jsonl").write_bytes(b"\xff\xfe{}\n")
    with pytest.raises(UnreadableRunError, match="line 1: not readable as a saved run"):
        read(saved)


def test_another_schema_is_refused_by_its_number(saved):
    path = saved / "run.json"
    path.write_text(path.read_text("utf-8").replace('"schema_version": 2', '"schema_version": 3'), "utf-8")
    with pytest.raises(UnreadableRunError) as error:
        read(saved)
    assert str(error.value) == (f"{path}: written in schema 3, and this gradtwin reads schema 2; run again.")


def test_a_record_of_another_schema_is_refused_by_its_number(saved):
    path = saved / "records.jsonl"
    path.write_text(path.read_text("utf-8").replace('{"schema_version":2', '{"schema_version":7', 1), "utf-8")
    with pytest.raises(UnreadableRunError, match="line 1: written in schema 7"):
        read(saved)


def test_a_directory_that_holds_a_run_is_not_written_over(saved):
    before = (saved / "records.jsonl").read_bytes()
    with pytest.raises(UnwritableRunError) as error:
        Writer(saved, ENVIRONMENT)
    assert str(error.value) == f"{saved} holds a saved run already."
    assert (saved / "records.jsonl").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a directory", "utf-8")
    with pytest.raises(UnwritableRunError) as error:
        Writer(tmp_path / "file" / "run", ENVIRONMENT)
    assert str(error.value) == f"cannot write to {tmp_path / 'file' / 'run'}: Not a directory."


def test_a_record_is_on_disk_before_the_next_one_begins(tmp_path, records):
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    for count, record in enumerate(records, start=1):
        writer.add(record)
        assert len(read(tmp_path / "run").records) == count


def test_a_disk_that_fills_up_is_one_clear_sentence(tmp_path, records, monkeypatch):
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UnwritableRunError, match=r"cannot write to .*: No space left on device\."):
        writer.add(records[0])


def test_the_environment_names_versions_machine_and_devices():
    environment = runner.environment(["leaves"], ["float32"], "cpu")
    assert set(environment.versions) == {"python", "gradtwin", "torch", "jax", "jaxlib", "optax", "numpy"}
    assert int(environment.machine["cores"]) >= 1
    assert environment.machine["processor"]
    assert environment.sides["imperative"]["device"] == "cpu"
    assert int(environment.sides["imperative"]["threads"]) >= 1
    assert the_same(msgspec.json.decode(encode(environment), type=Environment), environment)


def test_a_record_holds_plain_frozen_data(records):
    assert isinstance(records[0], Record)
    with pytest.raises(AttributeError):
        records[0].scenario = "other"


def test_a_side_that_sees_no_gpu_sends_auto_to_the_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert twins.resolve("auto") == "cpu"


def chained(saved, *bodies):
    """Replace the records of a saved run, with the checksums that would make them pass."""
    checksum = hashlib.sha256((saved / "run.json").read_bytes())
    lines = []
    for body in bodies:
        checksum.update(body)
        head = f'{{"schema_version":2,"checksum":"{checksum.hexdigest()}","record":'.encode()
        lines.append(head + body + b"}\n")
    (saved / "records.jsonl").write_bytes(b"".join(lines))


def bodies(saved):
    lines = (saved / "records.jsonl").read_bytes().splitlines()
    return [bytes(msgspec.json.decode(line, type=compare.record._Line).record) for line in lines]


def test_the_checksums_in_these_tests_are_those_of_the_writer(saved):
    before = (saved / "records.jsonl").read_bytes()
    chained(saved, *bodies(saved))
    assert (saved / "records.jsonl").read_bytes() == before


def test_an_edited_run_json_is_noticed(saved):
    path = saved / "run.json"
    path.write_text(path.read_text("utf-8").replace('"cores": "2"', '"cores": "64"'), "utf-8")
    with pytest.raises(UnreadableRunError, match="line 1: this record, or something before it"):
        read(saved)


def test_a_line_that_was_taken_out_doubled_or_moved_is_noticed(saved):
    path = saved / "records.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    for lines in (second, first + first + second, second + first):
        path.write_bytes(lines)
        with pytest.raises(UnreadableRunError, match="was changed after it was written"):
            read(saved)


def test_a_line_beyond_the_plan_is_noticed_even_with_its_checksum(saved):
    chained(saved, *bodies(saved), bodies(saved)[0])
    with pytest.raises(
        UnreadableRunError, match=r"line 3: the record does not fit run\.json or itself; run again\."
    ):
        read(saved)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape":[4]', b'"shape":[-4]'),
        (b'"shape":[4]', b'"shape":[2,2]'),
        (b'"shape":[4]', b'"shape":[5]'),
        (b'"dtype":"int64"', b'"dtype":"object"'),
        (b'"dtype":"int64"', b'"dtype":"complex128"'),
        (b'"ulps":0.0', b'"ulps":1' + b"0" * 400),
        (b'"ulps":0.0', b'"ulps":"many"'),
        (b'"ulps":0.0', b'"ulps":null'),
        (b'"imperative":', b'"impertinent":'),
        (b'"verdict":{', b'"verdict":null,"x":{'),
        (b'"device":"cpu"', b'"device":' + b"[" * 5000 + b"]" * 5000),
    ],
)
def test_damage_that_passes_the_checksum_is_one_clear_error_and_no_traceback(saved, old, new):
    first, second = bodies(saved)
    assert old in second
    chained(saved, first, second.replace(old, new))
    with pytest.raises(UnreadableRunError, match=r"line 2: .*run again\."):
        read(saved)


def test_a_torn_write_leaves_what_was_finished_readable(tmp_path, records, monkeypatch):
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    writer.add(records[0])
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fails(_, error=error):
            raise error

        monkeypatch.setattr("os.fsync", fails)
        with pytest.raises((UnwritableRunError, KeyboardInterrupt)):
            writer.add(records[1])
        monkeypatch.undo()
        assert len(read(tmp_path / "run").records) == 1
    writer.add(records[1])
    assert len(read(tmp_path / "run").records) == 2


def test_a_foreign_run_json_is_not_written_over(tmp_path):
    (tmp_path / "run.json").write_text("mine", "utf-8")
    with pytest.raises(UnwritableRunError):
        Writer(tmp_path, ENVIRONMENT)
    assert (tmp_path / "run.json").read_text("utf-8") == "mine"


def test_a_name_too_long_for_the_disk_is_one_clear_sentence(tmp_path):
    with pytest.raises(UnwritableRunError, match="File name too long"):
        Writer(tmp_path / ("a" * 300), ENVIRONMENT)


def test_a_directory_that_disappears_in_mid_run_is_one_clear_sentence(tmp_path, records):
    writer = Writer(tmp_path / "run", ENVIRONMENT)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(UnwritableRunError, match=r"records\.jsonl: No such file or directory\."):
        writer.add(records[0])
