"""Writes a fault as a script that needs only torch, jax and NumPy, with the values it begins from."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import numpy as np

from compare.port.locate import Fault
from scenarios.trace import Operation, Taken

#: Steps of ours, where a loop was carried out row by row.
_OWN = {"row", "stack"}

SCRIPT, VALUES = "reproduce.py", "values.npz"

_HEAD = '''"""{what}"""

from pathlib import Path

import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
given = np.load(Path(__file__).with_name("{values}"))
'''

_TAIL = """
print("imperative", imperative, "functional", functional, sep="\\n")
# "wanted" is the imperative value, in the functional side's layout.
print("largest difference", np.abs(np.asarray(functional, float) - given["wanted"].astype(float)).max())
"""


class ExportError(ValueError):
    """A fault that cannot be written; the message says why."""


def export(fault: Fault, directory: Path) -> Path:
    """Write a fault as a script and its values; returns the script.

    Args:
        fault: to write.
        directory: made if it is not there; a script of an earlier export is replaced.

    Raises:
        ExportError: it cannot be written there, or not as a script.
    """
    if fault.kind == "stopped":
        raise ExportError("a gradient is held back, which no operation does: there is nothing to carry out.")
    arrays = {"wanted": fault.left}
    lines = {side: list(_lines(fault, side, arrays)) for side in ("imperative", "functional")}
    what = f"{fault.imperative} and {fault.functional} differ by {fault.local:.3g}."
    text = [_HEAD.format(what=what.replace('"', "'").replace("\\", "/"), values=VALUES)]
    for side, steps in lines.items():
        text += [f"# {side}", *steps, ""]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(directory / VALUES, allow_pickle=False, **arrays)
        script = directory / SCRIPT
        script.write_text("\n".join(text) + _TAIL, "utf-8")
    except OSError as error:
        raise ExportError(
            f"{directory}: cannot be written ({error.strerror}); name a place that can."
        ) from error
    return script


def _lines(fault: Fault, side: str, arrays: dict[str, np.ndarray]) -> Iterator[str]:
    """The lines of one side; what they begin from goes to ``arrays``."""
    letter, make = side[0], "torch.tensor" if side == "imperative" else "jax.numpy.asarray"

    def name(index: int) -> str:
        return side if index == fault.ends[side] else f"{letter}{index}"

    for index, array in fault.given[side].items():
        arrays[f"{letter}{index}"] = array
        yield f'{name(index)} = {make}(given["{letter}{index}"])'
    for operation in fault.steps[side]:
        if not operation.call and operation.name not in _OWN:
            raise ExportError(f"{operation.name}, on the {side} side, has no public name to be called by.")
        made = ", ".join(map(name, operation.outputs))
        taken = _imperative if side == "imperative" else _functional
        yield f"{made} = {taken(operation, letter)}"


def _imperative(operation: Operation, letter: str) -> str:
    told = (f"{name}={_python(value, letter)}" for name, value in operation.options.items())
    return f"{operation.call}({', '.join(told)})"


def _functional(operation: Operation, letter: str) -> str:
    arrays = [f"{letter}{index}" for index in operation.inputs]
    if operation.name == "row":
        return f"{arrays[0]}[{operation.options['place']}]"
    if operation.name == "stack":
        return f"jax.numpy.stack([{', '.join(arrays)}])"
    told = [f"{name}={_python(value, letter)}" for name, value in operation.options.items()]
    return f"{operation.call}({', '.join([*arrays, *told])})"


def _python(value: object, letter: str) -> str:
    """A value as Python reads it.

    Raises:
        ExportError: it cannot be written so.
    """
    if isinstance(value, Taken):
        return f"{letter}{value.index}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        told = (f"{name}={_python(getattr(value, name), letter)}" for name in value._fields)
        return f"jax.lax.{type(value).__name__}({', '.join(told)})"
    if isinstance(value, list | tuple):
        inner = ", ".join(_python(part, letter) for part in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return _word(value)


def _word(value: object) -> str:
    """A single value as Python reads it."""
    if isinstance(value, Enum):
        return f"jax.lax.{type(value).__name__}.{value.name}"
    if isinstance(value, np.dtype):
        return f"np.dtype({value.name!r})"
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if type(value).__module__ == "torch":  # its own words are Python, but for a device
        return f"torch.{value!r}" if type(value).__name__ == "device" else repr(value)
    raise ExportError(f"the option {value!r} of an operation cannot be written as Python.")
