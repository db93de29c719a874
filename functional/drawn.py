"""The jaxpr of a scenario's loss, or of its model where there is none, as a graph."""

from importlib import import_module
from typing import Any

from functional import jaxpr
from functional.arrays import enter, running
from scenarios import Device, Dtype, Statement
from scenarios.graph import Graph, Of


def drawn(
    statement: Statement, of: Of = "forward", *, dtype: Dtype = "float64", device: Device = "cpu"
) -> Graph:
    """Draw the program that tracing writes, evaluated at the start values."""
    twin: Any = import_module(f"functional.{statement.name}")
    with running(dtype, device):
        params: dict[str, Any] = dict(enter(statement.start, dtype))
        data: dict[str, Any] = dict(enter(statement.data, dtype))
        if hasattr(twin, "loss"):
            return jaxpr.draw(twin.loss, params, of=of, by=params, **data)
        if hasattr(twin, "FUNCTIONS"):
            return jaxpr.draw(
                lambda x: {n: f(x) for n, f in twin.FUNCTIONS.items()}, of=of, by=params, **params
            )

        def model(**inputs: Any) -> Any:  # noqa: ANN401  # whatever a model returns
            returned = twin.model(**inputs)
            return returned[-1] if isinstance(returned, tuple) else returned  # the last is differentiated

        return jaxpr.draw(model, of=of, by=params, **params, **data)
