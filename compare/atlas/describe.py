"""Puts the atlas into tables and documents."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from compare.atlas.measure import Quantities, Reading, worst
from compare.describe import Table
from compare.record import encode
from scenarios import atlas

LEGEND = (
    "value, gradient, second: PyTorch's expression and what is written for it in JAX at first, as the judge "
    "has them in either precision; second derivatives are those of the sum of all gradients. forward: both "
    "in forward mode. own modes: by side, reverse mode against forward mode. compiled: JAX step by step "
    "against JAX compiled, in float32. translation: value and gradients of PyTorch's against what the atlas "
    "says for it in JAX. type: of the value on either side, where that differs. refused: a side does not "
    "offer it.\n"
)


def table(readings: Iterable[Reading]) -> Table:
    """A row per entry: the words of both precisions, where they are not the same one after the other."""
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        found.setdefault(reading.entry, []).append(reading)
    header = (
        "entry",
        "value",
        "gradient",
        "translation",
        "type",
        "second",
        "forward",
        "own modes",
        "compiled",
    )
    return Table("Atlas", header, tuple(_row(entry, both) for entry, both in found.items()))


def document(readings: Iterable[Reading]) -> bytes:
    """All of it as one JSON document: arrays as lists, numbers that JSON lacks as words."""
    return encode([_plain(reading) for reading in readings])


def _row(entry: str, both: Sequence[Reading]) -> tuple[str, ...]:
    ports = [reading.port for reading in both]
    return (
        entry,
        _words(ports, "value"),
        _words(ports, "gradient"),
        _either(reading.translated for reading in both),
        _types(ports),
        _words(ports, "second"),
        _words(ports, "tangent"),
        " / ".join(
            _either(worst(reading.modes[side], ("mode",)) for reading in both)
            for side in ("imperative", "functional")
        ),
        _either(worst(reading.compiled) for reading in both if reading.compiled),
    )


def _words(ports: Iterable[Quantities], kind: str) -> str:
    return _either(worst(port, (kind,)) if _any(port, kind) else "" for port in ports)


def _types(ports: Iterable[Quantities]) -> str:
    """The types of the value on both sides, where they are not the same."""
    found = (quantity for port in ports for quantity in port if quantity.name == "type")
    return _either(quantity.reason for quantity in found if quantity.word == "different")


def _any(port: Quantities, kind: str) -> bool:
    return any(quantity.name.partition(".")[0] == kind for quantity in port)


def _either(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word)) or "–"


def _plain(reading: Reading) -> dict[str, object]:
    entry = atlas.get(reading.entry)
    return {
        "entry": entry.name,
        "dtype": reading.dtype,
        "word": reading.word,
        "torch": entry.torch,
        "jax": entry.jax,
        "translation": entry.translation,
        "translated": reading.translated,
        "at": {name: _numbers(array) for name, array in entry.arrays.items()},
        "note": entry.note,
        "source": list(entry.source),
        "port": list(_quantities(reading.port)),
        "by_translation": list(_quantities(reading.translation)),
        "modes": {side: list(_quantities(found)) for side, found in reading.modes.items()},
        "compiled": list(_quantities(reading.compiled)),
    }


def _quantities(quantities: Quantities) -> Iterator[dict[str, object]]:
    for quantity in quantities:
        yield {
            "name": quantity.name,
            "word": quantity.word,
            "reason": quantity.reason,
            "ulps": quantity.ulps,
            "left": _numbers(quantity.left),
            "right": _numbers(quantity.right),
        }


def _numbers(array: np.ndarray | None) -> object:
    if array is None:
        return None
    return (array.astype(str) if array.dtype.kind == "c" else array).tolist()
