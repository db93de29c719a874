"""What both sides of a pair of the user's own speak: arguments and answers by name, and what is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np

from scenarios.types import Arrays, unavailable


class UnusablePortError(ValueError):
    """A side, its parameters or its arguments cannot be compared; the message says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Arguments:
    """Positional arguments: arrays anywhere within sequences and mappings, and whatever else stays as it is.

    Attributes:
        tree: the arguments, with a :class:`Leaf` in the place of every array.
        arrays: by name, such as ``args[0]`` or ``args[1].mask``.
    """

    tree: tuple[Any, ...]
    arrays: Arrays

    @classmethod
    def of(cls, arguments: Sequence[Any]) -> "Arguments":
        """Take arguments apart.

        Args:
            arguments: each an array (of NumPy, or of a framework on the host), a number, or a sequence or
                mapping of such; all else is handed to both sides as it is.
        """
        arrays: dict[str, np.ndarray] = {}

        def taken(branch: Any, name: str) -> Any:  # noqa: ANN401  # any tree
            if isinstance(branch, Mapping):
                return {key: taken(value, f"{name}.{key}") for key, value in branch.items()}
            if isinstance(branch, list | tuple):
                parts = [taken(value, f"{name}[{k}]") for k, value in enumerate(branch)]
                return parts if isinstance(branch, list) else tuple(parts)
            if hasattr(branch, "__array__"):
                arrays[name] = as_array(branch)
                return Leaf(name)
            return branch

        tree = taken(tuple(arguments), "args")
        return cls(tree, arrays)

    def filled(self, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments with these in the places of their arrays."""

        def put(branch: Any) -> Any:  # noqa: ANN401  # any tree
            if isinstance(branch, Leaf):
                return arrays[branch.name]
            if isinstance(branch, dict):
                return {key: put(value) for key, value in branch.items()}
            if isinstance(branch, list | tuple):
                return type(branch)(map(put, branch))
            return branch

        filled: tuple[Any, ...] = put(self.tree)
        return filled


@dataclass(frozen=True)
class Leaf:
    """The place of an array in a tree."""

    name: str


#: What each optimizer can be told besides its learning rate, with PyTorch's defaults: what both sides have.
OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
        "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
        "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
    }
)


@dataclass(frozen=True)
class Training:
    """A training run that both sides can do, on the same arguments at every step.

    Options have the names and, where they are None, the defaults of ``torch.optim``, and mean what they mean
    there: epsilons stand outside the root, the decay of ``adam``, ``sgd`` and ``rmsprop`` is added to the
    gradient, that of ``adamw`` is decoupled from it, and averages start from zero.

    Attributes:
        optimizer: a key of :data:`OPTIONS`, which says what options it has.
        steps: how many.
        lr: the learning rate of every step.
        momentum, nesterov, betas, alpha, eps, weight_decay: options.

    Raises:
        UnusablePortError: there is no such optimizer, it has no such option, or a value is none.
    """

    optimizer: str
    steps: int
    lr: float
    momentum: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    alpha: float | None = None
    eps: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        """Refuse what neither side could do."""
        _refuse_training({entry.name: getattr(self, entry.name) for entry in fields(self)})

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Training":
        """The training that is told by name, as ``{"optimizer": "adam", "lr": 1e-3, "steps": 50}``.

        Raises:
            UnusablePortError: as for the class; or a name is unknown, or one that is needed is missing.
        """
        for name in ("optimizer", "steps", "lr"):
            if name not in settings:
                raise UnusablePortError(
                    f"training is told no {name}: give optimizer, lr and steps, such as optimizer=adam, "
                    "lr=1e-3, steps=50."
                )
        _refuse_training(settings)
        return cls(**settings)

    @property
    def told(self) -> Mapping[str, Any]:
        """All options of the optimizer by name, those that are not given as they are by default."""
        options = OPTIONS[self.optimizer]
        given = {name: getattr(self, name) for name in options}
        return {name: options[name] if value is None else value for name, value in given.items()}


def _refuse_training(settings: Mapping[str, Any]) -> None:
    optimizer, steps, lr = (settings[name] for name in ("optimizer", "steps", "lr"))
    if optimizer not in OPTIONS:
        raise UnusablePortError(str(unavailable("optimizer", str(optimizer), tuple(OPTIONS))))
    if not _is_number(steps, Integral, least=1):
        raise UnusablePortError(f"steps is {steps!r}: train a whole number of steps, at least 1.")
    if not _is_number(lr, Real) or lr == 0:
        raise UnusablePortError(f"lr is {lr!r}: a learning rate is a number above 0, such as 1e-3.")
    given = {n: v for n, v in settings.items() if v is not None and n not in {"optimizer", "steps", "lr"}}
    for name, value in given.items():
        if name not in OPTIONS[optimizer]:
            known = ("lr", "steps", *OPTIONS[optimizer])
            raise UnusablePortError(str(unavailable(f"option of {optimizer}", name, known)))
        _refuse_option(name, value)
    if given.get("nesterov") and not given.get("momentum"):
        raise UnusablePortError("nesterov needs a momentum: give momentum=0.9, say.")


def _refuse_option(name: str, value: object) -> None:
    if name == "nesterov":
        if not isinstance(value, bool):
            raise UnusablePortError(f"nesterov is {value!r}: give True or False.")
    elif name == "betas":
        if not (isinstance(value, tuple) and len(value) == 2 and all(_is_share(beta) for beta in value)):  # noqa: PLR2004  # one a moment
            raise UnusablePortError(
                f"betas is {value!r}: give two numbers from 0 to below 1, such as (0.9, 0.999)."
            )
    elif name == "alpha":
        if not _is_share(value):
            raise UnusablePortError(f"alpha is {value!r}: give a number from 0 to below 1, such as 0.99.")
    elif not _is_number(value, Real):
        raise UnusablePortError(f"{name} is {value!r}: give a number that is not below 0.")


def _is_number(value: object, kind: type, least: int = 0) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value < inf  # type: ignore[operator]  # a number


def _is_share(value: object) -> bool:
    return _is_number(value, Real) and value < 1  # type: ignore[operator]  # a number


@dataclass(frozen=True, eq=False)
class Answer:
    """What a side computed.

    Attributes:
        values: outputs by name (``output``, ``output[0]``, ``output.key``), and ``loss`` where there is one.
        gradients: of the loss, by the side's own names of its parameters, and by the names of the arguments.
        updates: what parameters that are no trained ones were changed to, by the side's own names.
    """

    values: Arrays
    gradients: Arrays
    updates: Arrays = field(default_factory=dict)


def as_array(given: Any) -> np.ndarray:  # noqa: ANN401  # an array of whatever library
    """A copy as a NumPy array.

    Raises:
        UnusablePortError: it is no array of numbers.
    """
    held = given.detach().cpu().resolve_conj().numpy() if hasattr(given, "detach") else given
    array = np.array(held)
    if array.dtype.kind not in "fciub" and array.dtype.name != "bfloat16":
        raise UnusablePortError(f"{type(given).__name__} of {array.dtype} is no array of numbers.")
    return array


def of_float(array: np.ndarray) -> bool:
    """Whether an array is differentiated by, and moved to the precision of the run."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def weights(name: str, shape: Sequence[int]) -> np.ndarray:
    """With what an output that no loss is given for is multiplied, to be summed and differentiated.

    The same numbers on both sides and in every precision (they are float32), different for every output.
    """
    random = np.random.default_rng(crc32(name.encode()))
    return np.asarray(random.standard_normal(tuple(shape)), np.float32)


def moments_and_buffers(state: Arrays) -> tuple[Arrays, Arrays]:
    """What of a state is the optimizer's, and the rest by name, which the state calls ``buffers.<name>``."""
    mark = "buffers."
    return (
        {name: array for name, array in state.items() if not name.startswith(mark)},
        {name.removeprefix(mark): array for name, array in state.items() if name.startswith(mark)},
    )


def leaves(tree: Any, kind: type, name: str = "output") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # any tree
    """The leaves of a tree that are of a kind, by name; fields of named tuples and keys follow a dot."""
    if isinstance(tree, kind):
        yield name, tree
    elif isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from leaves(branch, kind, f"{name}.{key}")
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        for key in tree._fields:
            yield from leaves(getattr(tree, key), kind, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for k, branch in enumerate(tree):
            yield from leaves(branch, kind, f"{name}[{k}]")
