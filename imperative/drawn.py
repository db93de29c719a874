"""The tape of a scenario's loss, or of its model where there is none, as a graph."""

from importlib import import_module
from typing import Any

from imperative import tape
from imperative.arrays import enter
from scenarios import Device, Dtype, Statement
from scenarios.graph import Graph, Of


def drawn(
    statement: Statement, of: Of = "forward", *, dtype: Dtype = "float64", device: Device = "cpu"
) -> Graph:
    """Draw the tape that is recorded at the start values.

    Raises:
        ValueError: nothing is recorded: the gradient is constant.
    """
    twin: Any = import_module(f"imperative.{statement.name}")
    leaves: dict[str, Any] = {
        name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()
    }
    data: dict[str, Any] = dict(enter(statement.data, dtype, device))
    if hasattr(twin, "loss"):
        holder = twin.model(leaves) if hasattr(twin, "Network") else leaves
        return tape.draw(twin.loss, holder, of=of, **data)
    if hasattr(twin, "FUNCTIONS"):
        return tape.draw(lambda x: {n: f(x) for n, f in twin.FUNCTIONS.items()}, of=of, **leaves)

    def model(**inputs: Any) -> Any:  # noqa: ANN401  # whatever a model returns
        returned = twin.model(**inputs)
        return returned[-1] if isinstance(returned, tuple) else returned  # the last is what is differentiated

    return tape.draw(model, of=of, **leaves, **data)
