"""What both sides of a pair of the user's own speak: arguments and answers by name, and what is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from scenarios.types import Arrays


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
    held = given.detach().cpu().resolve_conj() if hasattr(given, "detach") else given
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
