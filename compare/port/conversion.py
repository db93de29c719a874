"""Maps and conversions for what users hold: a ``state_dict`` of PyTorch, and a pytree of JAX."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare import twins
from compare.port import mapping, matching
from compare.port.load import nested
from compare.port.mapping import Map, MapError, Side, nearest


def match(
    state_dict: object,
    pytree: object,
    *,
    corrections: Mapping[str, str | None] | Map | None = None,
    values: bool = False,
) -> Map:
    """The most likely bijection between the parameters of a PyTorch module and those of its JAX port.

    Neither is run. The map prints as a table, says what it guessed and what is left over, and is saved as
    JSON that can be read and mended (:meth:`Map.save`, :meth:`Map.load`). :func:`compare.check` knows more,
    since it sees in which order parameters are used; its verdict has its map.

    Args:
        state_dict: of tensors or arrays by name, or the module itself.
        pytree: of arrays, or of what only has their shapes: nested dicts and lists, the variables of flax,
            the state of nnx, the parameters of haiku, a module of equinox.
        corrections: names of the ``state_dict`` with the paths that they belong to, such as
            ``{"fc.weight": "params.Dense_0.kernel"}``, or None for none; or a map, whose pieces stand.
        values: whether both hold the same model, so that equal values tell which is which.

    Raises:
        MapError: a correction names what is not there, or joins what no layout joins.
        UnusablePortError: there is what is no array of numbers.
    """
    return matching.match(
        twins.arrays("imperative", state_dict),
        twins.arrays("functional", pytree),
        corrections=corrections,
        tied=twins.tied(state_dict),
        values=values,
    )


def to_functional(state_dict: object, map: Map, like: object = None) -> Any:  # noqa: A002, ANN401  # what it is; any pytree
    """The pytree that holds what a ``state_dict`` does, bit for bit.

    Args:
        state_dict: of tensors or arrays by name, or the module itself.
        map: that joins them.
        like: a pytree, or only its shapes: what is returned has its structure, arrays of NumPy where it has
            such and of JAX else, and whatever of it the map leaves over. Without it, nested dicts and lists
            of NumPy arrays by path are returned (``layers[0].w`` is ``["layers"][0]["w"]``), without what is
            left over; blocks that are left over are zero.

    Returns:
        Of the dtypes of the ``state_dict``; no memory is shared with it.

    Raises:
        MapError: an array is missing, unknown to the map or of another shape; those of one functional array
            have several dtypes; or the copies of a tied one differ.
        LoadError: without ``like``, the paths are those of no nested dicts and lists.
    """
    held = _known(state_dict, map, "imperative")
    if like is None:
        return nested("the map", mapping.to_functional(held, map))
    there = twins.arrays("functional", like)
    map.check("functional", there)
    made = mapping.to_functional(held, map, like=there)
    return twins.filled("functional", {p.functional: made[p.functional] for p in map.pieces}, like)


def to_imperative(pytree: object, map: Map, like: object = None) -> dict[str, Any]:  # noqa: A002  # what it is
    """Tensors for ``load_state_dict`` that hold what a pytree does, bit for bit.

    Args:
        pytree: of arrays.
        map: that joins them.
        like: a ``state_dict``, or the module, for whatever the map leaves over, such as counters. Without it,
            these are not returned (``load_state_dict`` then wants ``strict=False``), and blocks are zero.

    Returns:
        By name, on the CPU, of the dtypes of the pytree; no memory is shared with it.

    Raises:
        MapError: as :func:`to_functional`, with the sides exchanged.
    """
    there = {} if like is None else _known(like, map, "imperative")
    held = _known(pytree, map, "functional")
    made: dict[str, Any] = twins.filled("imperative", mapping.to_imperative(held, map, like=there))
    return made


def _known(tree: object, by: Map, side: Side) -> Mapping[str, np.ndarray]:
    """The arrays of a side, all of which the map lists."""
    arrays = twins.arrays(side, tree)
    for name in arrays.keys() - by.shapes[side].keys():
        raise MapError(
            f"the map lists no {side} array {name!r}{nearest(name, by.shapes[side])}; match again."
        )
    return arrays
