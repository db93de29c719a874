"""The command: what it prints, what it saves, and the code it ends with."""

import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import functional.root_finding
import imperative.sine_network
import scenarios
from compare import lesson, mutants, runner, twins
from compare.record import PARTS, read
from compare.timing import saved

GRADTWIN = [sys.executable, "-m", "compare"]


def replace_twin(monkeypatch, name, side, run):
    """Have one side of one scenario run something else."""
    load = twins.load
    monkeypatch.setattr(
        runner.twins,
        "load",
        lambda asked: (
            replace(load(asked), **{side: SimpleNamespace(run=run)}) if asked == name else load(asked)
        ),
    )


def test_list_prints_every_scenario_in_teaching_order(command):
    answer = command("list")
    assert [line.split()[0] for line in answer.out.splitlines()] == [s.name for s in scenarios.ALL]
    assert (answer.code, answer.err) == (0, "")


def test_list_json_is_one_document_with_how_each_scenario_trains(command):
    listed = json.loads(command("list", "--json").out)
    assert [entry["name"] for entry in listed] == [s.name for s in scenarios.ALL]
    assert listed[5] == {
        "name": "sine_network",
        "title": "A 1-10-10-1 ReLU network fitted to sin x by Adam",
        "source": "Predict the sinus curve with Neural Network (NN)",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "steps": 1000,
    }
    assert listed[0]["steps"] is None


def test_run_prints_a_table_saves_the_run_and_ends_with_0_when_all_agree(command, tmp_path):
    answer = command("run", "chain_rule", "leaves", "-o", "here")
    assert answer.code == 0
    assert answer.err == "Saved in here; `gradtwin report here` makes the page.\n"
    assert answer.out.count("chain_rule") == 2
    assert [(r.scenario, r.dtype) for r in read(tmp_path / "here").records] == [
        ("chain_rule", "float32"),
        ("chain_rule", "float64"),
        ("leaves", "float32"),
        ("leaves", "float64"),
    ]


def test_run_without_a_directory_saves_in_a_new_one_each_time(command, tmp_path):
    for _ in range(2):
        assert command("run", "leaves", "--dtype", "float32").code == 0
    assert len(list((tmp_path / "gradtwin-runs").iterdir())) == 2


def test_run_json_is_one_document_on_standard_output_and_nothing_else(command, tmp_path):
    answer = command("run", "chain_rule", "--dtype", "float64", "--device", "cpu", "--json", "-o", "here")
    document = json.loads(answer.out)
    assert document["environment"]["device"] == "cpu"
    assert [record["verdict"]["word"] for record in document["records"]] == ["identical"]
    assert answer.code == 0


def test_run_ends_with_1_and_one_sentence_when_the_sides_disagree(command, monkeypatch):
    honest = twins.load("root_finding").functional.run

    def one_step_fewer(statement, **options):
        shorter = replace(statement, training=replace(statement.training, steps=199))
        return honest(shorter, **options)

    replace_twin(monkeypatch, "root_finding", "functional", one_step_fewer)
    answer = command("run", "leaves", "root_finding", "--dtype", "float64", "-o", "here")
    assert answer.code == 1
    assert (
        "root_finding (float64): They differ: the functional side recorded 199 steps of the 200 that were "
        "asked for (and "
    ) in answer.err


def _mutants():
    def faster(statement):
        rate = statement.training.learning_rate
        return replace(statement, training=replace(statement.training, learning_rate=rate * 1.001))

    def fewer(statement):
        return replace(statement, training=replace(statement.training, steps=statement.training.steps - 1))

    def nudged(statement):
        weight = statement.start["hidden1.weight"].copy()
        weight[0, 1] += 1e-9
        return replace(statement, start={**statement.start, "hidden1.weight": weight})

    return {"learning rate times 1.001": faster, "one step fewer": fewer, "one weight plus 1e-9": nudged}


@pytest.mark.parametrize("mutant", _mutants())
@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_a_mutant_of_one_twin_makes_the_command_end_with_1(command, monkeypatch, side, mutant):
    honest, change = getattr(twins.load("sine_network"), side).run, _mutants()[mutant]
    replace_twin(
        monkeypatch, "sine_network", side, lambda statement, **options: honest(change(statement), **options)
    )
    assert command("run", "sine_network", "--dtype", "float64").code == 1


def test_the_sign_of_one_imperative_gradient_makes_the_command_end_with_1(command, monkeypatch):
    model = imperative.sine_network.model

    def mutant(start):
        network = model(start)
        network.hidden2.bias.register_hook(lambda gradient: -gradient)
        return network

    monkeypatch.setattr(imperative.sine_network, "model", mutant)
    assert command("run", "sine_network").code == 1


def test_the_sign_of_one_functional_gradient_makes_the_command_end_with_1(command, monkeypatch):
    honest = functional.root_finding.value_and_gradients

    def mutant(params):
        value, gradients = honest(params)
        return value, {**gradients, "b": -gradients["b"]}

    monkeypatch.setattr(functional.root_finding, "value_and_gradients", mutant)
    jax.clear_caches()  # the step was compiled with the honest gradient
    try:
        assert command("run", "root_finding").code == 1
    finally:
        jax.clear_caches()


@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_run_ends_with_3_when_a_twin_raises_and_still_runs_the_others(command, monkeypatch, tmp_path, side):
    def broken(statement, **options):
        raise FloatingPointError("the loss is not finite")

    replace_twin(monkeypatch, "leaves", side, broken)
    answer = command("run", "leaves", "chain_rule", "--dtype", "float64", "-o", "here")
    assert answer.code == 3
    assert answer.err == (
        "Saved in here; `gradtwin report here` makes the page.\n"
        f"leaves (float64): The {side} twin raised FloatingPointError: the loss is not finite\n"
        "  The traceback is kept in here/records.jsonl.\n"
    )
    failed, finished = read(tmp_path / "here").records
    assert "in broken" in failed.failure.traceback
    assert finished.verdict.agrees


def test_a_result_that_lacks_what_the_statement_knows_disagrees_and_the_others_still_run(
    command, monkeypatch, tmp_path
):
    replace_twin(
        monkeypatch, "leaves", "imperative", lambda statement, **options: scenarios.Result(values={})
    )
    answer = command("run", "leaves", "chain_rule", "--dtype", "float64", "-o", "here")
    assert answer.code == 1
    assert "leaves (float64): They differ: values." in answer.err
    assert len(read(tmp_path / "here").records) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "sine_netwrk"], "no scenario is called 'sine_netwrk': did you mean 'sine_network'?"),
        (["run", "--dtype", "flaot32"], "no dtype is called 'flaot32': did you mean 'float32'?"),
        (["run", "--dtype", "int8"], "no dtype is called 'int8': choose from float32, float64, both."),
        (["run", "--device", "tpu"], "no device is called 'tpu': did you mean 'gpu'?"),
        (["report", "--format", "htm"], "no format is called 'htm': did you mean 'html'?"),
    ],
)
def test_a_misspelt_name_ends_with_2_and_the_nearest_one(command, tmp_path, arguments, sentence):
    answer = command(*arguments)
    assert (answer.code, answer.out, answer.err) == (2, "", f"gradtwin: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "hint"), [(["rnu"], "Did you mean 'run'?"), (["run", "--dtpye", "both"], "--dtype")]
)
def test_a_misspelt_command_or_option_ends_with_2_and_a_hint(command, arguments, hint):
    answer = command(*arguments)
    assert answer.code == 2
    assert hint in answer.err
    assert "Traceback" not in answer.err


def test_asking_for_a_gpu_where_there_is_none_ends_with_2(command, monkeypatch, tmp_path):
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    answer = command("run", "leaves", "--device", "gpu", "-o", "here")
    assert (answer.code, answer.err) == (
        2,
        "gradtwin: JAX sees no GPU on this machine: ask for the device 'cpu' or 'auto'.\n",
    )
    assert not (tmp_path / "here").exists()


def test_an_output_that_cannot_be_written_ends_with_2_before_anything_runs(command, tmp_path):
    (tmp_path / "file").write_text("kept", "utf-8")
    answer = command("run", "leaves", "-o", "file/run")
    assert (answer.code, answer.err) == (
        2,
        "gradtwin: cannot write to file/run: Not a directory. Choose another directory with -o.\n",
    )
    assert (tmp_path / "file").read_text("utf-8") == "kept"


def test_an_output_that_holds_a_run_ends_with_2_and_keeps_it(command, tmp_path):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    before = (tmp_path / "here" / "records.jsonl").read_bytes()
    answer = command("run", "leaves", "--dtype", "float32", "-o", "here")
    assert (answer.code, answer.err) == (
        2,
        "gradtwin: here holds a saved run already. Choose another directory with -o.\n",
    )
    assert (tmp_path / "here" / "records.jsonl").read_bytes() == before


def test_a_framework_that_is_not_installed_ends_with_2_and_its_name(command, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'optax'", name="optax")

    monkeypatch.setattr(runner.twins, "load", missing)
    answer = command("run", "leaves")
    assert answer.code == 2
    assert answer.err.endswith("gradtwin: optax is not installed: `make report` sets everything up.\n")


def test_report_takes_the_newest_run_by_default(command, tmp_path):
    command("run", "leaves", "--dtype", "float32")
    command("run", "chain_rule", "--dtype", "float32")
    answer = command("report", "--format", "md", "-o", "-")
    assert answer.code == 0
    assert "## chain_rule" in answer.out
    assert "## leaves" not in answer.out


def test_report_writes_beside_the_run_or_where_it_is_told(command, tmp_path):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    assert command("report", "here").err == "Wrote here/report.html.\n"
    assert command("report", "here", "--format", "json", "-o", "there.json").err == "Wrote there.json.\n"
    assert json.loads((tmp_path / "there.json").read_text("utf-8"))["records"][0]["scenario"] == "leaves"


def test_report_without_any_run_ends_with_4_and_how_to_make_one(command):
    answer = command("report")
    assert (answer.code, answer.err) == (
        4,
        "gradtwin: there is no saved run in gradtwin-runs: `gradtwin run` makes one.\n",
    )


def test_report_of_a_damaged_run_ends_with_4_and_writes_nothing(command, tmp_path):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    path = tmp_path / "here" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    answer = command("report", "here")
    assert answer.code == 4
    assert answer.err.startswith("gradtwin: here/records.jsonl, line 1: not readable as a saved run (")
    assert not (tmp_path / "here" / "report.html").exists()


def test_report_of_a_run_edited_by_hand_ends_with_4_and_writes_nothing(command, tmp_path):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    path = tmp_path / "here" / "records.jsonl"
    path.write_text(path.read_text("utf-8").replace('"agrees":true', '"agrees":false', 1), "utf-8")
    answer = command("report", "here")
    assert (answer.code, answer.err) == (
        4,
        "gradtwin: here/records.jsonl, line 1: this record, or something before it or in run.json, was "
        "changed after it was written; run again.\n",
    )
    assert not (tmp_path / "here" / "report.html").exists()


def test_report_into_a_place_that_cannot_be_written_ends_with_2(command):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    answer = command("report", "here", "-o", "nowhere/page.html")
    assert (answer.code, answer.err) == (
        2,
        "gradtwin: cannot write nowhere/page.html: No such file or directory; choose another file with -o.\n",
    )


def interrupted(tmp_path, records, presses):
    """Run everything, and press Ctrl-C once that many records are saved; returns the ended process."""
    process = subprocess.Popen(
        [*GRADTWIN, "run", "-o", "here"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = tmp_path / "here" / "records.jsonl"
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b"\n") >= records):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=60)
    return SimpleNamespace(code=process.returncode, out=out, err=err)


@pytest.mark.parametrize("records", [1, 3, 8])
def test_ctrl_c_ends_with_130_keeps_what_was_finished_and_the_report_says_what_is_missing(tmp_path, records):
    ended = interrupted(tmp_path, records, presses=1)
    finished = len(read(tmp_path / "here").records)
    assert ended.code == 130
    assert records <= finished < 18
    assert ended.err == (
        "Finishing the record at hand; Ctrl-C again stops at once.\n"
        f"gradtwin: interrupted: {finished} of 18 records are saved in here.\n"
    )
    assert "leaves" in ended.out
    command = [*GRADTWIN, "report", "here", "--format", "md", "-o", "-"]
    page = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    missing = f"The run was interrupted: {finished} records were finished, {18 - finished} are missing."
    assert missing in page.stdout


def test_a_second_ctrl_c_stops_at_once_and_keeps_what_was_finished(tmp_path):
    ended = interrupted(tmp_path, 2, presses=2)
    assert ended.code == 130
    finished = len(read(tmp_path / "here").records)
    assert f"gradtwin: interrupted: {finished} of 18 records are saved in here.\n" in ended.err


@pytest.mark.parametrize("command", ["list", "run", "report"])
def test_ctrl_c_before_anything_is_finished_is_one_sentence_and_130(tmp_path, command):
    code = (
        "import os, signal, sys\n"
        "from compare import cli\n"
        "sys.argv = ['gradtwin', sys.argv[1]]\n"
        "cli.typer.Typer.__call__ = lambda app: os.kill(os.getpid(), signal.SIGINT)\n"
        "cli.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "gradtwin: interrupted before anything was finished.\n"


def shell(tmp_path, line, **environment):
    """Run a line of shell in which `gradtwin` is the command."""
    gradtwin = " ".join(map(shlex.quote, GRADTWIN))
    return subprocess.run(
        ["bash", "-c", line.replace("gradtwin", gradtwin, 1)],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_terminal_that_does_not_know_every_sign_gets_question_marks_and_no_traceback(tmp_path):
    ended = shell(tmp_path, "gradtwin list", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert "Q = a? ? 3b at (7, 8)" in ended.stdout


def test_a_reader_who_has_left_is_no_error(tmp_path):
    ended = shell(tmp_path, "gradtwin list | true; exit ${PIPESTATUS[0]}")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_full_disk_behind_standard_output_ends_with_2_and_one_sentence(tmp_path):
    ended = shell(tmp_path, "gradtwin list > /dev/full")
    sentence = "gradtwin: cannot write to standard output: No space left on device.\n"
    assert (ended.returncode, ended.stderr) == (2, sentence)


def test_a_closed_standard_output_ends_with_2_and_one_sentence(tmp_path):
    ended = shell(tmp_path, "gradtwin list >&-")
    assert (ended.returncode, ended.stderr) == (
        2,
        "gradtwin: cannot write to standard output: it is closed.\n",
    )


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_a_narrow_terminal_gets_whole_columns_or_none(command, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = command("run", "leaves", "--dtype", "float64").out
    assert "…" not in out
    assert ("Not shown for want of width: " in out) is (columns < 130)


def unchecked(**fields):
    """A result whose fields no type checker has seen, as outside these tests."""
    result = scenarios.Result(values={"a": np.ones(1)})
    for name, value in fields.items():
        object.__setattr__(result, name, value)
    return result


@pytest.mark.parametrize(
    "result",
    [
        None,
        unchecked(values={"a": [1.0]}),
        unchecked(values={"a": np.ones(1, int)}),
        unchecked(values={"a": np.ones(1, complex)}),
        unchecked(facts={"x": 1.5}),
        unchecked(facts={"x": np.True_}),
        unchecked(gradients={"a": None}),
    ],
    ids=["nothing", "list", "integers", "complex", "float fact", "numpy fact", "no gradient"],
)
def test_a_twin_that_returns_what_cannot_be_compared_has_failed_and_the_others_still_run(
    command, monkeypatch, tmp_path, result
):
    replace_twin(monkeypatch, "leaves", "functional", lambda statement, **options: result)
    answer = command("run", "leaves", "chain_rule", "--dtype", "float64", "-o", "here")
    assert answer.code == 3
    assert "leaves (float64): The functional twin raised TypeError: " in answer.err
    failed, finished = read(tmp_path / "here").records
    assert failed.failure.side == "functional"
    assert finished.verdict.agrees


def test_a_twin_that_exits_has_failed_and_does_not_take_the_command_along(command, monkeypatch):
    replace_twin(monkeypatch, "leaves", "imperative", lambda statement, **options: sys.exit(5))
    assert command("run", "leaves", "--dtype", "float64").code == 3


def test_a_run_that_disagrees_can_still_be_rendered(command, monkeypatch):
    empty = scenarios.Result(values={}, gradients={"relu": np.ones(3)})
    replace_twin(monkeypatch, "activations", "functional", lambda statement, **options: empty)
    assert command("run", "activations", "-o", "here").code == 1
    for kind in ("html", "md", "json"):
        assert command("report", "here", "--format", kind).code == 0


def test_report_does_not_write_over_the_run_it_reads(command, tmp_path):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    answer = command("report", "here", "-o", "here/records.jsonl")
    assert (answer.code, answer.err) == (
        2,
        "gradtwin: here/records.jsonl is part of a saved run; choose another file with -o.\n",
    )
    assert len(read(tmp_path / "here").records) == 1
    kept = {path: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert {path.name for path in kept} == {"run.json", "records.jsonl", "lessons.json"}
    assert {lesson.FILE, saved.FILE, mutants.FILE} < set(PARTS)
    for name in PARTS:
        assert command("report", "here", "-o", f"here/{name}").code == 2
        assert command("graph", "leaves", "--format", "json", "-o", f"here/{name}").code == 2
    (tmp_path / "linked").hardlink_to(tmp_path / "here" / "records.jsonl")
    assert command("report", "here", "-o", "linked").code == 0
    assert command("report", "here", "-o", "/dev/null").code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "here").iterdir()} == kept


def test_report_opens_the_page_that_it_wrote_and_says_so_where_there_is_no_browser(
    command, tmp_path, monkeypatch
):
    command("run", "leaves", "--dtype", "float32", "-o", "here")
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    page = tmp_path / "here" / "report.html"
    assert command("report", "here", "--open").err == "Wrote here/report.html.\n"
    assert page.exists()
    answer = command("report", "here", "--open")
    assert "No browser was found: open here/report.html in yours." in answer.err
    assert (answer.code, opened) == (0, [page.as_uri()] * 2)
    for other in (["--format", "md"], ["-o", "-"], ["--notebook", "there"]):
        answer = command("report", "here", "--open", *other)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == "gradtwin: --open opens a page: write one, with --format html and to a file.\n"
    assert len(opened) == 2


def test_a_scenario_named_twice_runs_once_and_a_name_in_capitals_gets_its_hint(command, tmp_path):
    command("run", "leaves", "chain_rule", "leaves", "--dtype", "float32", "-o", "here")
    assert [r.scenario for r in read(tmp_path / "here").records] == ["leaves", "chain_rule"]
    assert (
        command("run", "LEAVES").err == "gradtwin: no scenario is called 'LEAVES': did you mean 'leaves'?\n"
    )


@pytest.mark.parametrize("arguments", [{"names": "leaves"}, {"names": ["leaves"], "dtypes": "float64"}])
def test_python_is_told_that_one_string_is_no_sequence_of_names(arguments):
    with pytest.raises(TypeError, match="names and dtypes are sequences of strings"):
        runner.run(**arguments)


def test_python_is_told_which_dtypes_there_are():
    with pytest.raises(scenarios.UnavailableError, match="no dtype is called 'float16'"):
        runner.run(["leaves"], dtypes=["float16"])


def test_no_names_are_not_all_names():
    assert runner.run([]) == ()


@pytest.fixture
def few(monkeypatch):
    """Of all defects only three; tests/test_mutants.py has the others."""
    names = ("gradients never cleared", "gradient off by 1e-9", "gradient off by 1e-12")
    monkeypatch.setattr(mutants, "MUTANTS", {name: mutants.MUTANTS[name] for name in names})


@pytest.mark.usefixtures("few")
def test_mutants_prints_the_table_keeps_it_beside_the_run_and_the_report_shows_it(command, tmp_path):
    command("run", "graph_walk", "--dtype", "float64", "-o", "here")
    answer = command("mutants", "graph_walk", "-o", "here")
    assert answer.code == 0
    assert "gradient off by 1e-12" in answer.out
    assert "of the other 4 the judge found 4 in both precisions." in answer.out
    assert command("report", "here", "--format", "md").code == 0
    assert "gradient off by 1e-12 | 2 killed |" in (tmp_path / "here" / "report.md").read_text("utf-8")


def test_mutants_json_is_one_document(command):
    found = json.loads(command("mutants", "leaves", "--json").out)
    assert [m["fates"] for m in found] == [{"float32": "equivalent", "float64": "equivalent"}] * 2


@pytest.mark.usefixtures("few")
def test_a_mutant_that_survives_ends_the_command_with_1(command, monkeypatch):
    monkeypatch.setattr("compare.judge.rounding.SAFETY", 1e15)
    monkeypatch.setattr("compare.judge.truth.SAFETY", 1e15)
    answer = command("mutants", "graph_walk")
    assert answer.code == 1
    assert "graph_walk: 'gradient off by 1e-9' on the imperative side survived." in answer.err


def test_bench_times_variants_saves_them_and_the_report_shows_them_beside_the_run(command, tmp_path):
    command("run", "root_finding", "--dtype", "float64", "-o", "here")
    sweep = ("--sweep", "steps=10,20,40")
    answer = command(
        "bench",
        "root_finding",
        "--variant",
        "eager",
        "--variant",
        "scan",
        "--rounds",
        3,
        *sweep,
        "-o",
        "here",
    )
    assert answer.code == 0
    assert "functional: scan" in answer.out
    assert "how the cost grows with steps" in answer.out
    assert command("report", "here").code == 0
    page = (tmp_path / "here" / "report.html").read_text("utf-8")
    assert page.count("as a multiple of") == 2 * 3  # in the figure's caption and in its alternative text
    assert "seconds of a run against steps" in page
    assert "Not measured: GPU." in page
    assert '<a href="#timings">' in page
    assert command("report", "here", "--format", "md").code == 0
    assert "## Timings" in (tmp_path / "here" / "report.md").read_text("utf-8")
    assert command("diff", "here", "here").code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("leaves",), "leaves trains nothing, and only training runs are timed."),
        (("root_finding", "--variant", "eagre"), "no variant is called 'eagre': did you mean 'eager'?"),
        (("root_finding", "--sweep", "width=3"), "root_finding cannot be scaled by width: it has steps."),
        (("root_finding", "--sweep", "steps=x"), "--sweep steps=x: write each size once with whole values"),
        (
            ("root_finding", "--sweep", "steps=2.5"),
            "--sweep steps=2.5: write each size once with whole values",
        ),
        (
            ("root_finding", "--sweep", "steps=5", "--sweep", "steps=9"),
            "--sweep steps=9: write each size once",
        ),
        (("root_finding", "--sweep", "steps=0"), "steps=0: a size is 1 or more, and 1e+09 at most."),
        (
            ("root_finding", "--sweep", "steps=1e30"),
            "steps=1000000000000000019884624838656: a size is 1 or more",
        ),
        (("root_finding", "--sweep", "steps=inf"), "--sweep steps=inf: write each size once"),
        (("sine_network", "--sweep", "width=1e8"), "width=100000000: the data do not fit into memory"),
        (("root_finding", "--threads", "999"), "threads=999: there are "),
        (("root_finding", "--sweep", "dtype=float64,float23"), "no dtype is called 'float23': did you mean"),
        (("root_finding", "--sweep", "device=tpu"), "no device is called 'tpu': did you mean"),
        (("root_finding", "--dtype", "double"), "no dtype is called 'double': choose from float32, float64"),
    ],
)
def test_a_bench_of_what_there_is_not_ends_in_one_sentence(command, arguments, sentence):
    answer = command("bench", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"gradtwin: {sentence}")


def test_diff_names_a_verdict_that_changed_and_ends_with_1(command, monkeypatch):
    command("run", "chain_rule", "--dtype", "float64", "-o", "before")
    honest = twins.load("chain_rule").imperative.run

    def wrong(statement, **options):
        result = honest(statement, **options)
        return replace(result, gradients={n: -g for n, g in result.gradients.items()})

    replace_twin(monkeypatch, "chain_rule", "imperative", wrong)
    command("run", "chain_rule", "--dtype", "float64", "-o", "after")
    answer = command("diff", "before", "after")
    assert answer.code == 1
    assert "different" in answer.out
    assert answer.err == "1 verdicts changed.\n"
    assert command("diff", "before", "after", "--fail-on", "time").code == 0
    assert "Nothing changed." in command("diff", "after", "after").out


def test_diff_of_directories_without_a_run_is_one_sentence(command, tmp_path):
    answer = command("diff", tmp_path, tmp_path)
    assert answer.code == 4
    assert answer.err == f"gradtwin: {tmp_path} holds neither a saved run nor a bench.\n"
    assert command("diff", tmp_path, tmp_path, "--fail-on", "speed").code == 2


def test_a_profiled_bench_leaves_a_trace_of_each_variant(command, tmp_path):
    two = ("--variant", "eager", "--variant", "scan")
    answer = command("bench", "root_finding", *two, "--rounds", 1, "--profile", "-o", "here")
    assert answer.code == 0
    eager, scan = (
        tmp_path / "here" / "traces" / f"root_finding-float32-cpu-{name}"
        for name in ("imperative-eager.json", "functional-scan.json.gz")
    )
    assert json.loads(eager.read_bytes())["traceEvents"]
    assert json.loads(gzip.decompress(scan.read_bytes()))["traceEvents"]


def test_an_interrupted_bench_keeps_what_was_finished(tmp_path):
    command = [
        *GRADTWIN,
        "bench",
        "root_finding",
        "--variant",
        "eager",
        "--sweep",
        "steps=5,6,7,8",
        "-o",
        "here",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not (tmp_path / "here" / "bench.json").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"interrupted: what was finished is saved." in said
    kept = saved.load(tmp_path / "here").timed
    assert 1 <= len(kept) < 4
    assert all(one.samples for one in kept)
