"""What is read of an equation: the program that it calls, what it does, and whose line wrote it."""

from collections.abc import Iterable, Iterator, Sequence
from os import sep
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
from jax.extend.core import ClosedJaxpr, Jaxpr

#: Where the frameworks live.
FRAMEWORKS = tuple(f"{Path(str(module.__file__)).parent}{sep}" for module in (jax, jaxtyping))

#: Whose frames are not the user's.
OWN = f"{Path(__file__).parent}{sep}"

#: Equations that only call another program.
CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")

#: Equations that call a program which has a derivative of its own.
CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def floating(leaf: Any) -> bool:  # noqa: ANN401
    """Whether an array holds real or complex numbers."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def called(equation: Any, names: Iterable[str] = CALLS) -> ClosedJaxpr | None:  # noqa: ANN401
    """The program that an equation of one of these ``names`` calls; None of any other."""
    if equation.primitive.name not in names:
        return None
    keys = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    return closed(next(found for key in keys if (found := equation.params.get(key)) is not None))


def closed(program: Any) -> ClosedJaxpr:  # noqa: ANN401
    """A program with its constants; newer releases hold them in it, and have but one class."""
    return (
        ClosedJaxpr(program, []) if isinstance(program, Jaxpr) and not hasattr(program, "consts") else program
    )


def operation(equation: Any) -> str:  # noqa: ANN401
    """What an equation does; a function with a derivative of its own by its name."""
    if equation.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call")):
        inner = equation.params.get("call_jaxpr") or equation.params.get("fun_jaxpr")
        name = getattr(inner.jaxpr.debug_info, "func_name", "") if inner is not None else ""
        return str(equation.params.get("name") or name or equation.primitive.name)
    return str(equation.primitive.name)


def bound(equation: Any, arrays: Sequence[Any], **changes: object) -> list[Any]:  # noqa: ANN401
    """Carry out one equation, with some of its parameters changed; returns its outputs."""
    given = equation.primitive.get_bind_params({**equation.params, **changes})
    functions, options = given if isinstance(given, tuple) else ((), given)  # as older releases have it
    results = equation.primitive.bind(*functions, *arrays, **options)
    return list(results) if equation.primitive.multiple_results else [results]


def frames(equation: Any, jaxpr: Jaxpr) -> Iterator[tuple[str, int]]:  # noqa: ANN401
    """Files and lines that wrote an equation of ``jaxpr``, the innermost first, as far as they say anything.

    A function of a library's is traced once and kept, together with the lines of whoever called it first:
    what lies beyond the function itself says nothing.
    """
    traceback, about = equation.source_info.traceback, jaxpr.debug_info
    function = (getattr(about, "func_filename", None), getattr(about, "func_name", None))
    for frame in traceback.frames if traceback is not None else ():
        if frame.file_name.startswith(OWN):
            break
        yield frame.file_name, frame.line_num
        if (frame.file_name, frame.function_name) == function:
            break
