"""The page for a lecture: what a change runs, what the page shows, and how the server begins and ends."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from tornado.websocket import websocket_connect

import scenarios
from compare import serve

ROOT = Path(__file__).parents[1]
PACKAGES = ("scenarios", "imperative", "functional", "compare")
NAMES = [statement.name for statement in scenarios.ALL]
PATIENCE = 120  # seconds, after which nothing more is to be expected

pytestmark = pytest.mark.xdist_group("serve")  # one server for all


class Served:
    """A running `gradtwin serve`, whose packages are a copy."""

    def __init__(self, root, *arguments, **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.root, self.log = root, root / "log"
        self.url = f"http://127.0.0.1:{self.port}/"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "compare", "serve", *arguments, "--port", str(self.port)],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root), **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def told(self, text=""):
        """How often it told this, or all it told."""
        told = self.log.read_text("utf-8")
        return told.count(text) if text else told

    def page(self):
        with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def until(self, happened):
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.05)

    def edit(self, file, old="", new=""):
        """Write a file of the copy as it is in the repository, but for this."""
        text = (ROOT / file).read_text("utf-8")
        assert old in text
        (self.root / file).write_text(text.replace(old, new, 1) if old else text + new, "utf-8")

    def records(self, name):
        return (self.root / "out" / name / "records.jsonl").read_bytes()


def copied(root):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page of two scenarios, both of which have run; every test says what is in the files it changes."""
    root = copied(tmp_path_factory.mktemp("served"))
    opener = "from pathlib import Path; import sys; Path('opened').write_text(sys.argv[1])"
    (root / "opener.py").write_text(opener)
    browser = f"{sys.executable} {root / 'opener.py'} %s"
    served = Served(root, "leaves", "chain_rule", "-o", "out", "--open", BROWSER=browser)
    try:
        served.until(lambda: served.told("chain_rule: identical."))
        served.until(lambda: 'id="chain_rule"' in served.page())
        yield served
    finally:
        served.process.send_signal(signal.SIGINT)  # killed, it would leave what it just runs
        served.process.wait(PATIENCE)


def remark(served, side, text):
    """Save a twin with a remark that the page shows, because it stands in one of its steps."""
    served.edit(f"{side}/leaves.py", '"d": c * c}', f'"d": c * c}}  # {text}')


def test_the_page_has_every_chosen_scenario_in_order_and_the_script_that_reloads_it(served):
    page = served.page()
    assert 0 < page.index('id="leaves"') < page.index('id="chain_rule"')
    assert 'id="root_finding"' not in page
    assert "livereload.js" in page
    assert not any(word in page for word in ('role="alert"', "Still to run", "interrupted"))


def test_it_says_where_it_serves_before_anything_runs_and_opens_the_browser_there(served):
    assert served.told().startswith(f"Serving {served.url}; Ctrl-C ends.\n")
    assert (served.root / "opened").read_text() == served.url


def test_only_the_page_is_served(served):
    assert (served.root / "out" / "leaves" / "run.json").exists()
    for path in ("leaves/run.json", "../leaves/run.json", "%2e%2e/leaves/run.json"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
            connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
            assert connection.recv(12).split()[1] in {b"403", b"404"}


def test_a_change_of_one_twin_runs_one_scenario_while_the_old_page_is_served(served):
    before = {name: served.records(name) for name in ("leaves", "chain_rule")}
    ran = served.told("\nleaves: identical.")
    remark(served, "imperative", "seen in the lecture")
    served.until(lambda: served.told("imperative/leaves.py changed: running leaves.\n"))
    assert "seen in the lecture" not in served.page()
    assert served.told("\nleaves: identical.") == ran
    served.until(lambda: "seen in the lecture" in served.page())
    assert served.records("leaves") != before["leaves"]
    assert served.records("chain_rule") == before["chain_rule"]
    assert served.told("\nchain_rule: identical.") == 1


def test_files_saved_at_once_run_once_and_a_run_that_they_outdate_is_not_waited_for(served):
    both = "functional/leaves.py, imperative/leaves.py changed: running leaves.\n"
    begun, ran, saved = (served.told(text) for text in ("running leaves.", "\nleaves: identical.", both))
    remark(served, "imperative", "outdated")
    served.until(lambda: served.told("running leaves.") == begun + 1)
    for side in ("imperative", "functional"):
        remark(served, side, f"the {side} twin as saved")
    served.until(lambda: all(f"the {s} twin as saved" in served.page() for s in ("imperative", "functional")))
    assert served.told(both) == saved + 1
    assert served.told("running leaves.") == begun + 2
    assert served.told("\nleaves: identical.") == ran + 1
    assert not (served.root / "out" / "leaves.new").exists()


def test_a_twin_that_raises_is_on_the_page_like_every_raised_record(served):
    served.edit(
        "imperative/leaves.py", "    a = enter(", "    raise ArithmeticError('lost in class')\n    a = enter("
    )
    served.until(lambda: served.told("\nleaves: raised.\n"))
    served.until(lambda: "ArithmeticError: lost in class" in served.page())
    assert 'role="alert"' not in served.page()


def test_a_twin_that_cannot_be_imported_is_named_at_the_top_of_the_last_page_until_it_is_mended(served):
    served.edit("functional/leaves.py")
    remark(served, "imperative", "the last good one")
    served.until(lambda: "the last good one" in served.page())
    line = len((ROOT / "functional" / "leaves.py").read_text("utf-8").splitlines()) + 1
    for wrong, why in (
        ("def run(:\n", "SyntaxError: invalid syntax."),
        ("raise ModuleNotFoundError('no <b>')\n", "ModuleNotFoundError: no &lt;b&gt;."),
    ):
        served.edit("functional/leaves.py", new=wrong)
        sentence = f"<p>functional/leaves.py, line {line}: {why}</p>"
        served.until(lambda sentence=sentence: sentence in served.page())
        page = served.page()
        assert page.index('<div role="alert"') < page.index(sentence) < page.index('id="leaves"')
        assert page.count('role="alert"') == 1
        assert "the last good one" in page
    assert served.told(f"\nfunctional/leaves.py, line {line}: ModuleNotFoundError: no <b>.\n") == 1
    assert "Traceback" not in served.told()
    served.edit("functional/leaves.py")
    served.until(lambda: 'role="alert"' not in served.page())


async def reloaded(served, change):
    """Listen as a browser does, change something, and return what is heard."""
    listener = await websocket_connect(f"ws://127.0.0.1:{served.port}/livereload")
    protocols = ["http://livereload.com/protocols/official-7"]
    await listener.write_message(json.dumps({"command": "hello", "protocols": protocols}))
    assert json.loads(await listener.read_message())["command"] == "hello"
    await listener.write_message(json.dumps({"command": "info", "url": served.url}))
    change()
    heard = json.loads(await asyncio.wait_for(listener.read_message(), PATIENCE))
    page = await asyncio.to_thread(served.page)
    listener.close()
    while await listener.read_message() is not None:
        pass  # a socket that is still open when the loop ends would warn in a later test
    return heard["command"], page


def test_a_template_renders_the_page_anew_runs_nothing_and_then_the_browser_reloads(served):
    before, ran = {name: served.records(name) for name in ("leaves", "chain_rule")}, served.told("running")
    template = "compare/templates/report.html.jinja"
    for heading in ("Compared today", "Compared once more"):  # at once: livereload's watcher would ignore it
        command, page = asyncio.run(
            reloaded(served, lambda heading=heading: served.edit(template, "</h1>", f": {heading}</h1>"))
        )
        assert command == "reload"
        assert heading in page
    assert served.told(f"{template} changed: rendering.\n") >= 2
    assert served.told("running") == ran
    assert {name: served.records(name) for name in before} == before


def test_a_template_that_cannot_be_rendered_is_named_at_the_top_of_the_last_page_until_it_is_mended(served):
    template = "compare/templates/report.html.jinja"
    served.edit(template, "<h1>", "<h1>{{ nowhere }}")
    line = (ROOT / template).read_text("utf-8").partition("<h1>")[0].count("\n") + 1
    sentence = f"{template}, line {line}: jinja2.exceptions.UndefinedError: &#x27;nowhere&#x27; is undefined."
    served.until(lambda: sentence in served.page())
    assert 'id="leaves"' in served.page()
    served.edit(template)
    served.until(lambda: 'role="alert"' not in served.page())
    assert served.told("UndefinedError") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the children are read from /proc")
def test_ctrl_c_ends_with_0_after_stopped_and_leaves_no_child_and_no_directory(tmp_path):
    (copied(tmp_path) / "imperative" / "leaves.py").write_text("import time\n\ntime.sleep(1e6)\n")
    (tmp_path / "temporary").mkdir()
    served = Served(tmp_path, "leaves", TMPDIR=str(tmp_path / "temporary"))
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    served.until(lambda: served.told("Serving") and children.read_text().split())
    [child] = map(int, children.read_text().split())
    assert "Still to run: leaves." in served.page()
    os.killpg(served.process.pid, signal.SIGINT)  # as a terminal does
    try:
        assert served.process.wait(PATIENCE) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        for process in (child, served.process.pid):
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        served.process.wait()
    assert served.told() == f"Serving {served.url}; Ctrl-C ends.\nStopped.\n"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_port_in_use_is_one_sentence_with_the_remedy_and_2(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "compare", "serve", "leaves", "--port", str(port)]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"gradtwin: cannot serve on port {port}: address already in use; choose another one with --port.\n"
    )


@pytest.fixture
def serving(command):
    """The command up to where it would serve; returns its code and what it said."""

    def call(*arguments):
        answer = command("serve", *arguments)
        return answer.code, answer.err

    return call


def test_an_unknown_scenario_is_one_sentence_with_the_nearest_and_2(serving):
    code, said = serving("leaves", "chain_rul")
    assert code == 2
    assert "'chain_rule'" in said
    assert said.count("\n") == 1


def test_without_livereload_one_sentence_says_what_brings_it_and_2(serving, monkeypatch):
    monkeypatch.setitem(sys.modules, "livereload", None)
    assert serving("leaves") == (
        2,
        "gradtwin: livereload is not installed: `pip install 'gradtwin[teach]'` brings it.\n",
    )


def test_a_directory_that_holds_something_is_refused_and_left_alone(serving, tmp_path):
    (tmp_path / "leaves").mkdir()
    code, said = serving("leaves", "-o", str(tmp_path))
    assert (code, said) == (
        2,
        f"gradtwin: {tmp_path} is not empty. Choose another directory with -o.\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["leaves"]


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("imperative/leaves.py", {"leaves"}),
        ("functional/sine_network.py", {"sine_network"}),
        ("scenarios/leaves.py", {"leaves"}),
        ("scenarios/sine_network.py", {"sine_network", "three_neurons"}),  # whose data the other takes
        ("scenarios/types.py", set(NAMES)),
        ("scenarios/start/sine_network.json", set(NAMES)),
        ("imperative/arrays.py", set(NAMES)),
        ("functional/__init__.py", set(NAMES)),
        ("compare/templates/chapters/leaves.jinja", set()),
    ],
)
def test_a_file_touches_the_scenarios_that_it_could_change(file, touched):
    sources = serve._Sources()
    assert ROOT / file in sources.seen()
    assert sources.touched(ROOT / file, NAMES) == touched


def test_of_the_chosen_scenarios_one_that_a_file_is_no_part_of_is_not_touched():
    assert serve._Sources().touched(ROOT / "imperative" / "chain_rule.py", ["leaves"]) == set()


def test_a_scenario_that_failed_runs_again_when_the_file_of_another_is_mended(tmp_path):
    said = []
    page = serve._Page(["leaves", "chain_rule"], tmp_path, said.append)
    page.due.clear()
    page.miss("leaves", "imperative/root_finding.py, line 1: SyntaxError: invalid syntax.")
    page.take({ROOT / "imperative" / "root_finding.py"})
    assert page.due == ["leaves"]
    assert said[-1] == "imperative/root_finding.py changed: running leaves."


def test_what_is_saved_little_by_little_is_taken_together_once_nothing_more_changes(tmp_path, monkeypatch):
    page, taken = serve._Page(["leaves"], tmp_path, lambda _: None), []
    looks = [{"a": 1}, {"a": 2}, {"a": 2, "b": 1}, {"b": 1}, {"b": 1}, {"b": 1}]
    page.seen, page.sources.seen, page.take = looks.pop(0), lambda: looks.pop(0), taken.append
    monkeypatch.setattr(serve, "INTERVAL", 0)
    with pytest.raises(IndexError):  # there is no further look
        asyncio.run(page.watch())
    assert taken == [{"a", "b"}]


@pytest.mark.parametrize(("running", "times"), [("leaves", 1), ("chain_rule", 0)])
def test_a_change_ends_the_run_that_it_outdates_and_no_other(tmp_path, running, times):
    page, ended = serve._Page(["leaves", "chain_rule"], tmp_path, lambda _: None), []
    page.running, page.end_child = running, lambda: ended.append(running)
    page.take({ROOT / "imperative" / "leaves.py"})
    assert len(ended) == times


def test_what_changed_last_runs_first(tmp_path):
    page = serve._Page(["leaves", "graph_walk", "chain_rule"], tmp_path, lambda _: None)
    page.take({ROOT / "imperative" / "chain_rule.py"})
    assert page.due == ["chain_rule", "leaves", "graph_walk"]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("a warning\ngradtwin: no such device.\n", "leaves: no such device."),
        (
            "I0000 a framework says hello\n"
            "Traceback (most recent call last):\n"
            f'  File "{ROOT}/imperative/leaves.py", line 9, in <module>\n'
            "    wrong()\n"
            '  File "/elsewhere/torch.py", line 3, in wrong\n'
            "    raise ValueError\n"
            "ValueError: this\n"
            "and that\n",
            "imperative/leaves.py, line 9: ValueError: this.",
        ),
    ],
)
def test_a_traceback_becomes_a_sentence_with_the_last_file_that_is_watched(told, sentence):
    assert serve._Sources().sentence(told, "leaves") == sentence
