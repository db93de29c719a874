"""The jaxpr as a graph, with the value of every equation."""

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from functional.jaxpr.equations import FRAMEWORKS, bound, called, floating, frames, operation
from scenarios.graph import Graph, Node, Of


def draw(
    function: Callable[..., Any],
    *arguments: Any,  # noqa: ANN401  # any pytree
    of: Of = "forward",
    by: Collection[str] | None = None,
    names: Sequence[str] | None = None,
    **options: Any,  # noqa: ANN401
) -> Graph:
    """The jaxpr as a graph, with the value of every equation, and the cotangent that would flow back to it.

    Args:
        function: of arrays and pytrees; traced, and evaluated equation by equation.
        arguments: of the function.
        of: ``forward``, or ``gradient``: the program that differentiating the sum of the outputs writes.
        by: names of the arguments' leaves to differentiate by; all that are floating by default.
        names: of the leaves in their order, instead of those that follow from the arguments.
        options: of the function.

    Raises:
        ValueError: there are more or fewer names than leaves, or there is nothing to differentiate by.
    """
    leaves, shape = jax.tree.flatten((arguments, options))
    labels = _apart(_leaf_names(function, arguments, options) if names is None else names)
    if len(labels) != len(leaves):
        raise ValueError(f"{len(labels)} names for {len(leaves)} leaves: {', '.join(labels)}.")

    def flat(*values: Any) -> Any:  # noqa: ANN401
        positional, named = jax.tree.unflatten(shape, values)
        return function(*positional, **named)

    if unknown := set(by or ()) - set(labels):
        raise ValueError(f"no leaf is called {', '.join(sorted(unknown))}: there are {', '.join(labels)}.")
    moving = [k for k, leaf in enumerate(leaves) if floating(leaf) and (by is None or labels[k] in by)]
    if not moving:
        raise ValueError(
            f"there is nothing to differentiate by: choose of {', '.join(labels)} what is floating."
        )
    if of == "gradient":
        closed, outputs = _traced(jax.grad(lambda *v: _total(flat(*v)), argnums=moving), leaves)
        results = [f"d{labels[k]}" for k in moving]
    else:
        closed, outputs = _traced(flat, leaves)
        results = _apart([_path(path, "output") for path, _ in jax.tree.leaves_with_path(outputs)])
    record = _Record()
    values = record.run(closed, leaves)
    cotangents = _cotangents(closed, leaves, moving, record) if of == "forward" else {}
    return record.graph(labels, set(moving), dict(zip(results, values, strict=True)), cotangents, of)


@dataclass
class _Step:
    """An equation that was evaluated: a value for each output, and what it was computed of."""

    operation: str
    inputs: tuple["_Value", ...]
    kept: dict[str, np.ndarray]
    source: str
    group: tuple[str, ...]
    outputs: tuple["_Value", ...] = ()


@dataclass(eq=False)
class _Value:
    """An array with its origin: a step, an argument, or a constant of the program."""

    array: Any
    step: _Step | None = None
    argument: int | None = None


@dataclass
class _Record:
    """Evaluates a program equation by equation, and adds ``taps`` to its values, in order."""

    taps: Sequence[Any] | None = None
    steps: list[_Step] = field(default_factory=list)
    constants: list[_Value] = field(default_factory=list)
    arguments: list[_Value] = field(default_factory=list)
    count: int = 0

    def run(self, closed: ClosedJaxpr, leaves: Sequence[Any]) -> list[_Value]:
        """The values of the outputs."""
        self.arguments = [_Value(jnp.asarray(leaf), argument=k) for k, leaf in enumerate(leaves)]
        return self._evaluate(closed, self.arguments, (), "")

    def _constant(self, array: Any) -> _Value:  # noqa: ANN401
        self.constants.append(_Value(jnp.asarray(array)))  # in the precision that it is used in
        return self.constants[-1]

    def _evaluate(
        self, closed: ClosedJaxpr, inputs: Sequence[_Value], group: tuple[str, ...], caller: str
    ) -> list[_Value]:
        """The values of the outputs of a program that the line ``caller`` called."""
        jaxpr, constants = closed.jaxpr, [self._constant(c) for c in closed.consts]
        known: dict[Any, _Value] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True)
        )

        def read(variable: Any) -> _Value:  # noqa: ANN401
            if isinstance(variable, Literal):
                kind: Any = variable.aval
                return _Value(np.asarray(variable.val, kind.dtype))
            return known[variable]

        for equation in jaxpr.eqns:
            values = [read(variable) for variable in equation.invars]
            source = next(_users(equation, jaxpr), caller)
            inner = called(equation)
            if inner is not None:
                name = str(equation.params.get("name", ""))
                results = self._evaluate(inner, values, (*group, name) if name else group, source)
            else:
                results = self._apply(equation, values, group, source)
            known.update(zip(equation.outvars, results, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def _apply(
        self,
        equation: Any,  # noqa: ANN401
        values: Sequence[_Value],
        group: tuple[str, ...],
        source: str,
    ) -> list[_Value]:
        arrays = bound(equation, [value.array for value in values])
        numbers = {k: np.asarray(p) for k, p in equation.params.items() if type(p) in {int, float}}
        step = _Step(operation(equation), tuple(values), numbers, source, group)
        results = []
        for array in arrays:
            if self.taps and floating(array):
                results.append(_Value(array + self.taps[self.count], step))
                self.count += 1
            else:
                results.append(_Value(array, step))
        step.outputs = tuple(results)
        self.steps.append(step)
        return results

    def graph(
        self,
        called: Sequence[str],
        moving: set[int],
        results: Mapping[str, _Value],
        cotangents: Mapping[int, np.ndarray],
        of: Of,
    ) -> Graph:
        """All that was recorded, as nodes in the order of the data."""
        names: dict[_Value, str] = {}
        nodes: list[Node] = []

        def add(value: _Value, name: str, **what: Any) -> None:  # noqa: ANN401
            names[value] = _free(name, (f"%{k}" for k in count(len(nodes))), names.values())
            key = jnp.issubdtype(jnp.result_type(value.array), jax.dtypes.prng_key)
            array = np.asarray(jax.random.key_data(value.array) if key else value.array)
            nodes.append(
                Node(
                    name=names[value],
                    shape=np.shape(value.array),
                    dtype=str(jnp.result_type(value.array)),
                    value=array.copy(),
                    gradient=cotangents.get(id(value)),
                    **what,
                )
            )

        wanted = {value: name for name, value in reversed(list(results.items()))}
        for value, name in zip(self.arguments, called, strict=True):
            add(value, name, operation="", kind="leaf" if value.argument in moving else "constant")
        for value in self.constants:
            add(value, f"%{len(nodes)}", operation="", kind="constant")
        for step in self.steps:
            for value in step.inputs:
                if value not in names:  # written in the program
                    add(value, f"%{len(nodes)}", operation="", kind="constant")
            for value in step.outputs:
                add(
                    value,
                    wanted.get(value, f"%{len(nodes)}"),
                    operation=step.operation,
                    kind="operation",
                    inputs=tuple(names[i] for i in step.inputs),
                    kept=step.kept,
                    source=step.source,
                    group=step.group,
                )
        for value, name in wanted.items():
            if value not in names:  # an output that is a number in the program
                add(value, name, operation="", kind="constant")
        return Graph("functional", of, tuple(nodes), {name: names[value] for name, value in results.items()})


def _users(equation: Any, jaxpr: Jaxpr) -> Iterator[str]:  # noqa: ANN401
    """The user's lines that wrote an equation."""
    for file, line in frames(equation, jaxpr):
        if not file.startswith(FRAMEWORKS):
            yield f"{Path(file).name}:{line}"


def _traced(function: Callable[..., Any], leaves: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
    """The program, and what it returns, as shapes."""
    return jax.make_jaxpr(function, return_shape=True)(*leaves)


def _cotangents(
    closed: ClosedJaxpr, leaves: Sequence[Any], moving: Sequence[int], record: _Record
) -> dict[int, np.ndarray]:
    """By the identity of a recorded value, the gradient of the sum of the outputs with respect to it.

    A zero is added to every value (a tap); the derivative by the tap is the cotangent.
    """
    everything = [value for step in record.steps for value in step.outputs if floating(value.array)]

    def total(moved: Sequence[Any], taps: Sequence[Any]) -> Any:  # noqa: ANN401
        given = list(leaves)
        for k, leaf in zip(moving, moved, strict=True):
            given[k] = leaf
        return _total([value.array for value in _Record(taps).run(closed, given)])

    # While loops and callbacks have no reverse mode. Where one is moved by a tap and by no leaf, the leaves
    # have gradients all the same.
    for values in (everything, []):
        taps = [jnp.zeros_like(value.array) for value in values]
        try:
            by_leaf, by_tap = jax.grad(total, argnums=(0, 1))([jnp.asarray(leaves[k]) for k in moving], taps)
        except (TypeError, ValueError, NotImplementedError):
            continue
        found = zip((*(record.arguments[k] for k in moving), *values), (*by_leaf, *by_tap), strict=True)
        return {id(value): np.asarray(gradient).copy() for value, gradient in found}
    return {}


def _total(tree: Any) -> Any:  # noqa: ANN401
    """The sum of all floating entries: what a gradient is of."""
    return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(tree) if floating(leaf)), start=jnp.zeros(()))


def _leaf_names(
    function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
) -> list[str]:
    """What the leaves of the arguments are called: by their keys, or by the argument that they are."""
    try:
        bound = list(inspect.signature(function).bind(*arguments, **options).arguments)
    except (TypeError, ValueError):  # a function that Python knows no signature of, or one that will raise
        bound = []
    names, within = [], []
    for path, _ in jax.tree.leaves_with_path((arguments, options)):
        positional, (first, *rest) = path[0].idx == 0, path[1:]
        given = bound[first.idx] if positional and first.idx < len(bound) else getattr(first, "key", "")
        within.append(str(given or f"argument {first.idx}"))
        names.append(_path(rest, within[-1]))
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{argument}.{name}"
        for name, argument in zip(names, within, strict=True)
    ]


def _path(path: Sequence[Any], root: str) -> str:
    """``{"a": (x, y)}`` has the leaves ``a[0]`` and ``a[1]``; a sequence has those of the ``root``."""
    name = ""
    for key in path:
        step = jax.tree_util.keystr((key,), simple=True)
        below = f"{name}.{step}" if name else step
        name = f"{name or root}[{step}]" if hasattr(key, "idx") else below
    return name or root


def _apart(names: Sequence[str]) -> list[str]:
    """The same names, with a number behind those that were there before."""
    apart: list[str] = []
    for name in names:
        apart.append(_free(name, (f"{name} ({k})" for k in count(2)), apart))
    return apart


def _free(name: str, others: Iterable[str], taken: Collection[str]) -> str:
    """The name, or the first of the others that is not taken."""
    return next(each for each in chain([name], others) if each not in taken)
