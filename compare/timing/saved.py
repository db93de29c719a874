"""A saved bench: ``bench.json``, with every raw sample, by itself or beside a saved run."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from compare.record import SCHEMA_VERSION, Environment, UnwritableRunError, decode_current, encode
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
    bench: Bench


def save(directory: Path, bench: Bench) -> None:
    """Write the bench into ``directory``, which is made if it does not exist; one that is there is replaced.

    Raises:
        UnwritableRunError: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_bytes(msgspec.json.format(encode(_Saved(SCHEMA_VERSION, bench)), indent=1))
    except OSError as error:
        raise UnwritableRunError(f"cannot write to {directory}: {error.strerror}.") from error


def load(directory: Path) -> Bench | None:
    """The bench in ``directory``; None if there is none.

    Raises:
        UnreadableRunError: the file was changed or is of another version.
    """
    path = directory / FILE
    return decode_current(path.read_bytes(), _Saved, f"{path}").bench if path.exists() else None
