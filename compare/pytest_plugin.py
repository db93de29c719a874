"""The plugin of pytest: a fixture that holds a pair to agreeing, and a report of all that was checked.

Every pytest loads it, wherever gradtwin is installed: no framework is imported before a test asks for one.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from compare.port.check import PairVerdict

_OPTION = "--gradtwin-report"
_DTYPES = ("float32", "float64", "both")
_DEVICES = ("auto", "cpu", "gpu")
_CHECKS = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the report's option."""
    parser.getgroup("gradtwin").addoption(
        _OPTION, metavar="FILE", help="Write every check of the session to FILE, as .json or .md."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the report if one is asked for.

    Raises:
        pytest.UsageError: it cannot be written.
    """
    config.addinivalue_line(
        "markers", "gradtwin_dtype(dtype): 'float32', 'float64' (by default) or 'both', to judge pairs in."
    )
    config.addinivalue_line(
        "markers", "gradtwin_device(device): 'cpu' (by default), 'gpu' or 'auto'; skipped if there is none."
    )
    given = config.getoption(_OPTION)
    if given and not hasattr(config, "workerinput"):  # of several processes one writes
        config.pluginmanager.register(Report(Path(given)), "gradtwin-report")


@pytest.fixture
def gradtwin(request: pytest.FixtureRequest) -> "Checker":
    """Holds a pair to agreeing: ``gradtwin.check(torch_fn, jax_fn, params, args)``."""
    dtype = _marked(request.node, "gradtwin_dtype", _DTYPES) or "float64"
    device = _marked(request.node, "gradtwin_device", _DEVICES) or "cpu"
    if device != "cpu":
        from compare import twins
        from scenarios import UnavailableError

        try:
            device = twins.resolve(device)  # type: ignore[arg-type]  # it is one of them
        except UnavailableError as error:
            pytest.skip(str(error))
    return Checker(request.node, dtype, device)


class Checker:
    """What the fixture ``gradtwin`` is.

    Attributes:
        dtype: to judge in; ``both`` is one after the other.
        device: to run on.
    """

    def __init__(self, node: pytest.Item, dtype: str, device: str) -> None:
        self.dtype, self.device, self._node = dtype, device, node

    def check(
        self,
        torch_fn: object,
        jax_fn: object,
        params: Mapping[str, Any] | None = None,
        args: Sequence[Any] = (),
        **options: Any,  # noqa: ANN401  # those of compare.check
    ) -> "PairVerdict":
        """Judge a pair as :func:`compare.check` does; the test fails, with where they part, if it differs.

        Args:
            torch_fn: the imperative side.
            jax_fn: the functional one.
            params: of the imperative side, by name.
            args: of both.
            options: the others of :func:`compare.check`; ``dtype`` can be ``both`` too.

        Raises:
            Exception: whatever a side raises, or what :func:`compare.check` does.
        """
        __tracebackhide__ = True
        from compare.port import describe
        from compare.port.check import Pair

        dtype, locate = options.pop("dtype", self.dtype), options.pop("locate", True)
        if dtype not in _DTYPES:
            _fail(f"no dtype is called {dtype!r}: choose from {', '.join(_DTYPES)}.")
        try:
            pair = Pair(torch_fn, jax_fn, params, args, **{"device": self.device, **options})
            for one in ("float64", "float32") if dtype == "both" else (dtype,):
                verdict = pair.verdict(one, locate=locate)
                said = describe.text(verdict)
                self._note(one, said, **describe.document(verdict))
                if not verdict.agrees:
                    pytest.fail(f"{one}: {said}" if dtype == "both" else said)
        except Exception as error:
            said = describe.exception(error)
            self._note(dtype, said, word="raised", sentence=said, faults=[])
            describe.trim(error)
            raise
        return verdict

    def _note(self, dtype: str, said: str, **found: Any) -> None:  # noqa: ANN401  # of a document
        kept = {name: found[name] for name in ("word", "sentence", "faults")}
        checks = self._node.stash.setdefault(_CHECKS, [])
        checks.append({"test": self._node.nodeid, "dtype": dtype, **kept, "text": said})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand what was checked to the report, which another process may have to read."""
    report = yield
    checks = item.stash.get(_CHECKS, [])
    if checks and item.config.getoption(_OPTION):
        report.gradtwin = checks  # type: ignore[attr-defined]  # a report takes what it is given along
        item.stash[_CHECKS] = []
    return report


class Report:
    """Gathers the checks of a session, of whatever process, and writes them."""

    def __init__(self, path: Path) -> None:
        """Make sure that the file can be written.

        Raises:
            pytest.UsageError: it cannot, or is to be neither JSON nor Markdown.
        """
        self.path, self.checks = path.absolute(), list[dict[str, Any]]()
        if path.suffix not in _RENDERERS:
            raise pytest.UsageError(f"{_OPTION}={path}: name a file that ends in .json or .md.")
        there = self.path.exists()
        try:
            self.path.open("a").close()
        except OSError as error:
            raise pytest.UsageError(
                f"{_OPTION}={path}: cannot be written ({error.strerror}); name another file."
            ) from error
        if not there:
            self.path.unlink()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test has checked."""
        self.checks += getattr(report, "gradtwin", [])

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        try:
            self.path.write_text(_RENDERERS[self.path.suffix](self.checks), "utf-8")
        except OSError as error:
            pytest.exit(f"{_OPTION}={self.path}: cannot be written ({error.strerror}).", returncode=4)

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """Say where it is."""
        terminalreporter.write_line(f"gradtwin: {len(self.checks)} checks are in {self.path}.")


def _json(checks: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"checks": checks}, indent=2, ensure_ascii=False) + "\n"


def _markdown(checks: Sequence[Mapping[str, Any]]) -> str:
    """A table of all checks, then what is said of those that do not agree."""
    rows = [f"| `{check['test']}` | {check['dtype']} | {check['word']} |" for check in checks]
    table = ["| test | dtype | verdict |", "|---|---|---|", *rows]
    told = [
        f"\n## `{check['test']}` ({check['dtype']})\n\n````text\n{check['text']}\n````"
        for check in checks
        if check["word"] not in {"identical", "rounding"}
    ]
    return "\n".join(["# gradtwin", "", *table, *told]) + "\n"


_RENDERERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {".json": _json, ".md": _markdown}


def _marked(node: pytest.Item, name: str, options: Sequence[str]) -> str:
    """What a marker says; empty if the test has none."""
    marker = node.get_closest_marker(name)
    if marker is None:
        return ""
    if len(marker.args) != 1 or marker.args[0] not in options:
        given = ", ".join(map(repr, marker.args))
        _fail(f"the marker {name}({given}) takes one of {', '.join(map(repr, options))}.")
    return str(marker.args[0])


def _fail(message: str) -> NoReturn:
    pytest.fail(message, pytrace=False)
