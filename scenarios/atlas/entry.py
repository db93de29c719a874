"""What an entry of the atlas states: one name in two frameworks, and where to look at both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Family = Literal["kinks", "layers", "losses", "optimizers", "precision", "schedules"]
Points = tuple[object, ...] | np.ndarray | float | complex


@dataclass(frozen=True)
class Entry:
    """One name that both frameworks have a meaning for.

    The expressions are Python, of the arguments in ``at``. Those of PyTorch may use ``torch``, ``F``
    (``torch.nn.functional``), ``nn`` (``torch.nn``), ``math`` and ``inf``; those of JAX ``jax``, ``jnp``,
    ``lax``, ``nn`` (``jax.nn``), ``jsp`` (``jax.scipy``), ``optax``, ``math`` and ``inf``.

    Attributes:
        name: of the entry, unique.
        torch: what is computed in PyTorch.
        jax: what whoever ports it writes first.
        at: the arguments by name; numbers with a point, or complex ones, are differentiated by.
        fixed: the arguments that are not differentiated by, such as weights that PyTorch takes for constants.
        translation: in JAX, what means the same as the PyTorch expression; empty where the port does.
        source: threads (``jax#37821``) and documented names (``torch.clamp``) that it is discussed under.
        note: what to know, in one sentence.
    """

    name: str
    torch: str
    jax: str
    at: Mapping[str, Points]
    fixed: tuple[str, ...] = ()
    translation: str = ""
    source: tuple[str, ...] = ()
    note: str = ""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arguments as arrays: of float64, complex128, int64 or bool."""
        return {name: np.array(points) for name, points in self.at.items()}
