"""Chapters as executed notebooks, and what a notebook shows of a result, a record, a run and a verdict."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

import compare
import scenarios
from compare import as_html, describe, lesson, mutants, notebook, twins, words
from compare.describe import Table
from compare.judge import SIDES
from compare.notebook import Answers, Chapter, answers, chapters, write
from compare.record import Failure, Writer, encode, read
from scenarios import Result

ROOT = Path(__file__).parents[1]
HOSTILE = (
    '<script>alert(1)</script>\n# %%\n"""$x$ \\(y\\) [a](http://b) `c` *d* _e_ '
    "⟦0⟧ {{ f }}\u2028# %%\nimport os"
)
NAMES = [statement.name for statement in scenarios.ALL]

pytestmark = pytest.mark.xdist_group("notebook")


def command(*arguments):
    """The command; returns its code, standard output and standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "compare", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return SimpleNamespace(code=ended.returncode, out=ended.stdout, err=ended.stderr)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A real run, in another order than that of teaching."""
    directory = tmp_path_factory.mktemp("saved") / "run"
    assert command("run", "chain_rule", "leaves", "--dtype", "float64", "-o", directory).code == 0
    shutil.copy(ROOT / "benchmarks" / "results" / "mutants.json", directory)
    return directory


@pytest.fixture(scope="module")
def exported(saved, tmp_path_factory):
    """Its notebooks, and what the command said of them."""
    target = tmp_path_factory.mktemp("exported") / "notebooks"
    return target, command("report", saved, "--notebook", target)


@pytest.fixture(scope="module")
def chain_rule(exported):
    return nbformat.read(exported[0] / "01_chain_rule.ipynb", as_version=4)


@pytest.fixture(scope="module")
def leaves(exported):
    return nbformat.read(exported[0] / "02_leaves.ipynb", as_version=4)


def no_kernel(monkeypatch):
    """Whatever would execute a notebook fails the test."""

    def started(*_):
        raise AssertionError("something was executed")

    monkeypatch.setattr(notebook, "_execute", started)


class Shown(HTMLParser):
    """Checks that what is opened is closed; collects tables by caption, and texts by tag."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tables, self.texts, self.scopes = [], {}, {}, []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "th":
            self.scopes.append(dict(attrs)["scope"])
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.texts["caption"][-1]] = self.rows

    def handle_data(self, data):
        assert self.open, data
        self.texts[self.open[-1]][-1] += data
        if self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def displayed(cells, source, kind="text/html"):
    """What the cell whose source ends like this shows."""
    (cell,) = [c for c in cells if c.cell_type == "code" and c.source.endswith(source)]
    return cell.outputs[-1]["data"][kind]


def after(cells, heading, until):
    """The cells from one heading to another."""
    sources = [cell.source.split("\n")[0] for cell in cells]
    return cells[sources.index(heading) + 1 : sources.index(until)]


def test_there_is_one_valid_notebook_per_scenario_in_the_order_of_the_run(exported):
    target, answer = exported
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == f"Wrote 2 notebooks to {target}.\n"
    assert sorted(path.name for path in target.iterdir()) == ["01_chain_rule.ipynb", "02_leaves.ipynb"]
    for path in target.iterdir():
        nbformat.validate(json.loads(path.read_text("utf-8")))


@pytest.mark.parametrize("result", ["left", "right"])
def test_executed_cells_hold_the_gradients_that_pencil_and_paper_give(chain_rule, result):
    shown = Shown(displayed(chain_rule.cells, f'{result} = run(dtype="float64")\n{result}'))
    gradients = {
        name: (float(value), dtype) for name, _, dtype, value in shown.tables["Gradients at the start"][1:]
    }
    # P = (a³ − 3b)² at a = 2, b = 8, where Q = −16: dP/da = 2Q·3a², dP/db = −6Q, dP/dQ = 2Q.
    assert gradients == {"a": (-384.0, "float64"), "b": (96.0, "float64"), "Q": (-32.0, "float64")}


@pytest.mark.parametrize("result", ["left", "right"])
def test_executed_cells_hold_the_facts_of_the_note(leaves, result):
    shown = Shown(displayed(leaves.cells, f'{result} = run(dtype="float64")\n{result}'))
    facts = dict(shown.tables["Facts"][1:])
    assert (facts["b.is_leaf"], facts["d.is_leaf"], facts["d.requires_grad"]) == ("False", "True", "False")


def test_a_notebook_has_each_side_wholly_before_the_other_and_nothing_of_either_source_is_lost(
    chain_rule, leaves
):
    left, right, end = (
        "## The imperative side: PyTorch",
        "## The functional side: JAX",
        "## The tape and the jaxpr",
    )
    for name, cells in (("chain_rule", chain_rule.cells), ("leaves", leaves.cells)):
        for side, part in (
            ("imperative", after(cells, left, right)),
            ("functional", after(cells, right, end)),
        ):
            source = Path(ROOT, side, f"{name}.py").read_text("utf-8")
            code = [cell.source for cell in part if cell.cell_type == "code"][:-1]  # the last one runs it
            assert "\n".join(code).split() == re.sub(r"^# %% step: .+$", "", source, flags=re.M).split()
            headings = [cell.source.removeprefix("### ") for cell in part if cell.cell_type == "markdown"]
            assert headings == [*re.findall(r"^# %% step: (.+)$", source, re.M), "Run it"]


def test_a_chapter_states_its_problem_thinks_and_asks(saved, chain_rule):
    title, questions = (cell.source for cell in chain_rule.cells[:2])
    taught = notebook.teach(notebook._templates(), read(saved).records[:1])
    assert title.startswith("# P = (a³ − 3b)² at (2, 8)")
    assert "The grad_fn attribute, equation (2)" in title
    assert f"$$\n{taught.formula}\n$$" in title
    assert all(sentence in title for sentence in taught.thinking)
    assert [line for line in questions.splitlines() if line.startswith("- ")] == [
        f"- {question}" for question, _, _ in taught.questions
    ]


def test_a_chapter_has_a_defect_to_find_and_hides_what_it_was(chain_rule):
    (cell,) = [cell for cell in chain_rule.cells if "Find the defect" in cell.source]
    before, _, after = unescape(cell.source).partition("<details>")
    assert "the judge says “values.accumulated a[0]: 3.8e+02 apart" in before
    assert "imperative" not in before
    assert "The imperative side: gradients never cleared." in after


def test_answers_are_hidden_behind_their_questions_and_are_those_of_the_run(chain_rule):
    shown = Shown(displayed(chain_rule.cells, "answers(record)"))
    assert shown.texts["summary"][-1] == "What is ∂P/∂Q?"
    assert shown.texts["dd"][-2:] == ["-32", "-32"]
    assert len(shown.texts["details"]) == len(shown.texts["summary"]) == 3


def test_an_answer_changes_with_the_record_and_without_one_there_is_none(saved):
    record = read(saved).records[0]
    results = {
        side: replace(r, gradients={**r.gradients, "Q": np.array([7.5])})
        for side, r in record.results.items()
    }
    assert answers(replace(record, results=results)).questions[-1] == ("What is ∂P/∂Q?", "7.5", "7.5")
    assert answers(replace(record, results={side: Result({}) for side in SIDES})).questions == ()


def test_questions_and_answers_are_shown_as_text():
    shown = Shown(Answers((("<q>", "<a>", "<b> & c"),))._repr_html_())
    assert (shown.texts["summary"], shown.texts["dd"]) == (["<q>"], ["<a>", "<b> & c"])


def test_both_graphs_show_themselves_and_are_told_in_words(chain_rule):
    for side, operation in (("imperative", "MulBackward0"), ("functional", "integer_pow")):
        (cell,) = [c for c in chain_rule.cells if c.source.endswith(f'\ngraphs["{side}"]')]
        assert cell.outputs[0].text.count("float64[1]") >= 6
        assert f"{operation}(" in cell.outputs[0].text
        assert cell.outputs[1]["data"].keys() == {"image/svg+xml"}
        assert operation in cell.outputs[1]["data"]["image/svg+xml"]


def test_the_record_shows_its_sentence_and_its_tables(saved, chain_rule):
    shown = Shown(displayed(chain_rule.cells, 'dtypes=["float64"])\nrecord'))
    record = read(saved).records[0]
    assert shown.texts["p"] == [words.sentence(record)]
    assert list(shown.tables) == [table.caption for table in describe.tables(record)]


def test_what_shows_itself_is_not_printed_once_more(chain_rule, leaves):
    outputs = [o for nb in (chain_rule, leaves) for cell in nb.cells for o in cell.get("outputs", ())]
    rich = [o for o in outputs if o.output_type == "execute_result"]
    assert len(rich) == 12
    assert not any("text/plain" in o["data"] for o in rich)
    assert {o.output_type for o in outputs} == {"execute_result", "stream"}
    assert {o.name for o in outputs if o.output_type == "stream"} == {"stdout"}  # nothing warned


def test_the_same_run_makes_the_same_notebook_but_for_the_times_it_took(saved, exported, tmp_path):
    (again,) = write(chapters(saved)[1:], tmp_path)
    one, other = (
        re.sub(r"<td>[\d.e+-]+ (s|ms|µs)</td>", "<td>T</td>", path.read_text("utf-8"))
        for path in (exported[0] / "02_leaves.ipynb", again.path)
    )
    assert one == other
    assert one.count("<td>T</td>") == 4


def test_identifiers_are_counted_and_no_metadata_tell_of_when_and_where(chain_rule):
    assert [cell.id for cell in chain_rule.cells] == [f"cell-{k}" for k in range(len(chain_rule.cells))]
    assert all(cell.metadata == {} for cell in chain_rule.cells)
    assert chain_rule.metadata.keys() == {"kernelspec", "language_info"}
    counts = [cell.execution_count for cell in chain_rule.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_a_changed_source_is_refused_and_nothing_is_executed(command, saved, tmp_path, monkeypatch):
    run = copied(saved, tmp_path)
    found = lesson.load(run)
    planted = found["leaves"].sources["functional"] + "\nraise SystemExit\n"
    found["leaves"] = replace(found["leaves"], sources={**found["leaves"].sources, "functional": planted})
    lesson.save(run, list(found.values()))
    no_kernel(monkeypatch)
    answer = command("report", run, "--notebook", "out")
    assert answer.code == 4
    assert answer.err == (
        "gradtwin: the functional side of leaves has another source than the installed twin: run again.\n"
    )
    assert not Path("out").exists()


def test_sources_that_neither_side_has_a_file_for_are_refused_too(saved, tmp_path, monkeypatch):
    run = copied(saved, tmp_path)
    found = lesson.load(run)
    lesson.save(run, [replace(kept, sources=dict.fromkeys(SIDES, "")) for kept in found.values()])
    monkeypatch.setattr(twins, "load", lambda _: SimpleNamespace(imperative=None, functional=None))
    with pytest.raises(compare.UnreadableRunError, match="another source"):
        chapters(run)


def test_a_run_without_lessons_or_without_one_of_them_says_so(command, saved, tmp_path, monkeypatch):
    run = copied(saved, tmp_path)
    no_kernel(monkeypatch)
    lesson.save(run, [lesson.load(run)["chain_rule"]])
    answer = command("report", run, "--notebook", "out")
    assert (answer.code, answer.err) == (4, f"gradtwin: {run} holds no lesson of leaves: run again.\n")
    (run / lesson.FILE).unlink()
    answer = command("report", run, "--notebook", "out")
    assert (answer.code, answer.err) == (4, f"gradtwin: {run} holds no lessons: run again.\n")


@pytest.mark.parametrize("options", [("-o", "page.html"), ("--format", "html")])
def test_a_file_or_a_format_beside_the_notebooks_is_a_usage_error(command, saved, options):
    answer = command("report", saved, "--notebook", "out", *options)
    assert answer.code == 2
    assert answer.err == (
        "gradtwin: --notebook names a place and a format of its own: leave out -o and --format.\n"
    )
    assert list(Path().iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence_before_anything_is_executed(
    command, saved, monkeypatch
):
    no_kernel(monkeypatch)
    Path("taken").write_text("", "utf-8")
    answer = command("report", saved, "--notebook", "taken")
    assert answer.code == 2
    assert answer.err == "gradtwin: cannot write to taken: File exists; choose another directory.\n"

    def forbidden(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(notebook, "TemporaryFile", forbidden)
    answer = command("report", saved, "--notebook", "there")
    assert answer.code == 2
    assert answer.err == "gradtwin: cannot write to there: Permission denied; choose another directory.\n"


def test_a_kernel_that_does_not_start_is_one_sentence(command, saved, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ipykernel_launcher.py").write_text("raise SystemExit(1)", "utf-8")
    monkeypatch.syspath_prepend(broken)
    answer = command("report", saved, "--notebook", "out")
    assert answer.code == 2
    assert re.fullmatch(r"gradtwin: no kernel starts that would execute the notebook: .+\.\n", answer.err)
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("name", ["jupytext", "nbclient", "ipykernel"])
def test_what_is_not_installed_is_named_with_its_remedy(command, saved, monkeypatch, name):
    no_kernel(monkeypatch)
    monkeypatch.setitem(sys.modules, name, None)
    answer = command("report", saved, "--notebook", "out")
    assert answer.code == 2
    assert answer.err == f"gradtwin: {name} is not installed: `pip install 'gradtwin[teach]'` brings it.\n"


def test_a_scenario_that_is_not_installed_makes_no_file(saved, tmp_path):
    record = replace(read(saved).records[0], scenario="../../leaves")
    run = written(tmp_path / "run", saved, [record])
    kept = lesson.load(saved)["chain_rule"]
    lesson.save(run, [replace(kept, scenario="../../leaves", alignment=None, layouts={})])
    with pytest.raises(scenarios.UnavailableError, match="no scenario is called"):
        chapters(run)


def copied(saved, tmp_path):
    """A run that may be changed."""
    return written(tmp_path / "run", saved, read(saved).records)


def written(directory, saved, records):
    environment = replace(
        read(saved).environment, scenarios=tuple(dict.fromkeys(record.scenario for record in records))
    )
    writer = Writer(directory, environment)
    for record in records:
        writer.add(record)
    lesson.save(directory, list(lesson.load(saved).values()))
    return directory


def hostile_twin(tmp_path, monkeypatch, saved, source):
    """A saved run of leaves, and an installed imperative twin, both with this source."""
    path = tmp_path / "hostile_twin.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location("hostile_twin", path)
    pair = replace(twins.load("leaves"), imperative=importlib.util.module_from_spec(spec))
    monkeypatch.setattr(twins, "load", lambda _: pair)
    (record,) = [r for r in read(saved).records if r.scenario == "leaves"]
    run = written(tmp_path / "run", saved, [replace(record, title=HOSTILE, source=HOSTILE)])
    mutants.save(run, [replace(mutant, evidence=HOSTILE) for mutant in mutants.load(saved)])
    kept = lesson.load(run)["leaves"]
    lesson.save(run, [replace(kept, sources={**kept.sources, "imperative": source})])
    return run


# Each line is something that jupytext, IPython or a template could take for more than code.
TWIN = '''"""Nothing but trouble."""
import imperative, json, os, sys
# %% no step
# %% [markdown]
# !echo shell
# %time
text = """
# %%
⟦0⟧ {{ 1 + 1 }} {% raw %} \x0c \u2028 <script>alert(1)</script>
"""
long = "LONG"
elsewhere = json.dumps(["strange" in globals(), os.getcwd(), imperative.__file__])
print(sys.executable, text, len(long), elsewhere, sep="|")
# %% step: model <b>*of*</b>
raise ValueError("one" "\\n" "two")
# %% step: run
print("never reached")
'''.replace("LONG", "x" * 100_000)


def test_a_twin_that_raises_is_written_with_its_error_and_whatever_a_source_holds_stays_in_its_cell(
    command, saved, tmp_path, monkeypatch
):
    run = hostile_twin(tmp_path, monkeypatch, saved, TWIN)
    # Other kernels, start-up files and packages that lie about are not for us.
    for planted in (
        "jupyter/kernels/python3/kernel.json",
        "ipython/profile_default/startup/00.py",
        "imperative.py",
    ):
        (tmp_path / planted).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / planted).write_text("strange = 1", "utf-8")
    kernel = {"argv": ["false"], "display_name": "Strange", "language": "python"}
    (tmp_path / "jupyter/kernels/python3/kernel.json").write_text(json.dumps(kernel), "utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "ipython/profile_default/startup/00.py"))

    answer = command("report", run, "--notebook", "out")
    assert answer.code == 3
    assert answer.err == "out/01_leaves.ipynb: a cell raised ValueError: one two.\nWrote 1 notebook to out.\n"
    book = nbformat.read("out/01_leaves.ipynb", as_version=4)
    before, model, last = (
        cell
        for cell in after(book.cells, "## The imperative side: PyTorch", "### Run it")
        if cell.cell_type == "code"
    )
    assert f"{before.source}\n" == TWIN.partition("# %% step")[0]
    assert model.source == 'raise ValueError("one" "\\n" "two")'
    assert (model.outputs[-1].output_type, model.outputs[-1].evalue) == ("error", "one\ntwo")
    assert last.source == 'print("never reached")'
    assert (last.outputs, last.execution_count) == ([], None)
    executable, text, length, elsewhere = before.outputs[0].text.split("|")
    assert (executable, length) == (sys.executable, "100000")
    assert text == TWIN.split('"""')[3]
    strange, place, package = json.loads(elsewhere)
    assert strange is False
    assert not Path(place).exists()  # it was the kernel's alone
    assert Path(package).parent == ROOT / "imperative"


def test_whatever_a_record_or_a_source_holds_the_cells_are_the_same_and_show_it_as_text(
    saved, tmp_path, monkeypatch
):
    honest = notebook._notebook(chapters(saved)[1])
    run = hostile_twin(tmp_path, monkeypatch, saved, TWIN)
    found = notebook._notebook(*chapters(run))
    assert [c.cell_type for c in found.cells] == [c.cell_type for c in honest.cells]
    title = found.cells[0].source
    assert len(title.splitlines()) == len(honest.cells[0].source.splitlines())
    assert not re.search(r"[<>`*\[\]\\]|http:/|\$x|_e", title.partition("$$")[0])
    heading = title.splitlines()[0].removeprefix("# ")
    assert re.sub(r"&#(\d+);", lambda code: chr(int(code[1])), heading) == " ".join(HOSTILE.split())
    assert "### model &#60;b&#62;&#42;of&#42;&#60;/b&#62;" in [c.source for c in found.cells]


@pytest.mark.parametrize("name", NAMES)
def test_each_cell_of_every_twin_is_a_whole_piece_of_code(name):
    for side in SIDES:
        cut = notebook._cut(Path(ROOT, side, f"{name}.py").read_text("utf-8"))
        assert len(cut.steps) >= 2
        for code in (cut.imports, *(code for _, code in cut.steps)):
            assert code
            compile(code, name, "exec")


def test_a_cell_that_ends_the_kernel_is_told_and_the_next_notebook_has_one_of_its_own(tmp_path):
    deadly = Chapter("01_deadly", "# %%\nimport os\n\nos._exit(1)\n", ())
    fine = Chapter("02_fine", "# %%\n⟦0⟧\n", ("print(6 * 7)",))
    found = list(write([deadly, fine], tmp_path))
    assert [one.trouble for one in found] == ["a cell ended the kernel", ""]
    (cell,) = nbformat.read(found[1].path, as_version=4).cells
    assert cell.outputs[0].text == "42\n"


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="looks for processes where Linux has them"
)
def test_an_interrupt_ends_the_kernel_and_says_how_many_notebooks_there_are(saved, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("i")  # the path of a socket has to be short
    command = [sys.executable, "-m", "compare", "report", str(saved), "--notebook", str(tmp_path / "out")]
    place = tmp_path / "t"
    place.mkdir()
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(place)}
    )
    with running:
        deadline = time.monotonic() + 60
        while not kernels(place):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == f"gradtwin: interrupted: 0 of 2 notebooks are in {tmp_path / 'out'}.\n"
    assert kernels(place) == []
    assert list(place.iterdir()) == []


def kernels(place):
    """Processes whose connection file is in a place."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{place}/" in (process / "cmdline").read_text("utf-8", errors="replace"):
                found.append(process)
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture(scope="module")
def trained():
    (record,) = compare.run(["root_finding"], dtypes=["float64"], every=100)
    return record


def test_a_result_shows_all_its_arrays_by_value_or_norm():
    shown = Shown(
        Result(
            values={"Q": np.array([-16.0])},
            gradients={"w": np.array([[3.0, 4.0]], np.float32)},
            converged={"a": np.array([2.5])},
            outcome={"huge": np.array([1e308, 1e308]), "none": np.zeros(0)},
            facts={"is leaf": True},
        )._repr_html_()
    )
    head = ["name", "shape", "dtype", "value"]
    assert shown.tables == {
        "Values at the start": [head, ["Q", "(1,)", "float64", "-16"]],
        "Gradients at the start": [head, ["w", "(1, 2)", "float32", "norm 5"]],
        "Converged parameters": [head, ["a", "(1,)", "float64", "2.5"]],
        "After training": [
            head,
            ["huge", "(2,)", "float64", "norm inf"],
            ["none", "(0,)", "float64", "norm 0"],
        ],
        "Facts": [["fact", "value"], ["is leaf", "True"]],
    }
    assert set(shown.scopes) == {"col", "row"}


def test_a_record_shows_its_sentence_and_every_table(trained):
    shown = Shown(trained._repr_html_())
    assert shown.texts["p"] == [words.sentence(trained)]
    tables = list(describe.tables(trained))
    assert list(shown.tables) == [table.caption for table in tables]
    for table in tables:
        rows = [list(row) for row in table.rows]
        assert shown.tables[table.caption] == ([list(table.header), *rows] if any(table.header) else rows)
    assert set(shown.scopes) == {"col", "row"}


def test_a_record_of_a_twin_that_raised_shows_its_traceback_as_text(trained):
    failure = Failure("functional", "ValueError: <no>", "Traceback:\n<no> & never")
    shown = Shown(replace(trained, verdict=None, results={}, timings={}, failure=failure)._repr_html_())
    assert shown.texts["p"] == ["The functional twin raised ValueError: <no>"]
    assert shown.texts["pre"] == ["Traceback:\n<no> & never"]
    assert shown.tables == {}


def test_a_run_shows_the_verdicts_and_what_it_still_owes(saved):
    run = read(saved)
    shown = Shown(run._repr_html_())
    overview = describe.overview(run.records)
    assert shown.tables == {"Verdicts": [list(overview.header), *(list(row) for row in overview.rows)]}
    assert "p" not in shown.texts
    shown = Shown(replace(run, records=run.records[:1])._repr_html_())
    assert shown.texts["p"] == [describe.missing(replace(run, records=run.records[:1]))]
    assert len(shown.tables["Verdicts"]) == 2


def test_a_verdict_shows_its_word_what_is_wrong_and_its_findings(trained):
    verdict = trained.verdict
    shown = Shown(verdict._repr_html_())
    assert shown.texts["p"] == [f"{verdict.word}: {words.MEANING[verdict.word]}."]
    step, free = shown.tables.values()
    assert [row[:2] for row in step[1:]] == [[f.quantity, f.word] for f in verdict.step]
    assert [row[:2] for row in free[1:]] == [[f.quantity, f.word] for f in verdict.run]
    assert len(step) > 1
    assert len(free) > 1
    wrong = replace(verdict, word="different", owed=("a <b> is owed",))
    assert Shown(wrong._repr_html_()).texts["p"] == [
        f"different: {words.MEANING['different']} (a <b> is owed)."
    ]


def test_whatever_texts_hold_they_are_shown_as_text(saved):
    record = read(saved).records[0]
    evil = encode(record).decode().replace('"Q"', json.dumps(HOSTILE)).replace("values.Q", "values.<b>")
    changed = compare.record.decode(evil.encode(), compare.Record, "here")
    for shown in (changed, changed.verdict, *changed.results.values()):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "<b>" not in html
        Shown(html)
    assert any(
        HOSTILE in row[0]
        for row in Shown(changed.results["imperative"]._repr_html_()).tables["Gradients at the start"]
    )


def test_a_table_keeps_every_cell_and_an_empty_heading_heads_nothing():
    shown = Shown(as_html.table(Table("<i>", ("", "<b> & c"), (("<u>", '<s>"'), ("", "")))))
    assert shown.tables == {"<i>": [["", "<b> & c"], ["<u>", '<s>"'], ["", ""]]}
    assert shown.scopes == ["col", "row", "row"]
    bare = Shown(as_html.table(Table("bare", ("", ""), (("a", "b"),))))
    assert "thead" not in bare.texts
    assert bare.tables == {"bare": [["a", "b"]]}
