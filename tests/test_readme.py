"""The README: each of its commands and examples runs as it stands."""

import re
import subprocess
import sys
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


def test_the_two_make_commands_are_what_ci_runs():
    assert MAKE == ["report", "test"]
    assert set(re.findall(r"^make (\w+)$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)) == set(
        MAKE
    )
    targets = re.findall(r"^(\w+): ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(MAKE) <= set(targets)


def test_every_scenario_and_every_linked_file_exists():
    assert all(f"| `{statement.name}` |" in README for statement in scenarios.ALL)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
