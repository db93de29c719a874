"""Writes down every equation that a program carries out, with what its values are told by.

Calls are entered: jitted functions, functions with a derivative of their own, rematerialised ones, the branch
of a ``cond`` that is taken, every iteration of a ``scan`` or a ``while`` loop.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from functional.jaxpr.equations import CALLS, CUSTOM, FRAMEWORKS, bound, called, closed, frames
from scenarios.sources import called_at, users_line
from scenarios.trace import UNTOLD, Operation, Source, Trace, Value, fingerprint

_OWN = f"{Path(__file__).parents[1] / 'port.py'}"

#: Carries an operation out: from the arrays that it takes, and changes of its parameters by name.
Act = Callable[..., list[Any]]

_COARSE = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}

_Held = tuple[Any, int]  # an array, and the index of the value


class Recorder:
    """Carries out a program, equation by equation, and notes what it does."""

    def __init__(
        self,
        want: Collection[int | str] = (),
        put: Mapping[int, np.ndarray] | None = None,
        lines: dict[int, tuple[Source, tuple[str, ...]]] | None = None,
        *,
        coarse: bool = False,
        told: bool = True,
    ) -> None:
        """Note nothing yet.

        Args:
            want: indices of values, and names of outputs, of which a copy is kept in :attr:`kept`.
            put: by the index of a value, what is put in its place as soon as it has been computed.
            lines: what is known already of equations: by their identity, their lines and modules.
            coarse: whether values of float64 are rounded to float32 as soon as they have been computed.
            told: whether values are given fingerprints.
        """
        #: By operation, what carries it out: from the arrays that it takes to those that it makes.
        self.acts: list[Act] = []
        self._lines = {} if lines is None else lines
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.kept: dict[int, np.ndarray] = {}
        self._want, self._put, self._told = frozenset(want), dict(put or {}), told
        self._coarse = coarse
        self._last: dict[int, list[tuple[Any, ...]]] = {}

    def trace(
        self, program: ClosedJaxpr, arrays: Sequence[Any], names: Sequence[str], outputs: Sequence[str]
    ) -> Trace:
        """Carry out a program.

        Args:
            program: to carry out.
            arrays: that it is given.
            names: of these.
            outputs: what its outputs are called.
        """
        given = [self._add(array, None, name) for array, name in zip(arrays, names, strict=True)]
        results = self._run(program, given, (), Source())
        found = {name: index for name, (_, index) in zip(outputs, results, strict=True)}
        self.kept |= {
            index: plain(a).copy() for n, (a, index) in zip(outputs, results, strict=True) if n in self._want
        }
        return Trace("functional", self.values, self.operations, found)

    def _add(self, array: Any, operation: int | None, name: str = "") -> _Held:  # noqa: ANN401
        index = len(self.values)
        if index in self._put:
            array = jnp.asarray(self._put[index], jnp.result_type(array)).reshape(jnp.shape(array))
        if self._coarse and jnp.result_type(array) in _COARSE:
            array = jnp.asarray(_rounded(plain(array)))
        if index in self._want:
            self.kept[index] = plain(array).copy()
        kind = str(jnp.result_type(array))
        mark = fingerprint(plain(array)) if self._told else UNTOLD
        self.values.append(Value(name, jnp.shape(array), kind, mark, operation))
        return array, index

    def _note(
        self,
        name: str,
        inputs: Sequence[_Held],
        act: Act,
        source: Source = Source(),  # noqa: B008  # it is frozen
        group: tuple[str, ...] = (),
        options: Mapping[str, object] | None = None,
        call: str = "",
    ) -> list[_Held]:
        index = len(self.operations)
        outputs = [self._add(array, index) for array in act([array for array, _ in inputs])]
        self.acts.append(act)
        taken, made = tuple(i for _, i in inputs), tuple(i for _, i in outputs)
        self.operations.append(Operation(name, taken, made, call, options or {}, source, group))
        return outputs

    def _run(
        self, program: ClosedJaxpr, inputs: Sequence[_Held], group: tuple[str, ...], caller: Source
    ) -> list[_Held]:
        """The outputs of a program that the line ``caller`` called."""
        jaxpr = program.jaxpr
        constants = [self._add(constant, None) for constant in program.consts]
        known: dict[Any, _Held] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True)
        )

        def read(variable: Any) -> _Held:  # noqa: ANN401
            if isinstance(variable, Literal):
                kind: Any = variable.aval
                return self._add(np.asarray(variable.val, kind.dtype), None)
            return known[variable]

        for equation, spent in zip(jaxpr.eqns, self._spent(program), strict=True):
            values = [read(variable) for variable in equation.invars]
            if id(equation) not in self._lines:
                found = users_line(frames(equation, jaxpr), _OWN, *FRAMEWORKS)
                self._lines[id(equation)] = found, _modules(equation)
            line, modules = self._lines[id(equation)]
            results = self._entered(equation, values, (*group, *modules), called_at(line, caller))
            known.update(zip(equation.outvars, results, strict=True))
            for variable in spent:
                known.pop(variable, None)
        return [read(variable) for variable in jaxpr.outvars]

    def _entered(
        self,
        equation: Any,  # noqa: ANN401
        inputs: Sequence[_Held],
        group: tuple[str, ...],
        line: Source,
    ) -> list[_Held]:
        """The outputs of an equation, and of all that it calls."""
        inner = called(equation, (*CALLS, *CUSTOM))
        if inner is not None:
            return self._run(inner, inputs, group, line)
        params, name = equation.params, equation.primitive.name
        if name == "scan":
            return self._scan(equation, inputs, group, line)
        if name == "cond":
            branch = params["branches"][
                int(np.clip(np.asarray(inputs[0][0]), 0, len(params["branches"]) - 1))
            ]
            return self._run(closed(branch), inputs[1:], group, line)
        if name == "while":
            tests, bodies = params["cond_nconsts"], params["body_nconsts"]
            test, body = inputs[:tests], inputs[tests : tests + bodies]
            carry = list(inputs[tests + bodies :])
            goes_on = jaxpr_as_fun(closed(params["cond_jaxpr"]))
            while bool(goes_on(*(array for array, _ in (*test, *carry)))[0]):
                carry = self._run(closed(params["body_jaxpr"]), (*body, *carry), group, line)
            return carry
        word = {"add_any": "add"}.get(name, name).replace("-", "_")
        call = f"jax.lax.{word}_p.bind" if hasattr(jax.lax, f"{word}_p") else ""
        return self._note(name, inputs, partial(bound, equation), line, group, params, call)

    def _scan(
        self,
        equation: Any,  # noqa: ANN401
        inputs: Sequence[_Held],
        group: tuple[str, ...],
        line: Source,
    ) -> list[_Held]:
        params = equation.params
        constants, carries = params["num_consts"], params["num_carry"]
        fixed, carry = inputs[:constants], list(inputs[constants : constants + carries])
        rows, body = inputs[constants + carries :], closed(params["jaxpr"])
        places = range(params["length"])
        stacks: dict[int, list[_Held]] = {}
        for place in reversed(places) if params["reverse"] else places:
            told = {"place": place}
            row = [self._note("row", [held], partial(_row, place), line, group, told)[0] for held in rows]
            results = self._run(body, (*fixed, *carry, *row), group, line)
            carry, stacks[place] = results[:carries], results[carries:]
        made = []
        for k, variable in enumerate(equation.outvars[carries:]):
            parts = [stacks[place][k] for place in places]
            made += self._note("stack", parts, partial(_stack, variable.aval), line, group)
        return [*carry, *made]

    def _spent(self, program: ClosedJaxpr) -> Sequence[tuple[Any, ...]]:
        """By equation, what nothing after it takes: it need not be held any longer."""
        jaxpr = program.jaxpr
        if id(jaxpr) not in self._last:
            kept = {variable for variable in jaxpr.outvars if not isinstance(variable, Literal)}
            last: list[tuple[Any, ...]] = []
            for equation in reversed(jaxpr.eqns):
                taken = (*equation.invars, *equation.outvars)
                ended = {v for v in taken if not isinstance(v, Literal)} - kept
                kept |= ended
                last.append(tuple(ended))
            self._last[id(jaxpr)] = last[::-1]
        return self._last[id(jaxpr)]


def _rounded(array: np.ndarray) -> np.ndarray:
    """Numbers of half the digits in a format that has all; what is too large for the smaller one stays."""
    with np.errstate(over="ignore"):
        rounded = array.astype(_COARSE[array.dtype]).astype(array.dtype)
    return np.where(np.isfinite(rounded), rounded, array)


def first_used(program: ClosedJaxpr) -> list[int]:
    """The places of a program's inputs in the order in which its equations use them first."""
    found: dict[int, None] = {}

    def walk(jaxpr: Any, places: Mapping[Any, int]) -> None:  # noqa: ANN401
        for equation in jaxpr.eqns:
            given = [None if isinstance(v, Literal) else places.get(v) for v in equation.invars]
            inner = called(equation, (*CALLS, *CUSTOM, "scan"))
            if inner is not None:
                here = zip(inner.jaxpr.invars, given, strict=True)
                walk(inner.jaxpr, {variable: place for variable, place in here if place is not None})
            found.update(dict.fromkeys(place for place in given if place is not None))

    walk(program.jaxpr, {variable: place for place, variable in enumerate(program.jaxpr.invars)})
    return list(found)


def _row(place: int, stacked: Sequence[Any]) -> list[Any]:
    return [jax.lax.index_in_dim(stacked[0], place, keepdims=False)]


def _stack(like: Any, parts: Sequence[Any]) -> list[Any]:  # noqa: ANN401
    return [jnp.stack(parts) if parts else jnp.zeros(like.shape, like.dtype)]


def _modules(equation: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The scopes that an equation was written in, without those of transformations."""
    stack = str(equation.source_info.name_stack)
    for word in ("transpose(", "jvp(", "vmap(", "rematted_computation", "checkpoint", ")"):
        stack = stack.replace(word, "")
    return tuple(part for part in stack.split("/") if part)


def plain(array: Any) -> np.ndarray:  # noqa: ANN401
    """An array as NumPy has it; the bits of a key."""
    # To ask for the kind of a dtype takes longer than to make a small array NumPy's.
    known = isinstance(getattr(array, "dtype", None), np.dtype)
    if not known and jnp.issubdtype(jnp.result_type(array), jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
