"""A traced function as a list of equations, and the walk back from an output."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
from jax.extend.core import Literal

from functional.arrays import Pytree

# One operation, two names: what the walk calls it, so that both sides report one structure.
_SAME = {"integer_pow": "pow"}


@dataclass(frozen=True)
class Equation:
    """``outputs = primitive inputs``; constants written in the program are left out of the inputs."""

    primitive: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A traced function: named inputs, equations in order, and the variable behind each named output."""

    inputs: tuple[str, ...]
    equations: tuple[Equation, ...]
    outputs: Mapping[str, str]

    def depends_on(self, sources: set[str]) -> set[str]:
        """Every variable that is, or is computed from, one of ``sources``."""
        reached = set(sources)
        for equation in self.equations:
            if reached & set(equation.inputs):
                reached |= set(equation.outputs)
        return reached

    def made_by(self, variable: str) -> Equation | None:
        """The equation that computes ``variable``; None for an input."""
        return next((e for e in self.equations if variable in e.outputs), None)

    def walk(self, output: str) -> str:
        """The equations from ``output`` back to the inputs, as nested operations: ``sub(pow(a), mul(b))``."""
        equation = self.made_by(variable := self.outputs.get(output, output))
        if equation is None:
            return variable
        operation = _SAME.get(equation.primitive, equation.primitive)
        return f"{operation}({', '.join(self.walk(i) for i in equation.inputs)})"

    def native(self, output: str) -> str:
        """The same walk in JAX's own words, breadth first, one equation and its inputs a clause."""
        clauses, queue = [], [self.outputs[output]]
        while queue:
            equation = self.made_by(queue.pop(0))
            if equation is not None:
                below = [(self.made_by(i), i) for i in equation.inputs]
                clauses.append(
                    f"{equation.primitive} → {', '.join(e.primitive if e else i for e, i in below)}"
                )
                queue.extend(equation.inputs)
        return "; ".join(clauses)


def trace(function: Callable[..., Pytree], **arguments: jax.Array) -> Program:
    """Trace ``function(**arguments)``; nothing is computed.

    Args:
        function: returns its named outputs as a dict.
        arguments: arrays by the name that the program gives its inputs.
    """
    closed, shapes = jax.make_jaxpr(lambda arguments: function(**arguments), return_shape=True)(arguments)
    # Dicts are flattened in the order of their sorted keys; "%" cannot begin the name of an argument.
    names: dict[object, str] = dict(zip(closed.jaxpr.invars, sorted(arguments), strict=True))

    def name(variable: object) -> str:
        if isinstance(variable, Literal):
            return str(variable.val)
        return names.setdefault(variable, f"%{len(names)}")

    equations = tuple(
        Equation(
            equation.primitive.name,
            tuple(name(v) for v in equation.invars if not isinstance(v, Literal)),
            tuple(name(v) for v in equation.outvars),
        )
        for equation in closed.jaxpr.eqns
    )
    outputs = {key: name(v) for key, v in zip(sorted(shapes), closed.jaxpr.outvars, strict=True)}
    return Program(tuple(sorted(arguments)), equations, outputs)
