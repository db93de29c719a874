"""Saved runs: ``run.json`` and one self-contained JSON line per scenario and dtype in ``records.jsonl``.

Each line holds a schema version, a checksum and a record. Floats are written exactly; NaN and infinities,
which JSON lacks, are written as strings (msgspec alone would write null, and a diverged run would look
missing). Nothing read from a file is executed.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from compare.judge import Verdict
from compare.timing import Timing
from scenarios import Device, Dtype, Result, Training

SCHEMA_VERSION = 1

T = TypeVar("T")


class UnreadableRunError(ValueError):
    """A saved run that is missing, truncated, changed or of another schema; the message says which."""


class UnwritableRunError(ValueError):
    """A place that a run cannot be saved in; the message names it and the remedy."""


@dataclass(frozen=True)
class Failure:
    """An exception that a twin raised."""

    side: str
    message: str
    traceback: str


@dataclass(frozen=True, eq=False)
class Record:
    """What became of one scenario in one dtype.

    Attributes:
        scenario, title, source, training: from the statement.
        dtype, device: of the run.
        start, data: the start values and constants that both sides were given.
        results: what each side computed; without the history's gradients and parameters, of which the
            verdict keeps the differences.
        timings: of each side that finished.
        verdict: None if a twin raised.
        failure: the exception, if one did.
    """

    scenario: str
    title: str
    source: str
    training: Training | None
    dtype: Dtype
    device: Device
    start: Mapping[str, np.ndarray]
    data: Mapping[str, np.ndarray]
    results: Mapping[str, Result]
    timings: Mapping[str, Timing]
    verdict: Verdict | None
    failure: Failure | None = None


@dataclass(frozen=True)
class Environment:
    """Where and with what a run was made, and what it set out to do."""

    schema_version: int
    started: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    sides: Mapping[str, Mapping[str, str]]
    scenarios: tuple[str, ...]
    dtypes: tuple[Dtype, ...]
    device: Device


@dataclass(frozen=True)
class Run:
    """A saved run: what it set out to do, and the records that it finished."""

    environment: Environment
    records: tuple[Record, ...]

    @property
    def missing(self) -> int:
        """How many records an interrupted run still owes."""
        return len(self.environment.scenarios) * len(self.environment.dtypes) - len(self.records)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    checksum: str
    record: msgspec.Raw


class _Array(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data: list[float | str]


class Writer:
    """Writes a run into a directory, one record at a time, each on disk before the next begins."""

    def __init__(self, directory: Path, environment: Environment) -> None:
        """Create ``directory`` and its ``run.json``.

        Raises:
            UnwritableRunError: the directory cannot be written, or holds a run already.
        """
        self.path = directory / "records.jsonl"
        if self.path.exists():
            raise UnwritableRunError(
                f"{directory} holds a saved run already: choose another directory, or delete it."
            )
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "run.json").write_bytes(msgspec.json.format(encode(environment), indent=2) + b"\n")
            self.path.touch()
        except OSError as error:
            raise UnwritableRunError(
                f"cannot write to {directory}: {error.strerror}; choose another with -o."
            ) from error

    def add(self, record: Record) -> None:
        """Append one record and flush it to disk.

        Raises:
            UnwritableRunError: the file cannot be written.
        """
        body = encode(record)
        line = _Line(SCHEMA_VERSION, hashlib.sha256(body).hexdigest(), msgspec.Raw(body))
        try:
            with self.path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnwritableRunError(
                f"cannot write to {self.path}: {error.strerror}; choose another with -o."
            ) from error


def read(directory: Path) -> Run:
    """Read a saved run.

    Raises:
        UnreadableRunError: a file is missing, truncated, changed by hand, or of another schema.
    """
    environment = _decode(_bytes(directory / "run.json"), Environment, f"{directory / 'run.json'}")
    _check_schema(environment.schema_version, f"{directory / 'run.json'}")
    return Run(environment, tuple(_records(directory / "records.jsonl")))


def encode(value: object) -> bytes:
    """One JSON document; arrays become ``{dtype, shape, data}``, non-finite floats strings."""
    return msgspec.json.encode(_finite(msgspec.to_builtins(value, enc_hook=_encode_hook)))


def _records(path: Path) -> Iterator[Record]:
    for number, text in enumerate(_bytes(path).splitlines(), start=1):
        where = f"{path}, line {number}"
        line = _decode(text, _Line, where)
        _check_schema(line.schema_version, where)
        if hashlib.sha256(line.record).hexdigest() != line.checksum:
            raise UnreadableRunError(
                f"{where}: the record was changed after it was written; run the scenario again."
            )
        yield _decode(line.record, Record, where)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableRunError(
            f"{path}: {error.strerror}; `gradtwin run -o DIR` saves a run in DIR."
        ) from error


def _check_schema(version: int, where: str) -> None:
    if version != SCHEMA_VERSION:
        raise UnreadableRunError(
            f"{where}: written in schema {version}, and this gradtwin reads schema {SCHEMA_VERSION}; "
            "run the scenario again."
        )


def _decode(data: bytes | msgspec.Raw, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_hook)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableRunError(
            f"{where}: not readable as a saved run ({error}); delete it, or run again."
        ) from error


def _encode_hook(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": value.shape, "data": value.ravel().tolist()}
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(type(value))


def _finite(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _decode_hook(kind: type, value: Any) -> object:  # noqa: ANN401  # any JSON value
    if kind is np.ndarray:
        array = msgspec.convert(value, _Array)
        return np.array([float(entry) for entry in array.data], dtype=array.dtype).reshape(array.shape)
    if kind is np.float64:
        return np.float64(value)
    raise NotImplementedError(kind)
