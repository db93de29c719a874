"""Plants one change in a private copy of an imperative twin: a defect to be found, or what both sides have.

Nothing is changed for anyone else: the copy has a namespace of its own, in which names are bound anew.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec, module_from_spec
from inspect import signature, unwrap
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import scenarios
from scenarios import Result, Statement

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
    spec = find_spec(f"imperative.{scenario}")
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


def _leaves(holder: object) -> dict[str, Tensor]:
    """The leaves by name, whoever holds them."""
    if isinstance(holder, nn.Module):
        return dict(holder.named_parameters())
    assert isinstance(holder, dict)
    return holder


def _gradient(make: Callable[[], Callable[[Tensor], Tensor]], twin: Module, *, every: bool = False) -> bool:
    """Change the gradient of the target, or of every leaf."""

    def hook(holder: object) -> None:
        """Hook every leaf when it is first used."""
        for name, leaf in _leaves(holder).items():
            if leaf.requires_grad and (every or name in _TARGETS) and not hasattr(leaf, "tampered"):
                leaf.tampered = leaf.register_hook(make())  # type: ignore[attr-defined]

    if hasattr(twin, "derivative"):
        return _slope(make, twin, every=every)
    if not hasattr(twin, "gradients"):
        return False
    used = "loss" if hasattr(twin, "loss") else "model"
    honest = getattr(twin, used)

    def tampered(*holders: object, **named: Tensor) -> object:
        if torch.is_grad_enabled():
            hook(holders[0] if holders else named)
        return honest(*holders, **named)

    setattr(twin, used, tampered)
    return True


def _slope(make: Callable[[], Callable[[Tensor], Tensor]], twin: Module, *, every: bool) -> bool:
    """Change the derivative of the target, or of every function."""
    slope, names = twin.derivative, {function: name for name, function in twin.FUNCTIONS.items()}

    def derivative(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        right: Tensor = slope(function, x)
        return make()(right) if every or names[function] in _TARGETS else right

    twin.derivative = derivative
    return True


def _negated(gradient: Tensor) -> Tensor:
    flat = gradient.flatten().clone()
    flat[flat.abs().argmax()] *= -1
    return flat.view_as(gradient)


def _scaled(factor: float) -> Callable[[], Callable[[Tensor], Tensor]]:
    return lambda: lambda gradient: gradient * factor


def _stale() -> Callable[[Tensor], Tensor]:
    """Add every gradient to all before it, as ``backward`` does where nobody clears them."""
    kept: list[Tensor] = []

    def accumulated(gradient: Tensor) -> Tensor:
        kept.append(gradient + kept[-1] if kept else gradient.clone())
        return kept[-1]

    return accumulated


def _loss(change: Callable[..., Tensor], twin: Module) -> bool:
    """Change the loss of twins that fit points."""
    honest = getattr(twin, "loss", None)
    if honest is None or "y" not in signature(honest).parameters:
        return False
    twin.loss = partial(change, honest)
    return True


def _other_reduction(loss: Callable[..., Tensor], holder: object, x: Tensor, y: Tensor) -> Tensor:
    """The mean where the loss is a sum, and the sum where it is a mean."""
    summed = "mse_loss" not in unwrap(loss).__code__.co_names
    return loss(holder, x, y) / y.numel() if summed else loss(holder, x, y) * y.numel()


def _activation(function: Callable[[Tensor], Tensor], twin: Module) -> bool:
    """Put another function in the place of ReLU."""
    if hasattr(twin, "FUNCTIONS"):
        twin.FUNCTIONS = {**twin.FUNCTIONS, "relu": function}
    elif hasattr(twin, "s"):
        twin.s = function
    elif hasattr(twin, "Network") and "relu" in _source(twin):
        # The class was made before; its methods look the name up when they run.
        twin.nn = _Instead(nn, functional=_Instead(nn.functional, relu=function))
    else:
        return False
    return True


def _entering(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], *needs: str
) -> Callable[[Module], bool]:
    """Change the arrays as they enter, where they hold what the change ``needs``."""

    def planted(twin: Module) -> bool:
        honest = twin.enter

        def enter(*arguments: object) -> dict[str, Tensor]:
            entered: dict[str, Tensor] = honest(*arguments)
            return change(entered) if set(needs) <= entered.keys() else entered

        twin.enter = enter
        statement = _statement(twin)
        return set(needs) <= {*statement.start, *statement.data}

    return planted


def _swapped(one: str, other: str) -> Callable[[Module], bool]:
    def change(entered: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**entered, one: entered[other], other: entered[one]}

    return _entering(change, one, other)


def _transposed(entered: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**entered, "hidden1.weight": entered["hidden1.weight"].T.clone()}


def _narrowed(entered: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float().to(tensor.dtype) for name, tensor in entered.items()}


def _standardised(correction: int, entered: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**entered, "y": entered["y"] / entered["y"].std(correction=correction)}


def _shifted(entered: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**entered, "y": entered["y"].roll(1, 0)}


def _shuffled(entered: dict[str, Tensor]) -> dict[str, Tensor]:
    """The points in another order than their labels."""
    x = entered["x"]
    return {**entered, "x": x[torch.sin(7.0 * torch.arange(len(x))).argsort()]}


def _frozen(twin: Module) -> bool:
    """Leave the target where it is in every step."""
    if not hasattr(twin, "step"):
        return False
    honest = twin.step

    def step(holder: object, *rest: object, **named: object) -> Tensor:
        kept = {name: leaf.detach().clone() for name, leaf in _leaves(holder).items() if name in _TARGETS}
        value: Tensor = honest(holder, *rest, **named)
        with torch.no_grad():
            for name, before in kept.items():
                _leaves(holder)[name].copy_(before)
        return value

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


class _Adam(torch.optim.Adam):
    """Adam with PyTorch's state, written out, and with every option that a change needs.

    Args:
        parameters: to train.
        lr: the learning rate.
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

    def __init__(
        self,
        parameters: Any,  # noqa: ANN401  # whatever an optimizer takes
        lr: float,
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
    ) -> None:
        super().__init__(parameters, lr=lr)
        self.rate, self.epsilon, self.inside, self.corrected = lr, epsilon, inside, corrected
        self.decay, self.decoupled, self.clip, self.guard = decay, decoupled, clip, guard
        self.fading, self.late = fading, late

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401, ARG002
        """One step, in place."""
        leaves = [leaf for leaf in self.param_groups[0]["params"] if leaf.grad is not None]
        scale: Tensor | float = 1.0
        if self.clip is not None:
            norm = torch.sqrt(sum((leaf.grad**2).sum() for leaf in leaves))
            scale = torch.clamp(self.clip / (norm + self.guard), max=1.0)
        for leaf in leaves:
            gradient = leaf.grad * scale
            if not self.decoupled:
                gradient = gradient + self.decay * leaf
            memory = self.state[leaf]
            first, second = (memory.get(k, torch.zeros_like(leaf)) for k in ("exp_avg", "exp_avg_sq"))
            time = float(memory.get("step", torch.tensor(0.0))) + 1
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            self.state[leaf] = {"step": torch.tensor(time), "exp_avg": first, "exp_avg_sq": second}
            m = first / (1 - 0.9**time) if self.corrected else first
            v = second / (1 - 0.999**time) if self.corrected else second
            update = m / (torch.sqrt(v + self.epsilon) if self.inside else torch.sqrt(v) + self.epsilon)
            if self.decoupled:
                update = update + self.decay * leaf
            leaf.sub_(self.rate * self.fading ** (time - 1 + self.late) * update)


def _optimizer(**options: Any) -> Callable[[Module], bool]:  # noqa: ANN401  # of _Adam
    """Put another Adam in the place of PyTorch's."""

    def planted(twin: Module) -> bool:
        if "optim.Adam" not in _source(twin):
            return False
        twin.torch = _Instead(torch, optim=_Instead(torch.optim, Adam=partial(_Adam, **options)))
        return True

    return planted


_each = partial(partial, _gradient, every=True)
_one = partial(partial, _gradient)


def _reordered(loss: Callable[..., Tensor], holder: object, x: Tensor, y: Tensor) -> Tensor:
    """The same loss, its points taken from the last to the first."""
    return loss(holder, x.flip(0), y.flip(0))


def _native(**options: Any) -> Callable[[Module], bool]:  # noqa: ANN401  # of Adam
    """PyTorch's own Adam in another of its implementations."""

    def planted(twin: Module) -> bool:
        if "optim.Adam" not in _source(twin):
            return False
        twin.torch = _Instead(torch, optim=_Instead(torch.optim, Adam=partial(torch.optim.Adam, **options)))
        return True

    return planted


#: Every change by name, as a function from a twin to whether it has a place for it.
CHANGES: dict[str, Callable[[Module], bool]] = {
    "none": lambda twin: True,  # noqa: ARG005
    "sign of one gradient entry": _one(lambda: _negated),
    "gradients doubled": _each(_scaled(2.0)),
    "detached leaf": _one(_scaled(0.0)),
    "gradient off by 1e-6": _one(_scaled(1 + 1e-6)),
    "gradient off by 1e-9": _one(_scaled(1 + 1e-9)),
    "gradient off by 1e-12": _one(_scaled(1 + 1e-12)),
    "gradients never cleared": _each(_stale),
    "mean for sum": partial(_loss, _other_reduction),
    "frozen leaf": _frozen,
    "scalars swapped": _swapped("a", "b"),
    "leaves of equal shape swapped": _swapped("input.bias", "hidden1.bias"),
    "square weight transposed": _entering(_transposed, "hidden1.weight"),
    "leaky relu": partial(_activation, partial(nn.functional.leaky_relu, negative_slope=1e-6)),
    "gelu": partial(_activation, nn.functional.gelu),
    "gelu by tanh": partial(_activation, partial(nn.functional.gelu, approximate="tanh")),
    "float32 leak": _entering(_narrowed),
    "standardised": _entering(partial(_standardised, 0), "y"),
    "standardised with ddof 1": _entering(partial(_standardised, 1), "y"),
    "labels shifted by one": _entering(_shifted, "y"),
    "points shuffled": _entering(_shuffled, "x", "y"),
    "one step fewer": _fewer,
    "points reordered": partial(_loss, _reordered),
    "fused optimizer": _native(fused=True),
    "foreach optimizer": _native(foreach=True),
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
