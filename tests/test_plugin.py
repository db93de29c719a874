"""The plugin of pytest, in sessions of its own: what passes, what fails in which words, and the report."""

import json
import subprocess
import sys

import numpy as np
import pytest

import compare.port.check
import compare.port.describe  # what an inner session imports does not stay
import scenarios

#: Without what takes a second to load, or writes.
QUIET = ("-p", "no:cacheprovider", "-p", "no:jaxtyping", "-p", "no:hypothesispytest")


class Stand:
    """Stands in for every pair: keeps what it is given, and says what the functional side is told to."""

    given = ()

    def __init__(self, imperative, functional, params, args, **options):
        if isinstance(functional, Exception):
            raise functional
        Stand.given = (imperative, functional, params, args, options)
        self.functional = functional() if callable(functional) else functional

    def verdict(self, dtype, *, locate):
        Stand.given = (*Stand.given, dtype, locate)
        return self.functional[dtype] if isinstance(self.functional, dict) else self.functional


@pytest.fixture
def session(pytester, monkeypatch, said):
    """Run these tests in a session of their own, in which every pair is a stand-in."""
    monkeypatch.setattr(compare.port.check, "Pair", Stand)
    monkeypatch.setattr("builtins.said", said, raising=False)

    def run(source, *options):
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*QUIET, "-p", "no:xdist", *options)

    return run


def test_importing_the_plugin_loads_no_framework_and_no_numpy():
    strangers = {
        "torch",
        "jax",
        "jaxlib",
        "optax",
        "numpy",
        "scenarios",
        "imperative",
        "functional",
        "compare.port",
    }
    code = f"import compare.pytest_plugin, sys; print(*sorted(set(sys.modules) & {strangers!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_a_session_that_asks_for_no_pair_loads_no_framework(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            assert "compare.pytest_plugin" in sys.modules
            assert not {"torch", "jax", "numpy", "scenarios"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


def test_a_pair_that_agrees_passes_and_is_handed_back(session):
    session(
        """
        def test_pair(gradtwin):
            verdict = gradtwin.check("left", said.verdict("rounding"), {"w": 1}, (2,), loss=("a", "b"))
            assert verdict.agrees
        """
    ).assert_outcomes(passed=1)
    left, _, params, args, options, *asked = Stand.given
    assert (left, params, args) == ("left", {"w": 1}, (2,))
    assert options == {"device": "cpu", "loss": ("a", "b")}
    assert asked == ["float64", True]


@pytest.mark.parametrize("word", ["different", "vacuous", "undecided"])
def test_a_pair_that_does_not_agree_fails_with_what_is_said_and_no_line_of_ours(session, word):
    result = session(
        f"""
        def test_pair(gradtwin):
            gradtwin.check("left", said.verdict("{word}", said.fault()))
        """
    )
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert f"E       Failed: {word}: " in said
    assert '>       gradtwin.check("left"' in said
    assert "1. forward, another value: both sides compute this, and differently" in said
    assert "pytest_plugin.py" not in said


def test_both_dtypes_are_judged_and_the_one_that_differs_is_named(session):
    result = session(
        """
        import pytest

        @pytest.mark.gradtwin_dtype("both")
        def test_pair(gradtwin):
            words = {"float64": "rounding", "float32": "different"}
            gradtwin.check("left", {dtype: said.verdict(word) for dtype, word in words.items()})

        @pytest.mark.gradtwin_dtype("float32")
        def test_marked(gradtwin):
            gradtwin.check("left", {"float32": said.verdict("identical")}, locate=False)

        def test_asked(gradtwin):
            gradtwin.check("left", {"float32": said.verdict("identical")}, dtype="float32", device="gpu")
        """
    )
    result.assert_outcomes(passed=2, failed=1)
    assert "Failed: float32: different: " in result.stdout.str()
    assert Stand.given[4:] == ({"device": "gpu"}, "float32", True)


def test_a_device_that_there_is_not_skips_with_the_reason(session, monkeypatch):
    def none(device):
        raise scenarios.UnavailableError("JAX sees no GPU on this machine.")

    monkeypatch.setattr("compare.twins.resolve", none)
    result = session(
        """
        import pytest

        @pytest.mark.gradtwin_device("gpu")
        def test_pair(gradtwin):
            gradtwin.check("left", said.verdict("different"))

        @pytest.mark.gradtwin_device("cpu")
        def test_elsewhere(gradtwin):
            gradtwin.check("left", said.verdict("identical"))
        """,
        "-rs",
    )
    result.assert_outcomes(passed=1, skipped=1)
    assert "JAX sees no GPU on this machine." in result.stdout.str()


def test_a_device_that_there_is_reaches_the_pair(session, monkeypatch):
    monkeypatch.setattr("compare.twins.resolve", lambda device: {"auto": "gpu"}[device])
    session(
        """
        import pytest

        @pytest.mark.gradtwin_device("auto")
        def test_pair(gradtwin):
            gradtwin.check("left", said.verdict("identical"))
        """
    ).assert_outcomes(passed=1)
    assert Stand.given[4] == {"device": "gpu"}


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("gradtwin_dtype('float16')", "gradtwin_dtype('float16') takes one of 'float32', 'float64', 'both'."),
        ("gradtwin_dtype", "gradtwin_dtype() takes one of 'float32', 'float64', 'both'."),
        ("gradtwin_device('tpu')", "gradtwin_device('tpu') takes one of 'auto', 'cpu', 'gpu'."),
    ],
)
def test_a_marker_that_says_nothing_is_an_error_with_its_remedy(session, marker, sentence):
    result = session(f"import pytest\n\n\n@pytest.mark.{marker}\ndef test_pair(gradtwin):\n    pass\n")
    result.assert_outcomes(errors=1)
    assert f"the marker {sentence}" in result.stdout.str()


def test_a_dtype_that_there_is_not_fails_in_one_sentence(session):
    result = session("def test_pair(gradtwin):\n    gradtwin.check('left', 'right', dtype='float16')\n")
    result.assert_outcomes(failed=1)
    assert "no dtype is called 'float16': choose from float32, float64, both." in result.stdout.str()


def test_the_markers_are_registered(session):
    result = session(
        "import pytest\n\n\n@pytest.mark.gradtwin_dtype('both')\ndef test_it(): pass\n", "--strict-markers"
    )
    result.assert_outcomes(passed=1)
    listed = session("", "--markers").stdout.str()
    assert "@pytest.mark.gradtwin_dtype(dtype): " in listed
    assert "@pytest.mark.gradtwin_device(device): " in listed


def test_what_a_side_raises_is_shown_with_the_lines_of_the_user_alone(session):
    result = session(
        """
        def lacking():
            raise FloatingPointError("no number is left")

        def right():
            return lacking()

        def test_pair(gradtwin):
            gradtwin.check("left", right)
        """
    )
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert "E       FloatingPointError: no number is left" in said
    assert [line.strip() for line in said.splitlines() if line.startswith((">", "    return"))] == [
        '>       gradtwin.check("left", right)',
        "return lacking()",
        '>       raise FloatingPointError("no number is left")',
    ]
    assert "pytest_plugin.py" not in said


CHECKS = """
def test_one(gradtwin):
    gradtwin.check("left", said.verdict("identical"))
    gradtwin.check("left", said.verdict("rounding"), dtype="float32")

def test_two(gradtwin):
    gradtwin.check("left", said.verdict("different", said.fault(local=float("inf"))))

def test_three(gradtwin):
    gradtwin.check("left", ValueError("no such thing."))

def test_none():
    pass
"""


def test_the_report_has_every_check_of_the_session(session, pytester):
    result = session(CHECKS, "--gradtwin-report=all.json")
    result.assert_outcomes(passed=2, failed=2)
    assert f"gradtwin: 4 checks are in {pytester.path / 'all.json'}." in result.stdout.str()
    checks = json.loads((pytester.path / "all.json").read_text("utf-8"))["checks"]
    assert [(check["test"].partition("::")[2], check["dtype"], check["word"]) for check in checks] == [
        ("test_one", "float64", "identical"),
        ("test_one", "float32", "rounding"),
        ("test_two", "float64", "different"),
        ("test_three", "float64", "raised"),
    ]
    [fault] = checks[2]["faults"]
    assert (fault["kind"], fault["local"]) == ("another value", "inf")
    assert checks[3]["sentence"] == "ValueError: no such thing"
    assert checks[2]["text"].startswith("different: They differ: ")


def test_the_report_in_markdown_shows_what_does_not_agree(session, pytester):
    session(CHECKS, "--gradtwin-report", "all.md")
    lines = (pytester.path / "all.md").read_text("utf-8").splitlines()
    assert lines[:4] == ["# gradtwin", "", "| test | dtype | verdict |", "|---|---|---|"]
    assert [line.split(" | ")[1:] for line in lines[4:8]] == [
        ["float64", "identical |"],
        ["float32", "rounding |"],
        ["float64", "different |"],
        ["float64", "raised |"],
    ]
    assert [line.partition("::")[2] for line in lines if line.startswith("## ")] == [
        "test_two` (float64)",
        "test_three` (float64)",
    ]
    assert "1. forward, another value: both sides compute this, and differently" in lines


def test_a_check_in_a_fixture_is_reported_too(session, pytester):
    source = """
    import pytest

    @pytest.fixture
    def early(gradtwin):
        gradtwin.check("left", said.verdict("identical"))
        yield
        gradtwin.check("left", said.verdict("rounding"))

    def test_it(early):
        pass
    """
    session(source, "--gradtwin-report=all.json").assert_outcomes(passed=1)
    checks = json.loads((pytester.path / "all.json").read_text("utf-8"))["checks"]
    assert [check["word"] for check in checks] == ["identical", "rounding"]


def test_a_session_without_a_pair_reports_none(session, pytester):
    session("def test_it(): pass\n", "--gradtwin-report=all.json").assert_outcomes(passed=1)
    assert json.loads((pytester.path / "all.json").read_text("utf-8")) == {"checks": []}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere/all.json", "cannot be written (No such file or directory); name another file."),
        ("taken.json", "cannot be written (Is a directory); name another file."),
        ("all.html", "name a file that ends in .json or .md."),
    ],
)
def test_a_report_that_cannot_be_written_is_a_usage_error_before_any_test(session, pytester, name, sentence):
    (pytester.path / "taken.json").mkdir()
    result = session("def test_it(): raise RuntimeError\n", f"--gradtwin-report={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --gradtwin-report={name}: {sentence}" in result.stderr.str()
    assert "RuntimeError" not in result.stdout.str()


def test_asking_for_a_report_leaves_nothing_behind_until_it_is_written(session, pytester):
    session(
        "import pathlib\n\n\ndef test_it(): assert not pathlib.Path('all.json').exists()\n",
        "--gradtwin-report=all.json",
    ).assert_outcomes(passed=1)
    (pytester.path / "all.json").unlink()
    broken = "import pathlib\n\n\ndef test_it(): pathlib.Path('all.json').mkdir()\n"
    result = session(broken, "--gradtwin-report=all.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be written (Is a directory)." in result.stderr.str()


def test_two_processes_judge_real_pairs_and_one_writes_what_both_have_checked(pytester):
    np.savez(pytester.path / "x.npz", x=np.array([0.3, -1.2, 2.0]))
    pytester.makepyfile(
        **{
            f"test_{side}": f"""
            import jax.numpy as jnp
            import numpy as np
            import torch

            def test_pair(gradtwin):
                x = np.load("x.npz")["x"]
                gradtwin.check(lambda x: torch.sin(x), lambda x: jnp.{function}(x), args=(x,))
            """
            for side, function in (("good", "sin"), ("bad", "tanh"))
        }
    )
    result = pytester.runpytest_subprocess(*QUIET, "-n", "2", "--gradtwin-report=all.json")
    result.assert_outcomes(passed=1, failed=1)
    checks = json.loads((pytester.path / "all.json").read_text("utf-8"))["checks"]
    found = {check["test"]: check for check in checks}
    assert found["test_good.py::test_pair"]["word"] in {"identical", "rounding"}
    assert found["test_bad.py::test_pair"]["word"] == "different"
    [fault] = found["test_bad.py::test_pair"]["faults"]
    assert fault["functional"]["operation"] == "tanh"
    for side in ("imperative", "functional"):
        assert fault[side]["source"]["file"].endswith("test_bad.py")
