"""The atlas as stated: names that PyTorch and JAX share, and the points at which to hold them side by side.

Nothing here says what either framework does: that is measured (``compare.atlas``).
"""

from scenarios.atlas import kinks, layers, losses, precision
from scenarios.atlas.entry import Entry, Family
from scenarios.types import unavailable

__all__ = ["ALL", "Entry", "Family", "get"]

ALL: dict[Family, tuple[Entry, ...]] = {
    "kinks": kinks.ENTRIES,
    "losses": losses.ENTRIES,
    "layers": layers.ENTRIES,
    "precision": precision.ENTRIES,
}


def get(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UnavailableError: there is none; the message suggests the nearest.
    """
    entries = {entry.name: entry for family in ALL.values() for entry in family}
    if name not in entries:
        raise unavailable("entry", name, list(entries))
    return entries[name]
