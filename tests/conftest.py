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

pytest_plugins = ["pytester"]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
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


@pytest.fixture
def said():
    """What could be said of a pair, by its word: quantities that differ, or places where its sides part."""
    import numpy as np

    from compare.judge import Finding, Verdict
    from compare.port.check import PairVerdict
    from compare.port.locate import Fault, Site
    from compare.port.mapping import Leftover, Map, Piece
    from scenarios.trace import Source

    place = str(Path("net.py").absolute())
    left = Site("addmm", "", Source(place, 7), ("Net", "fc"), (2, 3), "float64")
    right = Site("dot_general", "", Source(place, 9), (), (2, 3), "float64")
    given = Site("", "args[0]", Source(), (), (2, 4), "float64")
    ones = np.ones((2, 3))
    by = Map(
        {"imperative": {"w": (3,)}, "functional": {"w": (3,)}}, (Piece("w", "w", (0,), evidence="only"),)
    )
    doubtful = Map(
        {"imperative": {"u": (2, 2)}, "functional": {"v": (2, 2), "more": (5,)}},
        (Piece("u", "v", (1, 0), evidence="guessed by convention"),),
        {"imperative": (), "functional": (Leftover("more", "nothing has its size"),)},
        notes=("No name says anything.",),
    )

    def fault(**changed):
        kinds = {"kind": "another value", "phase": "forward", "imperative": left, "functional": right}
        sizes = {"local": 0.5, "accumulated": 0.75, "scale": 2.0, "left": ones, "right": ones}
        rest = {"region": {}, "ancestors": ((given, given),), "ends": {}}
        return Fault(**{**kinds, **sizes, **rest, **changed})

    def verdict(word, *faults, doubt=False, apart=0.5, notes=()):
        finding = Finding(
            "values.output", word, *map(np.float64, (apart, 2.0, 1e15, 1e-12, 1e-13)), where=(1,)
        )
        judged = Verdict(word, (finding,), (), None, (), (), (), ())
        return PairVerdict(judged, doubtful if doubt else by, faults, notes=notes)

    return SimpleNamespace(verdict=verdict, fault=fault, site=given)
