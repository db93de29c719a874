"""The atlas as stated: names that PyTorch and JAX share, and the points at which to hold them side by side.

Nothing here says what either framework does: that is measured (``compare.atlas``).
"""

from scenarios.atlas import kinks, layers, losses, precision
from scenarios.atlas.entry import Entry, Family

__all__ = ["ALL", "Entry", "Family"]

ALL: dict[Family, tuple[Entry, ...]] = {
    "kinks": kinks.ENTRIES,
    "losses": losses.ENTRIES,
    "layers": layers.ENTRIES,
    "precision": precision.ENTRIES,
}
