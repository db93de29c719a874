"""The atlas: where PyTorch and JAX mean different things by one name, measured here and now.

What an entry states is in :mod:`scenarios.atlas`; nothing of what is said of it is typed in.
"""

from collections.abc import Iterator, Sequence

from compare.atlas.measure import Quantity, Reading, Sides, measured
from scenarios.atlas import ALL, Family
from scenarios.types import Device

__all__ = ["Quantity", "Reading", "readings"]


def readings(families: Sequence[Family] = tuple(ALL), device: Device = "cpu") -> Iterator[Reading]:
    """What is measured of every entry, one after the other, in float32 and in float64.

    Args:
        families: of entries.
        device: to compute on.
    """
    sides = Sides(device)
    for family in families:
        for entry in ALL[family]:
            yield from measured(entry, sides)
