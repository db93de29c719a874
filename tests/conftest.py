"""Checks every annotated shape and type of the twins while the tests run; makes what several files share."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jaxtyping import install_import_hook

# The test processes share the cores; each library would otherwise start a thread on every one of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook(["scenarios", "imperative", "functional"], "beartype.beartype")


@pytest.fixture
def gradtwin(tmp_path, monkeypatch, capsys):
    """Run the command in an empty directory; returns its code, standard output and standard error."""
    from compare import cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gradtwin", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGINT, handler)
        return SimpleNamespace(code=ended.value.code or 0, **capsys.readouterr()._asdict())

    return call


@pytest.fixture(scope="session")
def run():
    """All scenarios in float64, run here and now."""
    import compare
    import scenarios
    from compare.record import Environment, Run

    names = tuple(statement.name for statement in scenarios.ALL)
    environment = Environment(
        schema_version=1,
        started="2026-01-30T12:00:00+00:00",
        versions={"torch": "2"},
        machine={"cores": "2"},
        sides={"functional": {"device": "cpu"}},
        scenarios=names,
        dtypes=("float64",),
        device="cpu",
    )
    return Run(environment, compare.run(names, dtypes=["float64"], every=10))


@pytest.fixture(scope="session")
def page(run):
    """The whole page of that run, with all that can stand beside it."""
    from compare import lesson, mutants
    from compare.report import RENDERERS
    from compare.timing import saved

    kept = Path(__file__).parents[1] / "benchmarks" / "results"
    lessons = {name: lesson.gather(name) for name in run.environment.scenarios}
    return RENDERERS["html"](run, mutants.load(kept), saved.load(kept), lessons).decode()
