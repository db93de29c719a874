"""The house: who may know whom, and what makes two modules twins."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest
import torch

import scenarios

ROOT = Path(__file__).parents[1]
NAMES = [statement.name for statement in scenarios.ALL]
TRAINED = [statement.name for statement in scenarios.ALL if statement.training]
SIDES = ("imperative", "functional")
HELPERS = {
    "scenarios": {"graph", "layout", "markup", "port", "sizes", "sources", "trace", "types"},
    "imperative": {
        "arrays",
        "atlas",
        "defects",
        "drawn",
        "history",
        "optimizer",
        "port",
        "tape",
        "trace",
        "variants",
    },
    "functional": {
        "arrays",
        "atlas",
        "defects",
        "drawn",
        "history",
        "optimizer",
        "port",
        "stops",
        "variants",
    },
}


@pytest.mark.parametrize("package", HELPERS)
def test_every_package_holds_one_module_per_scenario_and_its_helpers(package):
    stems = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert stems == set(NAMES) | HELPERS[package]


def test_every_folder_of_modules_is_packaged():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = [path.parent for name in (*HELPERS, "compare") for path in (ROOT / name).rglob("__init__.py")]
    assert sorted(packaged) == sorted(".".join(path.relative_to(ROOT).parts) for path in found)


@pytest.mark.parametrize("side", SIDES)
def test_each_side_offers_every_scenario_at_one_obvious_import(side):
    assert set(importlib.import_module(side).__all__) == set(NAMES)


def _source(side, name):
    return (ROOT / side / f"{name}.py").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_twins_mark_the_same_steps_in_the_same_order(name):
    left, right = (re.findall(r"^# %% step: (\w+)$", _source(side, name), re.MULTILINE) for side in SIDES)
    assert left == right
    order = ["model", "loss", "step", "run"]
    assert left == [verb for verb in order if verb in left]
    assert {"model", "run"} <= set(left)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("side", SIDES)
def test_a_training_twin_defines_all_four_verbs(side, name):
    twin = importlib.import_module(f"{side}.{name}")
    assert all(callable(getattr(twin, verb)) for verb in ("model", "loss", "step", "run"))


@pytest.mark.parametrize("name", NAMES)
def test_twins_run_under_one_signature(name):
    left, right = (inspect.signature(importlib.import_module(f"{side}.{name}").run) for side in SIDES)
    assert left == right
    assert list(left.parameters) == ["statement", "dtype", "device", *(["every"] if name in TRAINED else [])]
    assert left.parameters["statement"].default is scenarios.get(name)
    assert all(p.kind is p.KEYWORD_ONLY for p in list(left.parameters.values())[1:])


@pytest.mark.parametrize("name", TRAINED)
def test_losses_of_twins_differ_only_in_who_holds_the_parameters(name):
    left, right = (
        list(inspect.signature(importlib.import_module(f"{side}.{name}").loss).parameters) for side in SIDES
    )
    assert right[0] == "params"
    assert left[0] in {"leaves", "network"}
    assert left[1:] == right[1:]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_defined_before_the_first_mark(name):
    for side in SIDES:
        before, _, _ = _source(side, name).partition("# %% step: model")
        assert not re.search(r"^(def|class) ", before, re.MULTILINE)


def test_an_imperative_step_changes_the_leaves_it_is_given_and_returns_the_loss():
    twin = importlib.import_module("imperative.root_finding")
    leaves = {name: torch.tensor([value], requires_grad=True) for name, value in (("a", 2.0), ("b", 8.0))}
    given = dict(leaves)
    value = twin.step(leaves, torch.optim.Adam(list(leaves.values()), lr=0.02))
    assert value.item() == 256
    assert all(leaves[name] is leaf for name, leaf in given.items())
    assert [round(leaf.item(), 4) for leaf in leaves.values()] == [2.02, 7.98]


def test_a_functional_step_returns_new_parameters_and_leaves_what_it_is_given():
    twin = importlib.import_module("functional.root_finding")
    params = {"a": jnp.array([2.0]), "b": jnp.array([8.0])}
    optimizer = optax.adam(0.02)
    following, _, row = twin.step(params, optimizer.init(params), optimizer)
    assert row.loss == 256
    assert [p.item() for p in params.values()] == [2.0, 8.0]
    assert [round(p.item(), 4) for p in following.values()] == [2.02, 7.98]


def _contracts(root):
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, env=environment)


def test_the_import_contracts_hold():
    result = _contracts(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("scenarios/leaves.py", "import torch"),
        ("scenarios/types.py", "import jax"),
        ("scenarios/types.py", "import imperative"),
        ("imperative/sine_network.py", "import jax.numpy"),
        ("imperative/tape.py", "from functional import jaxpr"),
        ("imperative/arrays.py", "import compare"),
        ("functional/history.py", "import torch"),
        ("functional/leaves.py", "from imperative import tape"),
        ("compare/judge/__init__.py", "import torch"),
        ("compare/twins.py", "import optax"),
    ],
)
def test_a_planted_import_breaks_a_contract(tmp_path, module, line):
    for package in (*HELPERS, "compare"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / module
    planted.write_text(planted.read_text("utf-8") + f"\n{line}\n", "utf-8")
    result = _contracts(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        (
            "scenarios",
            {"torch", "jax", "jaxlib", "optax", "matplotlib", "imperative", "functional", "compare"},
        ),
        ("imperative", {"jax", "jaxlib", "optax", "functional", "compare"}),
        ("functional", {"torch", "imperative", "compare"}),
        ("compare", {"torch", "jax", "jaxlib", "optax", "matplotlib", "imperative", "functional"}),
        (
            "compare.cli",
            {"torch", "jax", "jaxlib", "optax", "matplotlib", "imperative", "functional", "rich.table"},
        ),
    ],
)
def test_importing_a_package_loads_no_stranger(package, strangers):
    code = f"import {package}, sys; print(*sorted(set(sys.modules) & {strangers!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_loading_twins_leaves_a_gpu_to_both_frameworks():
    code = (
        "import os, sys; from compare import twins; twins.load('leaves'); loaded = list(sys.modules);"
        "print(os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'], loaded.index('jax') < loaded.index('torch'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "XLA_PYTHON_CLIENT_PREALLOCATE"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert ended.stdout.split() == ["false", "True"]
