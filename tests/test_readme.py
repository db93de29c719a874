"""The README: each of its commands and examples runs as it stands."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import scenarios

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
MAKE = re.findall(r"^make (\w+)", "".join(SHELL), re.MULTILINE)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_every_python_example_runs_without_a_warning(code, tmp_path):
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=120)


def test_the_gradtwin_commands_run_one_after_the_other(tmp_path):
    commands = [line for block in SHELL for line in block.splitlines() if line.startswith("gradtwin ")]
    assert len(commands) == 3
    for command in commands:
        arguments = command.split()[1:]
        subprocess.run([sys.executable, "-m", "compare", *arguments], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "my-run" / "report.html").exists()


def test_ci_runs_the_two_make_commands_and_the_oldest_jax_besides():
    assert MAKE == ["report", "test"]
    run = re.findall(r"^make (\w+)$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert sorted(run) == sorted([*MAKE, "oldest"])
    targets = re.findall(r"^(\w+): ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(run) <= set(targets)


def test_the_oldest_versions_that_are_tried_are_the_lowest_of_the_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = dict(line.split(">=") for line in project["dependencies"] if ">=" in line)
    pins = re.findall(r"^(\w+)==([\d.]+)", (ROOT / "constraints-oldest.txt").read_text("utf-8"), re.MULTILINE)
    oldest = dict(reversed(pins))  # where a newer Python needs a newer one, the first stands
    assert {"jax", "jaxlib", "jaxtyping", "ml_dtypes", "numpy", "optax", "scipy"} <= oldest.keys()
    for name in lowest.keys() & oldest.keys():
        assert f"{oldest[name]}.".startswith(f"{lowest[name]}."), name
        assert not oldest[name].removeprefix(lowest[name]).strip(".0"), name


def test_every_scenario_and_every_linked_file_exists():
    assert all(f"| `{statement.name}` |" in README for statement in scenarios.ALL)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
