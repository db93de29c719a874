"""Leaves, in JAX: a value carries no flags; the same facts follow from the traced program.

Source: the note, "Leafs and requires_grad".
"""

from jaxtyping import Array, Float

from functional import jaxpr
from functional.arrays import Pytree, enter, leave, running
from scenarios import Device, Dtype, Result, Statement, leaves


# %% step: model
def model(a: Float[Array, "1"], c: Float[Array, "1"]) -> Pytree:
    """Return a and c, and their squares b and d, each of shape ``(1,)``."""
    return {"a": a, "b": a * a, "c": c, "d": c * c}


# %% step: run
def run(
    statement: Statement = leaves.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Trace the program, and read off what depends on the argument that one would differentiate."""
    with running(dtype, device):
        arguments = enter({**statement.start, **statement.data}, dtype)
        program = jaxpr.trace(model, **arguments)
        differentiated = program.depends_on(set(statement.start))
        requires_grad = {name: variable in differentiated for name, variable in program.outputs.items()}
        is_input = {name: variable in program.inputs for name, variable in program.outputs.items()}
        return Result(
            values=leave(model(**arguments)),
            facts={
                **{f"{name}.requires_grad": requires for name, requires in requires_grad.items()},
                # The note's convention: what asks for no gradient is a leaf even if computed.
                **{f"{name}.is_leaf": is_input[name] or not requires_grad[name] for name in program.outputs},
            },
        )
