"""A saved bench: ``bench.json``, with every raw sample, by itself or beside a saved run."""

from dataclasses import dataclass
from pathlib import Path

from compare.record import Environment, seal, unseal
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


def save(directory: Path, bench: Bench) -> None:
    """Write the bench into ``directory``, which is made if it does not exist; one that is there is replaced.

    Raises:
        UnwritableRunError: it cannot be written.
    """
    seal(directory / FILE, bench)


def load(directory: Path) -> Bench | None:
    """The bench in ``directory``; None if there is none.

    Raises:
        UnreadableRunError: the file was changed or is of another version.
    """
    path = directory / FILE
    return unseal(path, Bench) if path.exists() else None
