"""Plants one change in a private copy of a functional twin: a defect to be found, or what both sides have.

Nothing is changed for anyone else: the copy has a namespace of its own, in which names are bound anew before
anything is traced.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec, module_from_spec
from inspect import signature, unwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import scenarios
from functional.arrays import Pytree
from functional.history import Row
from scenarios import Arrays, Dtype, Result, Statement

Module = Any  # a module in which names are bound anew

# The leaf, or the function, that a change of a single one befalls.
_TARGETS = {"a", "hidden1.weight", "tanh"}


def plant(scenario: str, change: str) -> Module | None:
    """A copy of the twin called ``scenario`` with a change; None if it has no place for it.

    Args:
        scenario: by name.
        change: a key of :data:`CHANGES`.

    Raises:
        KeyError: there is no such change.
    """
    spec = find_spec(f"functional.{scenario}")
    assert spec is not None
    assert spec.loader is not None
    twin = module_from_spec(spec)
    spec.loader.exec_module(twin)
    return twin if CHANGES[change](twin) else None


def _source(twin: Module) -> str:
    return Path(twin.__file__).read_text("utf-8")


def _statement(twin: Module) -> Statement:
    return scenarios.get(twin.__name__.rpartition(".")[2])


class _Instead:
    """A module with some of its names bound to something else."""

    def __init__(self, module: Any, **names: object) -> None:  # noqa: ANN401  # modules and namespaces alike
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


def _gradient(change: Callable[[jax.Array], jax.Array], twin: Module, *, every: bool = False) -> bool:
    """Change the gradient of the target, or of every leaf."""

    def changed(gradients: Pytree) -> Pytree:
        return {name: change(g) if every or name in _TARGETS else g for name, g in gradients.items()}

    if hasattr(twin, "value_and_gradients"):
        honest = twin.value_and_gradients

        def tampered(*arguments: object, **data: object) -> tuple[jax.Array, Pytree]:
            value, gradients = honest(*arguments, **data)
            return value, changed(gradients)

        twin.value_and_gradients = jax.jit(tampered)
    elif hasattr(twin, "gradient"):
        honest_gradient = twin.gradient
        twin.gradient = lambda inputs: changed(honest_gradient(inputs))
    elif hasattr(twin, "derivative"):
        slope = twin.derivative
        names = {function: name for name, function in twin.FUNCTIONS.items()}
        twin.derivative = lambda function, x: changed({names[function]: slope(function, x)})[names[function]]
    elif hasattr(twin, "jax"):

        def vjp(function: Callable[..., object], inputs: Pytree) -> tuple[object, Callable[..., object]]:
            value, pullback = jax.vjp(function, inputs)
            return value, lambda cotangent: (changed(pullback(cotangent)[0]),)

        twin.jax = _Instead(jax, vjp=vjp)
    else:
        return False
    return True


def _negated(gradient: jax.Array) -> jax.Array:
    flat = gradient.ravel()
    return flat.at[jnp.abs(flat).argmax()].multiply(-1).reshape(gradient.shape)


def _scaled(factor: float, gradient: jax.Array) -> jax.Array:
    return gradient * factor


def _loss(change: Callable[..., jax.Array], twin: Module) -> bool:
    """Change the loss of twins that fit points."""
    honest = getattr(twin, "loss", None)
    if honest is None or "y" not in signature(honest).parameters:
        return False

    def loss(params: Pytree, *data: jax.Array, **named: jax.Array) -> jax.Array:
        return change(honest, params, *data, **named)

    twin.loss = loss
    twin.value_and_gradients = jax.jit(jax.value_and_grad(loss))
    return True


def _other_reduction(loss: Callable[..., jax.Array], params: Pytree, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean where the loss is a sum, and the sum where it is a mean."""
    summed = "mean" not in unwrap(loss).__code__.co_names
    return loss(params, x, y) / y.size if summed else loss(params, x, y) * y.size


def _activation(function: Callable[[jax.Array], jax.Array], twin: Module) -> bool:
    """Put another function in the place of ReLU."""
    if hasattr(twin, "FUNCTIONS"):
        twin.FUNCTIONS = {**twin.FUNCTIONS, "relu": function}
    elif hasattr(twin, "s"):
        twin.s = function
    elif hasattr(twin, "model") and "relu" in _source(twin):
        twin.jax = _Instead(jax, nn=_Instead(jax.nn, relu=function))
    else:
        return False
    return True


def _entering(change: Callable[[Pytree], Pytree], *needs: str) -> Callable[[Module], bool]:
    """Change the arrays as they enter, where they hold what the change ``needs``."""

    def planted(twin: Module) -> bool:
        honest = twin.enter

        def enter(arrays: Arrays, dtype: Dtype) -> Pytree:
            entered = honest(arrays, dtype)
            return change(entered) if set(needs) <= entered.keys() else entered

        twin.enter = enter
        statement = _statement(twin)
        return set(needs) <= {*statement.start, *statement.data}

    return planted


def _swapped(one: str, other: str) -> Callable[[Module], bool]:
    def change(entered: Pytree) -> Pytree:
        return {**entered, one: entered[other], other: entered[one]}

    return _entering(change, one, other)


def _transposed(entered: Pytree) -> Pytree:
    return {**entered, "hidden1.weight": entered["hidden1.weight"].T}


def _narrowed(entered: Pytree) -> Pytree:
    return {name: array.astype(jnp.float32).astype(array.dtype) for name, array in entered.items()}


def _standardised(ddof: int, entered: Pytree) -> Pytree:
    return {**entered, "y": entered["y"] / jnp.std(entered["y"], ddof=ddof)}


def _shifted(entered: Pytree) -> Pytree:
    return {**entered, "y": jnp.roll(entered["y"], 1, axis=0)}


def _shuffled(entered: Pytree) -> Pytree:
    """The points in another order than their labels."""
    x = entered["x"]
    return {**entered, "x": x[jnp.argsort(jnp.sin(7.0 * jnp.arange(len(x))))]}


def _frozen(twin: Module) -> bool:
    """Leave the target where it is in every step."""
    if not hasattr(twin, "step"):
        return False
    honest = twin.step

    def step(params: Pytree, *rest: object, **named: object) -> tuple[object, ...]:
        moved, *state, row = honest(params, *rest, **named)
        kept = {name: params[name] if name in _TARGETS else moved[name] for name in params}
        return kept, *state, Row(row.loss, row.gradients, kept)

    twin.step = step
    return True


def _fewer(twin: Module) -> bool:
    """Take one step fewer than asked for."""
    if not hasattr(twin, "step"):
        return False
    honest = twin.run

    def run(statement: Statement, **options: Any) -> Result:  # noqa: ANN401  # whatever run takes
        training = statement.require_training()
        shorter = replace(training, steps=max(0, training.steps - 1))
        result: Result = honest(replace(statement, training=shorter), **options)
        return result

    twin.run = run
    return True


def _adam(
    rate: float,
    *,
    epsilon: float = 1e-8,
    inside: bool = False,
    corrected: bool = True,
    decay: float = 0.0,
    decoupled: bool = False,
    clip: float | None = None,
    guard: float = 0.0,
    fading: float = 1.0,
    late: int = 0,
) -> optax.GradientTransformation:
    """Adam with optax's state, written out, and with every option that a change needs.

    Args:
        rate: the learning rate.
        epsilon: what keeps the quotient finite.
        inside: add it inside the root.
        corrected: correct the bias of the moments.
        decay: weight decay.
        decoupled: subtract it from the parameters instead of adding it to the gradient.
        clip: the norm that the whole gradient is clipped to.
        guard: what is added to the norm before it divides.
        fading: factor by which the learning rate falls at each step.
        late: how many steps too early it does.
    """
    plain = optax.adam(rate)

    def update(
        gradients: Pytree,
        state: Any,  # noqa: ANN401  # optax's own
        params: Pytree | None = None,
    ) -> tuple[Pytree, Any]:
        assert params is not None
        moments, rest = state
        if clip is not None:
            norm = jnp.sqrt(sum(jnp.sum(g**2) for g in gradients.values()))
            gradients = {n: g * jnp.minimum(1, clip / (norm + guard)) for n, g in gradients.items()}
        if not decoupled:
            gradients = {n: g + decay * params[n] for n, g in gradients.items()}
        count = moments.count + 1
        first = {n: 0.9 * moments.mu[n] + 0.1 * g for n, g in gradients.items()}
        second = {n: 0.999 * moments.nu[n] + 0.001 * g**2 for n, g in gradients.items()}
        updates = {}
        for name, param in params.items():
            time = count.astype(param.dtype)
            m = first[name] / (1 - 0.9**time) if corrected else first[name]
            v = second[name] / (1 - 0.999**time) if corrected else second[name]
            step = m / (jnp.sqrt(v + epsilon) if inside else jnp.sqrt(v) + epsilon)
            if decoupled:
                step = step + decay * param
            updates[name] = -rate * fading ** (time - 1 + late) * step
        return updates, (moments._replace(count=count, mu=first, nu=second), rest)

    return optax.GradientTransformation(plain.init, update)


def _optimizer(**options: Any) -> Callable[[Module], bool]:  # noqa: ANN401  # of _adam
    """Put another Adam in the place of optax's."""

    def planted(twin: Module) -> bool:
        if not hasattr(twin, "optax"):
            return False
        twin.optax = _Instead(optax, adam=partial(_adam, **options))
        return True

    return planted


def _reordered(loss: Callable[..., jax.Array], params: Pytree, x: jax.Array, y: jax.Array) -> jax.Array:
    """The same loss, its points taken from the last to the first."""
    return loss(params, x[::-1], y[::-1])


def _unjitted(twin: Module) -> bool:
    """Run every operation by itself."""
    honest = twin.run

    def run(*arguments: object, **options: Any) -> Result:  # noqa: ANN401  # whatever run takes
        with jax.disable_jit():
            result: Result = honest(*arguments, **options)
            return result

    twin.run = run
    return True


def _columns(twin: Module) -> bool:
    """A network of two hidden ReLU layers by columns, where the twin has its points in rows."""
    source = _source(twin)
    if "relu" not in source or "hidden1.weight" not in source:
        return False

    def model(params: Pytree, a0: jax.Array) -> jax.Array:
        column = a0.T
        for layer in ("input", "hidden1"):
            column = jax.nn.relu(params[f"{layer}.weight"] @ column + params[f"{layer}.bias"][:, None])
        return (params["hidden2.weight"] @ column + params["hidden2.bias"][:, None]).T

    twin.model = model
    return True


_each = partial(partial, _gradient, every=True)
_one = partial(partial, _gradient)

#: Every change by name, as a function from a twin to whether it has a place for it.
CHANGES: dict[str, Callable[[Module], bool]] = {
    "none": lambda twin: True,  # noqa: ARG005
    "sign of one gradient entry": _one(_negated),
    "gradients doubled": _each(partial(_scaled, 2.0)),
    "detached leaf": _one(partial(_scaled, 0.0)),
    "gradient off by 1e-6": _one(partial(_scaled, 1 + 1e-6)),
    "gradient off by 1e-9": _one(partial(_scaled, 1 + 1e-9)),
    "gradient off by 1e-12": _one(partial(_scaled, 1 + 1e-12)),
    "mean for sum": partial(_loss, _other_reduction),
    "frozen leaf": _frozen,
    "scalars swapped": _swapped("a", "b"),
    "leaves of equal shape swapped": _swapped("input.bias", "hidden1.bias"),
    "square weight transposed": _entering(_transposed, "hidden1.weight"),
    "leaky relu": partial(_activation, partial(jax.nn.leaky_relu, negative_slope=1e-6)),
    "gelu": partial(_activation, partial(jax.nn.gelu, approximate=False)),
    "gelu by tanh": partial(_activation, jax.nn.gelu),
    "float32 leak": _entering(_narrowed),
    "standardised": _entering(partial(_standardised, 0), "y"),
    "standardised with ddof 1": _entering(partial(_standardised, 1), "y"),
    "labels shifted by one": _entering(_shifted, "y"),
    "points shuffled": _entering(_shuffled, "x", "y"),
    "one step fewer": _fewer,
    "points reordered": partial(_loss, _reordered),
    "unjitted": _unjitted,
    "columns": _columns,
    "optimizer written out": _optimizer(),
    "epsilon inside the root": _optimizer(inside=True),
    "epsilon 1e-7": _optimizer(epsilon=1e-7),
    "no bias correction": _optimizer(corrected=False),
    "weight decay 1e-8": _optimizer(decay=1e-8),
    "coupled decay": _optimizer(decay=1e-2),
    "decoupled decay": _optimizer(decay=1e-2, decoupled=True),
    "clipped": _optimizer(clip=1e-2),
    "clipped with 1e-6": _optimizer(clip=1e-2, guard=1e-6),
    "fading rate": _optimizer(fading=0.99),
    "fading rate off by one": _optimizer(fading=0.99, late=1),
}
