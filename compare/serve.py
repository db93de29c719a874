"""A page that follows the twins while they are edited: it watches their files, runs, renders and reloads.

Every scenario runs in a process of its own, because a changed module has to be imported anew. The page is
made of the last run of each that could be read; what hinders a newer one is said at its top.

Livereload serves the page and tells the browser. Its own watcher is left alone: it runs what it is given on
the loop that serves, reloads before a new page is there, and then ignores what changes within three seconds.
"""

import ast
import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from html import escape
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import scenarios
from compare import lesson
from compare.lesson import Lesson
from compare.record import Run, UnreadableRunError, UnwritableRunError, read
from compare.report import RENDERERS
from compare.words import word

HOST = "127.0.0.1"

#: Seconds between two looks at the files; what is saved between two of them is taken together.
INTERVAL = 0.3

_PACKAGES = ("scenarios", "imperative", "functional")
_READABLE = {0, 1, 3}  # what `gradtwin run` ends with once every record is saved
_WATCHED = (".py", ".json", ".jinja", ".css", ".js")
_FRAME = re.compile(r'\s*File "(.+)", line (\d+)')
# The twins are loaded first: `gradtwin` alone would not say which file imports what is not there.
_RUN = "import sys; from compare import cli, twins; twins.load(sys.argv[2]); cli.main()"
_BODY = re.compile(rb"<body[^>]*>")
_EMPTY = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>PyTorch and JAX, compared</title>
<style>:root { color-scheme: light dark; }</style></head>
<body><main><h1>PyTorch and JAX, compared</h1></main></body>
</html>
"""
_ALERT = (
    "position: sticky; top: 0; z-index: 9; padding: .1rem 1rem; font-weight: 600; "
    "background: light-dark(#b00020, #ff8f8f); color: light-dark(#fff, #16181d)"
)


class ServingError(ValueError):
    """A port that cannot be served on; the message names it and the remedy."""


def serve(
    names: Sequence[str],
    port: int,
    directory: Path | None,
    *,
    open_page: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the page of these scenarios until Ctrl-C, and keep it up to date.

    Args:
        names: of scenarios that exist, in the order of the page.
        port: of this machine, which alone can reach it.
        directory: keeps the last run of every scenario, and the page in ``site``; None for a temporary one.
        open_page: in the browser.
        say: tells whoever started it what happens.

    Raises:
        ModuleNotFoundError: livereload is not installed.
        ServingError: the port cannot be served on.
        UnwritableRunError: the directory is not empty, or cannot be written.
    """
    import livereload  # type: ignore[import-untyped]  # noqa: F401, PLC0415  # optional

    with _place(directory) as place:
        try:
            asyncio.run(_until_stopped(_Page(names, place, say), port, open_page=open_page))
        except OSError as error:
            raise UnwritableRunError(f"cannot write to {place}: {error.strerror}.") from error


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="gradtwin-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        filled = any(directory.iterdir())
    except OSError as error:
        raise UnwritableRunError(f"cannot write to {directory}: {error.strerror}.") from error
    if filled:
        raise UnwritableRunError(f"{directory} is not empty.")  # what is in it would be replaced
    yield directory


async def _until_stopped(page: "_Page", port: int, *, open_page: bool) -> None:
    """Serve, watch, run and render beside each other, until a signal comes or one of them fails."""
    from livereload import Server  # noqa: PLC0415  # optional
    from livereload.handlers import (  # type: ignore[import-untyped]  # noqa: PLC0415  # optional
        LiveReloadHandler,
    )

    stopped = _on_interrupt(page)
    for logger in ("livereload", "tornado"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # a browser asks for an icon: 404
    page.write(page.html({}, {}))
    server = Server()
    server.root, server.default_filename = str(page.site), "index.html"
    server.setHeader("Cache-Control", "no-store")  # else a browser may show an old page when it comes back
    try:
        server.application(port, HOST)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ServingError(f"cannot serve on port {port}: {why}; choose another one with --port.") from error
    url = f"http://{HOST}:{port}/"
    page.say(f"Serving {url}; Ctrl-C ends.")
    if open_page:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # some browsers block

    def reload() -> None:
        LiveReloadHandler.reload_waiters("*")

    work = (stopped.wait(), page.watch(), page.run_due(), page.render_stale(reload))
    tasks: list[asyncio.Task[object]] = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:  # first, or one of them would take the end of the child for a failure
            task.cancel()
        page.end_child()
        await asyncio.gather(*tasks, return_exceptions=True)


def _on_interrupt(page: "_Page") -> asyncio.Event:
    """The event that the first Ctrl-C sets; the second ends at once."""
    loop, stopped, asked = asyncio.get_running_loop(), asyncio.Event(), False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            page.end_child()
            os._exit(128 + number)
        asked = True
        loop.call_soon_threadsafe(stopped.set)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stopped


class _Sources:
    """The files that a page is made from, where they are really imported from."""

    def __init__(self) -> None:
        self.packages = {package: _located(package) for package in _PACKAGES}
        self.compare = _located("compare")
        self.templates = self.compare / "templates"

    def seen(self) -> Mapping[Path, tuple[int, int]]:
        """By file, when it was changed and how long it is."""
        found = {}
        for place in (*self.packages.values(), self.templates):
            for folder, _, files in os.walk(place):
                for path in (Path(folder, file) for file in files if file.endswith(_WATCHED)):
                    with suppress(OSError):  # an editor is just replacing it
                        stat = path.stat()
                        found[path] = stat.st_mtime_ns, stat.st_size
        return found

    def is_template(self, path: Path) -> bool:
        """Whether it changes how the page looks and not what runs."""
        return path.is_relative_to(self.templates)

    def touched(self, path: Path, names: Sequence[str]) -> set[str]:
        """Which of the scenarios run otherwise if the file changes."""
        if self.is_template(path):
            return set()
        for package, place in self.packages.items():
            if path.parent == place and path.stem in {statement.name for statement in scenarios.ALL}:
                return {name for name in names if path.stem in {name, *self._borrowed(package, name)}}
        return set(names)

    def _borrowed(self, package: str, name: str) -> Iterator[str]:
        """The modules of its own package that a scenario's module imports."""
        with suppress(OSError, SyntaxError, ValueError):  # then it cannot run either
            for node in ast.walk(ast.parse((self.packages[package] / f"{name}.py").read_bytes())):
                if isinstance(node, ast.ImportFrom) and node.module == package:
                    yield from (alias.name for alias in node.names)

    def name(self, path: Path) -> str:
        """A file as one speaks of it: ``imperative/leaves.py``."""
        for place in (*self.packages.values(), self.compare):
            if path.is_relative_to(place):
                return path.relative_to(place.parent).as_posix()
        return ""

    def sentence(self, told: str, otherwise: str) -> str:
        """What a process said last, in one sentence with the last of these files that its traceback names.

        Args:
            told: what it said.
            otherwise: stands for the file where none is named.
        """
        where, what, in_traceback = otherwise, "", False
        for line in told.splitlines():
            if frame := _FRAME.match(line):
                in_traceback, what = True, ""
                if name := self.name(Path(frame[1])):
                    where = f"{name}, line {frame[2]}"
            elif line.strip() and not (in_traceback and (what or line[0].isspace())):
                what = line.removeprefix("gradtwin: ").strip()
        return f"{where}: {what.rstrip('.')}."

    def command(self, name: str, directory: Path) -> tuple[list[str], dict[str, str]]:
        """How a process runs the scenario from these very files, and its environment."""
        roots = dict.fromkeys(str(place.parent) for place in (self.compare, *self.packages.values()))
        paths = [*roots, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}
        return [sys.executable, "-P", "-c", _RUN, "run", name, "-o", str(directory)], environment


def _located(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name=package)
    return Path(spec.submodule_search_locations[0]).absolute()


class _Page:
    """The page, what it is made of, and what has to run before it is up to date."""

    def __init__(self, names: Sequence[str], directory: Path, say: Callable[[str], None]) -> None:
        self.names, self.directory, self.say = tuple(names), directory, say
        self.site = directory / "site"
        self.site.mkdir()
        self.sources = _Sources()
        self.seen = self.sources.seen()  # before anything runs, lest a change be missed
        self.runs: dict[str, Run] = {}
        self.lessons: dict[str, Lesson] = {}
        self.rendered = _EMPTY
        self.broken: dict[str, str] = {}  # by scenario, why its last run cannot be shown
        self.unrendered = ""  # why the page cannot be rendered
        self.due, self.is_due, self.is_stale = list(names), asyncio.Event(), asyncio.Event()
        self.is_due.set()
        self.running = ""
        self.child: subprocess.Popen[str] | None = None

    async def watch(self) -> None:
        """Look at the files again and again; take what changed once nothing more does."""
        changed: set[Path] = set()
        while True:
            await asyncio.sleep(INTERVAL)
            seen, before = self.sources.seen(), self.seen
            fresh = {path for path in {*seen, *before} if seen.get(path) != before.get(path)}
            self.seen = seen
            changed |= fresh
            if changed and not fresh:
                self.take(changed)
                changed = set()

    def take(self, changed: set[Path]) -> None:
        """Let run and render what these files change, the latest change first."""
        again = {name for path in changed for name in self.sources.touched(path, self.names)}
        templates = {path for path in changed if self.sources.is_template(path)}
        if changed - templates:
            again |= set(self.broken)  # by a file that concerns another scenario, perhaps
        first = [name for name in self.names if name in again]
        doing = f"running {', '.join(first)}" if first else "rendering" if templates else "nothing to run"
        self.say(f"{', '.join(sorted(map(self.sources.name, changed)))} changed: {doing}.")
        if templates:
            self.is_stale.set()
        self.due = [*first, *(name for name in self.due if name not in again)]
        self.is_due.set()
        if self.running in again:
            self.end_child()

    async def run_due(self) -> None:
        """Run what is due, one scenario after the other: side by side they would spoil their timings."""
        while True:
            await self.is_due.wait()
            while self.due:
                await self.run(self.due.pop(0))
            self.is_due.clear()

    async def run(self, name: str) -> None:
        """Run a scenario; what is kept of it is replaced only by a run that can be read."""
        new, kept = self.directory / f"{name}.new", self.directory / name
        command, environment = self.sources.command(name, new)
        child = self.child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a Ctrl-C of the terminal is for this process alone
        )
        self.running = name
        _, told = await asyncio.to_thread(child.communicate)
        self.running, self.child = "", None
        if name not in self.due:  # else its files changed meanwhile
            if child.returncode < 0 or not told.strip():
                told = f"the run ended with code {child.returncode}"
            try:
                run, lessons = await asyncio.to_thread(_finished, new, child.returncode)
            except _UnfinishedError:
                self.miss(name, self.sources.sentence(told, name))
            except UnreadableRunError as error:
                self.miss(name, f"{name}: {error}")
            else:
                shutil.rmtree(kept, ignore_errors=True)
                new.rename(kept)
                self.runs[name] = run
                self.lessons |= lessons
                self.broken.pop(name, None)
                self.say(f"{name}: {', '.join(dict.fromkeys(map(word, run.records)))}.")
            self.is_stale.set()
        shutil.rmtree(new, ignore_errors=True)

    def miss(self, name: str, why: str) -> None:
        """Keep in mind why a scenario cannot be shown as it is now; what concerns several is said once."""
        if why not in self.broken.values():
            self.say(why)
        self.broken[name] = why

    def end_child(self) -> None:
        """End what runs now, and all that it started."""
        if self.child is not None and self.child.poll() is None:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(self.child.pid, signal.SIGKILL)
                else:
                    self.child.kill()

    async def render_stale(self, reload: Callable[[], None]) -> None:
        """Render the page whenever something of it changed, and have the browsers reload it."""
        while True:
            await self.is_stale.wait()
            self.is_stale.clear()
            before = self.unrendered
            page = await asyncio.to_thread(self.html, dict(self.runs), dict(self.lessons))
            if self.unrendered not in {"", before}:
                self.say(self.unrendered)
            self.write(page)
            reload()

    def html(self, runs: Mapping[str, Run], lessons: Mapping[str, Lesson]) -> bytes:
        """The page of these runs, or the last one that could be rendered; at its top, what hinders."""
        if runs:
            try:
                self.rendered = RENDERERS["html"](_merged(self.names, runs), (), None, lessons)
                self.unrendered = ""
            except Exception as error:  # noqa: BLE001  # whatever a template raises is said on the page
                told = "".join(traceback.format_exception(error))
                self.unrendered = self.sources.sentence(told, "compare/templates")
        notices = self.notices(runs)
        return _BODY.sub(lambda found: found[0] + notices, self.rendered, count=1)

    def notices(self, runs: Mapping[str, Run]) -> bytes:
        """What hinders a newer page, and what is not on it yet."""
        hindrances = [why for why in dict.fromkeys((*self.broken.values(), self.unrendered)) if why]
        to_come = [name for name in self.names if name not in runs and name not in self.broken]
        text = ""
        if hindrances:
            if runs:
                hindrances.append("Until this is mended, the page shows what ran last.")
            paragraphs = "".join(f"<p>{escape(why)}</p>" for why in hindrances)
            text += f'<div role="alert" style="{_ALERT}">{paragraphs}</div>'
        if to_come:
            text += f'<p role="status">Still to run: {escape(", ".join(to_come))}.</p>'
        return text.encode()

    def write(self, page: bytes) -> None:
        """Replace the page that is served, as a whole."""
        draft = self.directory / "index.html.new"
        draft.write_bytes(page)
        draft.replace(self.site / "index.html")


class _UnfinishedError(Exception):
    """A process ended before it had saved every record."""


def _finished(directory: Path, code: int) -> tuple[Run, Mapping[str, Lesson]]:
    """The run that a process saved before it ended with ``code``, and its lessons.

    Raises:
        _UnfinishedError: it did not save everything.
        UnreadableRunError: what it saved cannot be read.
    """
    if code not in _READABLE or not (directory / "run.json").exists() or (run := read(directory)).missing:
        raise _UnfinishedError
    return run, lesson.load(directory)


def _merged(names: Sequence[str], runs: Mapping[str, Run]) -> Run:
    """One run of all scenarios that ran, in the order of their names and the environment of the latest."""
    ran = tuple(name for name in names if name in runs)
    latest = max((run.environment for run in runs.values()), key=lambda environment: environment.started)
    return Run(replace(latest, scenarios=ran), tuple(record for name in ran for record in runs[name].records))
