"""Offers the C trainings as a side of a bench: compiled by the system's compiler when they are first used."""

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scenarios import Device, Dtype, Session, Statement, unavailable

HERE = Path(__file__).parent
# In the order in which C keeps the parameters.
LAYOUT = {
    "root_finding": ("a", "b"),
    "sine_polynomial": ("a", "b", "c"),
    "sine_network": tuple(
        f"{n}.{kind}" for n in ("input", "hidden1", "hidden2") for kind in ("weight", "bias")
    ),
}


def variants(statement: Statement, device: Device = "auto") -> tuple[str, ...]:
    """``C`` for the three scenarios that are written in it, on the CPU."""
    return ("C",) if statement.name in LAYOUT and device != "gpu" else ()


@cache
def library(dtype: Dtype, points: int, width: int, *more: str) -> ctypes.CDLL:
    """Compile for a dtype and the sizes of a network, with ``more`` options, and load.

    Raises:
        OSError: there is no compiler, or it fails.
    """
    real, root = ("float", "sqrtf") if dtype == "float32" else ("double", "sqrt")
    options = ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "floor.so"
        command = [os.environ.get("CC", "cc"), *options, f"-DREAL={real}", f"-DROOT={root}"]
        command += [f"-DPOINTS={points}", f"-DWIDTH={width}", *more]
        done = subprocess.run(
            [*command, HERE / "floor.c", "-lm", "-o", target], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OSError(f"{command[0]} cannot compile the floor: {done.stderr.strip()}")
        return ctypes.CDLL(str(target))


def session(
    statement: Statement,
    variant: str,
    dtype: Dtype = "float32",
    device: Device = "auto",
    options: Sequence[str] = (),
) -> Session:
    """The C training, compiled with further options, its phases apart.

    Raises:
        UnavailableError: there is none for the scenario.
        OSError: there is no compiler, or it fails.
    """
    if variant not in variants(statement, device):
        raise unavailable(f"variant of {statement.name}", variant, variants(statement, device))
    width = len(statement.start.get("input.bias", "1"))
    train = getattr(library(dtype, len(statement.data.get("x", "1")), width, *options), statement.name)
    training = statement.require_training()
    names = LAYOUT[statement.name]

    def flat(trees: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.asarray(tree, dtype).ravel() for tree in trees])

    def prepare() -> list[Any]:
        arguments: list[Any] = [flat([statement.start[name] for name in names])]
        if training.optimizer != "gradient descent":
            arguments += _moments(statement, names, flat)
        if "x" in statement.data:
            arguments += [flat([statement.data["x"]]), flat([statement.data["y"]]), statement.data["x"].size]
        if statement.name == "sine_network":
            arguments.append(width)
        return [*arguments, training.steps, training.learning_rate]

    def launch(prepared: list[Any]) -> np.ndarray:
        train(*map(_argument, prepared))
        params: np.ndarray = prepared[0]
        return params

    def leave(params: np.ndarray) -> dict[str, np.ndarray]:
        left, start = {}, 0
        for name in names:
            shape = statement.start[name].shape
            left[name] = params[start : start + int(np.prod(shape))].reshape(shape).copy()
            start += int(np.prod(shape))
        return left

    nothing: Callable[[], float] = lambda: 0.0  # noqa: E731
    return Session(
        steps=training.steps,
        prepare=prepare,
        launch=launch,
        pending=lambda _: False,
        finish=lambda _: None,
        leave=leave,
        compiling=nothing,
        memory=None,
        threads=1,
    )


def _moments(
    statement: Statement, names: Sequence[str], flat: Callable[[list[np.ndarray]], np.ndarray]
) -> list[Any]:
    """Adam's two moving averages and its count, as C takes them."""
    state, start = statement.state, statement.start
    moments = [[state.get(f"{m}.{n}", np.zeros_like(start[n])) for n in names] for m in ("first", "second")]
    return [*map(flat, moments), int(state.get("count", 0))]


def _argument(value: Any) -> Any:  # noqa: ANN401  # whatever C takes
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_long(value)
