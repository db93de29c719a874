"""P = Q², in JAX: one gets the gradients one asks for; a zero-tap asks for an intermediate one.

Source: the note, "The grad_fn attribute", equation (2).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from scenarios import Device, Dtype, Result, Statement, chain_rule


# %% step: model
def model(
    a: Float[Array, "1"], b: Float[Array, "1"], tap: Float[Array, "1"] | float = 0.0
) -> tuple[Float[Array, "1"], Float[Array, "1"]]:
    """Q = a³ − 3b and P = Q²; whatever ``tap`` adds to Q, dP/dtap is dP/dQ."""
    Q = a**3 - 3 * b + tap
    return Q, Q**2


def gradient(inputs: Pytree) -> Pytree:
    """The derivative of P with respect to each of ``inputs``, and to nothing else."""
    gradients: Pytree = jax.grad(lambda inputs: model(**inputs)[1].sum())(inputs)
    return gradients


# %% step: run
def run(
    statement: Statement = chain_rule.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Differentiate without and with a tap; a second gradient is added only where we add it."""
    with running(dtype, device):
        inputs = enter(statement.start, dtype)
        Q, P = model(**inputs)

        once = gradient(inputs)

        tapped = gradient({**inputs, "tap": jnp.zeros_like(Q)})
        with_Q = {("Q" if name == "tap" else name): g for name, g in tapped.items()}
        accumulated = {name: once[name] + with_Q[name] for name in once}
        return Result(
            values=leave({"Q": Q, "P": P, **{f"accumulated {name}": g for name, g in accumulated.items()}}),
            gradients=leave({**once, "Q": with_Q["Q"]}),
            facts={
                "gradients after backward": ", ".join(once),
                "gradients after retain_grad": ", ".join(with_Q),
            },
        )
