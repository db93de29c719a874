"""A saved bench: ``bench.json``, with every raw sample, by itself or beside a saved run."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from compare.record import (
    SCHEMA_VERSION,
    Environment,
    UnreadableRunError,
    UnwritableRunError,
    decode,
    decode_current,
    encode,
)
from compare.timing.bench import Timed

FILE = "bench.json"


@dataclass(frozen=True)
class Bench:
    """What was timed, where and how.

    Attributes:
        environment: versions, machine, devices.
        threads: cores that each side could use.
        rounds: samples of every variant.
        timed: every variant of every scenario at every size; rivals stand together.
    """

    environment: Environment
    threads: int
    rounds: int
    timed: tuple[Timed, ...]


@dataclass(frozen=True)
class _Saved:
    schema_version: int
    checksum: str
    bench: msgspec.Raw


def _checksum(bench: msgspec.Raw) -> str:
    return sha256(msgspec.json.format(bench, indent=-1)).hexdigest()


def save(directory: Path, bench: Bench) -> None:
    """Write the bench into ``directory``, which is made if it does not exist; one that is there is replaced.

    Raises:
        UnwritableRunError: it cannot be written.
    """
    raw = msgspec.Raw(encode(bench))
    document = msgspec.json.encode(_Saved(SCHEMA_VERSION, _checksum(raw), raw))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_bytes(msgspec.json.format(document, indent=1))
    except OSError as error:
        raise UnwritableRunError(f"cannot write to {directory}: {error.strerror}.") from error


def load(directory: Path) -> Bench | None:
    """The bench in ``directory``; None if there is none.

    Raises:
        UnreadableRunError: the file was changed or is of another version.
    """
    path = directory / FILE
    if not path.exists():
        return None
    kept = decode_current(path.read_bytes(), _Saved, f"{path}")
    if kept.checksum != _checksum(kept.bench):
        raise UnreadableRunError(f"{path} was changed after it was written: run the bench again.")
    return decode(kept.bench, Bench, f"{path}")
