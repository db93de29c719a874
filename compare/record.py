"""Saved runs: ``run.json`` and one self-contained JSON line per scenario and dtype in ``records.jsonl``.

Each line holds a schema version, a record, and a checksum over it and all that was written before it, from
``run.json`` on, so that a changed, missing or foreign line is noticed. Floats are written exactly; NaN and
infinities, which JSON lacks, are written as strings (msgspec alone would write null, and a diverged run would
look missing). Nothing read from a file is executed.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
import numpy as np

from compare.judge import SIDES, Verdict
from compare.timing import Timing
from scenarios import Device, Dtype, Result, Training

SCHEMA_VERSION = 2

HEAD, RECORDS = "run.json", "records.jsonl"

#: The files of a saved run, and what can be kept beside them: mutants, timings, lessons.
PARTS = (HEAD, RECORDS, "mutants.json", "bench.json", "lessons.json")

# Whatever a damaged file makes the decoder or NumPy raise.
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)

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

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from compare import as_html  # noqa: PLC0415  # it knows what a record is

        return as_html.record(self)


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

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from compare import as_html  # noqa: PLC0415  # it knows what a run is

        return as_html.run(self)


class _Version(msgspec.Struct):
    schema_version: int


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    checksum: str
    record: msgspec.Raw


_Kind = Literal["float32", "float64", "int32", "int64", "uint32", "bool"]


class _Array(msgspec.Struct, forbid_unknown_fields=True):
    dtype: _Kind
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data: list[float | str]


class Writer:
    """Writes a run into a directory, one record at a time, each on disk before the next begins."""

    def __init__(self, directory: Path, environment: Environment) -> None:
        """Create ``directory`` and its ``run.json``.

        Raises:
            UnwritableRunError: the directory cannot be written, or holds a run already.
        """
        self.path = directory / RECORDS
        head = msgspec.json.format(encode(environment), indent=2) + b"\n"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / HEAD).open("xb") as file:
                file.write(head)
            self.path.touch(exist_ok=False)
        except FileExistsError as error:
            raise UnwritableRunError(f"{directory} holds a saved run already.") from error
        except OSError as error:
            raise _unwritable(directory, error) from error
        self._checksum = hashlib.sha256(head)

    def add(self, record: Record) -> None:
        """Append one record and flush it to disk; what cannot be written whole is not written at all.

        Raises:
            UnwritableRunError: the file cannot be written.
        """
        body = encode(record)
        checksum = self._checksum.copy()
        checksum.update(body)
        line = msgspec.json.encode(_Line(SCHEMA_VERSION, checksum.hexdigest(), msgspec.Raw(body))) + b"\n"
        size = None
        try:
            with self.path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:  # an interrupt too
            if size is not None:
                with suppress(OSError):
                    os.truncate(self.path, size)
            if isinstance(error, OSError):
                raise _unwritable(self.path, error) from error
            raise
        self._checksum = checksum


def read(directory: Path | str) -> Run:
    """Read a saved run.

    Raises:
        UnreadableRunError: a file is missing, truncated, changed by hand, or of another schema.
    """
    head, path = Path(directory) / HEAD, Path(directory) / RECORDS
    data = _bytes(head)
    environment = decode_current(data, Environment, f"{head}")
    plan = [(name, dtype) for name in environment.scenarios for dtype in environment.dtypes]
    records: list[Record] = []
    checksum = hashlib.sha256(data)
    for number, text in enumerate(_bytes(path).splitlines(), start=1):
        where = f"{path}, line {number}"
        line = decode_current(text, _Line, where)
        checksum.update(line.record)
        if checksum.hexdigest() != line.checksum:
            raise UnreadableRunError(
                f"{where}: this record, or something before it or in run.json, was changed after it was "
                "written; run again."
            )
        record = decode(line.record, Record, where)
        if plan[number - 1 : number] != [(record.scenario, record.dtype)] or not _consistent(record):
            raise UnreadableRunError(f"{where}: the record does not fit run.json or itself; run again.")
        records.append(record)
    return Run(environment, tuple(records))


def encode(value: object) -> bytes:
    """One JSON document; arrays become ``{dtype, shape, data}``, non-finite floats strings."""
    return msgspec.json.encode(_finite(msgspec.to_builtins(value, enc_hook=_encode_hook)))


def _consistent(record: Record) -> bool:
    """Whether everything that a verdict speaks of is there."""
    if record.verdict is None:
        return record.failure is not None
    histories = [result.history for result in record.results.values() if result.history is not None]
    return (
        set(record.results) == set(record.timings) == set(SIDES)
        and bool(record.verdict.step or record.verdict.word not in {"identical", "rounding"})
        and all(set(check.computed) == set(SIDES) for check in record.verdict.published)
        and all(set(check.derived) == set(SIDES) for check in record.verdict.facts)
        and all(h.steps.shape == h.losses.shape == (h.steps.size,) and h.steps.size for h in histories)
    )


def _unwritable(place: Path, error: OSError) -> UnwritableRunError:
    return UnwritableRunError(f"cannot write to {place}: {error.strerror}.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableRunError(
            f"{path}: {error.strerror}; `gradtwin run -o DIR` saves a run in DIR."
        ) from error


def decode(data: bytes | msgspec.Raw, kind: type[T], where: str) -> T:
    """The value that :func:`encode` wrote.

    Args:
        data: one JSON document.
        kind: the type that it should have.
        where: names the place for the error.

    Raises:
        UnreadableRunError: it has not.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_hook)
    except _UNREADABLE as error:
        raise UnreadableRunError(
            f"{where}: not readable as a saved run ({error}); delete it and what follows, or run again."
        ) from error


def decode_current(data: bytes, kind: type[T], where: str) -> T:
    """Decode a document that carries its schema version, whatever else another schema may hold."""
    version = decode(data, _Version, where).schema_version
    if version != SCHEMA_VERSION:
        raise UnreadableRunError(
            f"{where}: written in schema {version}, and this gradtwin reads schema {SCHEMA_VERSION}; "
            "run again."
        )
    return decode(data, kind, where)


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    checksum: str
    content: msgspec.Raw


def seal(path: Path, content: object) -> None:
    """Write a document beside a saved run, with a checksum; the directory is made if it does not exist.

    The file is replaced as a whole: whoever is interrupted leaves the one that was there.

    Raises:
        UnwritableRunError: it cannot be written.
    """
    raw = msgspec.Raw(encode(content))
    document = msgspec.json.encode(_Sealed(SCHEMA_VERSION, hashlib.sha256(raw).hexdigest(), raw))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.new")
        draft.write_bytes(document + b"\n")
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def unseal(path: Path, kind: type[T]) -> T:
    """The document that :func:`seal` wrote.

    Raises:
        UnreadableRunError: it is missing, was changed, or is of another version.
    """
    document = decode_current(_bytes(path), _Sealed, f"{path}")
    if document.checksum != hashlib.sha256(document.content).hexdigest():
        raise UnreadableRunError(f"{path} was changed after it was written: make it again.")
    return decode(document.content, kind, f"{path}")


def _encode_hook(value: object) -> object:
    if isinstance(value, np.ndarray):
        if str(value.dtype) not in get_args(_Kind):
            raise NotImplementedError(f"an array of {value.dtype} cannot be kept.")
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
        return np.array([float(entry) for entry in array.data]).astype(array.dtype).reshape(array.shape)
    if kind is np.float64 and isinstance(value, float | int | str):
        return np.float64(value)
    raise TypeError(f"{value!r} is no {kind.__name__}")
