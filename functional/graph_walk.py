"""Q = a³ − 3b, in JAX: tracing writes a jaxpr, and ``vjp`` returns the gradient as a new value.

Source: the note, "The grad_fn attribute".
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functional import jaxpr
from functional.arrays import enter, leave, running
from scenarios import Device, Dtype, Result, Statement, graph_walk


# %% step: model
def model(a: Float[Array, "1"], b: Float[Array, "1"]) -> Float[Array, "1"]:
    """Q = a³ − 3b."""
    return a**3 - 3 * b


# %% step: run
def run(
    statement: Statement = graph_walk.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Trace the program, walk it, then differentiate."""
    with running(dtype, device):
        inputs = enter(statement.start, dtype)
        program = jaxpr.trace(lambda a, b: {"Q": model(a, b)}, **inputs)
        last = program.made_by(program.outputs["Q"])
        branches = [program.made_by(variable) for variable in last.inputs] if last else []
        # An array has no slot for a gradient: there is nothing to be None, before or after.
        before = {
            f"{name}.grad is None before backward": not hasattr(i, "grad") for name, i in inputs.items()
        }
        Q, pullback = jax.vjp(lambda inputs: model(**inputs), inputs)
        (gradients,) = pullback(jnp.ones_like(Q))
        return Result(
            values=leave({"Q": Q}),
            gradients=leave(gradients),
            facts={
                "Q.requires_grad": program.outputs["Q"] in program.depends_on(set(inputs)),
                **before,
                "walk": program.walk("Q"),
                **{f"branch {i} ends at": branch.inputs[0] for i, branch in enumerate(branches) if branch},
            },
            native={"walk": program.native("Q")},
        )
