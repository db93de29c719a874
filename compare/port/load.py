"""What the doors are given in words: an object by its module or file and its name, arrays by their file.

Objects are the user's own code, which is run. Files of arrays are only read: nothing in them is executed.
"""

import ast
import pkgutil
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from compare.port.describe import at, exception
from compare.port.mapping import nearest
from scenarios.port import Training
from scenarios.sources import users_line
from scenarios.trace import Source

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}

#: What can be compared, in the words of safetensors.
_DTYPES: dict[str, Any] = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "BF16": ml_dtypes.bfloat16,
    "BOOL": "bool",
    "C64": "complex64",
}


class LoadError(ValueError):
    """A target or a file that cannot be had; the message names it and the remedy.

    Where the user's own code raised, that exception is the cause.
    """


def target(text: str) -> object:
    """The object that ``package.module:name`` or ``path/to/file.py:name`` names.

    Modules are looked for in the current directory too. A name may be dotted; ``name()`` calls the object
    without arguments.

    Raises:
        LoadError: there is no such file, module or name; or the code raised, and that is its cause.
    """
    place, _, name = text.rpartition(":")
    path = name.removesuffix("()")
    if not place or not all(part.isidentifier() for part in path.split(".")):
        raise LoadError(
            f"{text} names no object: write package.module:NAME or path/to/file.py:NAME, and NAME() for what "
            "it returns."
        )
    found: Any = _module(place)
    for part in path.split("."):
        if not hasattr(found, part):
            names = [known for known in dir(found) if not known.startswith("_")]
            raise LoadError(f"{place} has no {path}: there is no '{part}'{_nearest(part, names)}")
        found = getattr(found, part)
    if not name.endswith("()"):
        if isinstance(found, type):
            raise LoadError(f"{text} is a class: write {text}() for an instance of it.")
        return found
    return _running(text, found)


def losses(text: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two objects that ``TORCH_TARGET,JAX_TARGET`` names.

    Raises:
        LoadError: as :func:`target`; or there are not two, or one cannot be called.
    """
    texts = text.split(",")
    if len(texts) != 2:  # noqa: PLR2004  # one a side
        raise LoadError(
            f"{text}: a loss is two targets with a comma between, TORCH_TARGET,JAX_TARGET, one for each side."
        )
    right, left = (target(part.strip()) for part in reversed(texts))
    if not callable(left) or not callable(right):
        raise LoadError(f"{text}: a loss is a function of the output and the arguments.")
    return left, right


def training(text: str) -> Training:
    """The training that ``optimizer=adam,lr=1e-3,steps=50`` tells; values are literals of Python.

    Raises:
        LoadError: it is not written so.
        UnusablePortError: it cannot be done.
    """
    settings: dict[str, Any] | None = None
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            settings = {str(entry.arg): _literal(entry.value) for entry in call.keywords}
    except (SyntaxError, TypeError, ValueError):
        pass
    if settings is None:
        raise LoadError(
            f"{text} tells no training: write NAME=VALUE with commas between, each name once, such as "
            "optimizer=adam,lr=1e-3,steps=50,betas=(0.9,0.99)."
        )
    return Training.of(settings)


def _literal(value: ast.expr) -> object:
    """A literal, or a word that needs no quotes."""
    return value.id if isinstance(value, ast.Name) else ast.literal_eval(value)


def pytree(text: str) -> object:
    """A pytree from a file of arrays, or the object that a target names.

    Of a file, ``layers[0].w`` is the entry ``w`` of the first of the list ``layers``.

    Raises:
        LoadError: as :func:`target` and :func:`arrays`; or two names of the file contradict each other.
    """
    suffix = Path(text).suffix.lower()
    if suffix == ".py" or (":" in text and suffix not in _READERS):
        return target(text)
    return nested(text, arrays(text))


def arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` or ``.safetensors`` file by name, in the order in which they are stored.

    Raises:
        LoadError: the file cannot be read, is a pickle, or holds what is no array of numbers.
    """
    path = Path(path)
    _look(path)
    if path.suffix.lower() not in _READERS:
        raise LoadError(f"{path} is neither .npz nor .safetensors: write the arrays with numpy.savez.")
    try:
        held = dict(_READERS[path.suffix.lower()](path))
    except LoadError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a damaged file makes a reader raise
        raise LoadError(
            f"{path} cannot be read as {path.suffix.lower()} ({exception(error)}): write it again."
        ) from None
    for name, array in held.items():
        if array.dtype.kind not in "fciub" and array.dtype.name != "bfloat16":
            raise LoadError(
                f"{path}: {name} is of {array.dtype}, and only numbers are compared; write it again as "
                "float32, say."
            )
    if not held:
        raise LoadError(f"{path} holds no array.")
    return {name: array.astype(array.dtype.newbyteorder("=")) for name, array in held.items()}


def arguments(path: Path | str) -> tuple[np.ndarray, ...]:
    """Positional arguments: the arrays of a file, by number if they are called ``arg_0`` and so on.

    Raises:
        LoadError: as :func:`arrays`; or a file that keeps no order has names without numbers.
    """
    held = arrays(path)
    numbers = [re.fullmatch(r"(?:args?|arr)[_.\[]?(\d+)\]?", name) for name in held]
    if all(numbers):
        order = {name: int(number[1]) for name, number in zip(held, numbers, strict=True) if number}
        return tuple(held[name] for name in sorted(held, key=order.__getitem__))
    if Path(path).suffix.lower() == ".safetensors" and len(held) > 1:
        raise LoadError(
            f"{path} keeps its arrays in no order of yours: call them arg_0, arg_1 and so on, or write them "
            "with numpy.savez."
        )
    return tuple(held.values())


def _module(place: str) -> ModuleType:
    """The module of that name, or in that file."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if place.endswith(".py") or Path(place).name != place:
        return _file(Path(place))
    if not all(part.isidentifier() for part in place.split(".")):
        raise LoadError(f"{place} is neither a module nor a file: write package.module or path/to/file.py.")
    try:
        return import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{place}.".startswith(f"{missing}."):
            raise _raised(place, error) from error
        parent, _, _ = missing.rpartition(".")
        paths = getattr(sys.modules.get(parent), "__path__", []) if parent else [here]
        names = [module.name for module in pkgutil.iter_modules(paths, f"{parent}." if parent else "")]
        raise LoadError(f"there is no module {missing!r}{_nearest(missing, names)}") from None
    except (Exception, SystemExit) as error:
        raise _raised(place, error) from error


def _file(path: Path) -> ModuleType:
    """The module in a file, as which no other file is known; what lies beside it can be imported."""
    if not path.is_file():
        names = [str(other) for other in path.parent.glob("*.py")]
        raise LoadError(f"there is no file {path}{_nearest(str(path), names)}")
    place = path.resolve()
    for held in (sys.modules.get(path.stem), sys.modules.get(str(place))):
        if held is not None and place == Path(getattr(held, "__file__", None) or "").resolve():
            return held
    name = str(place) if path.stem in sys.modules else path.stem
    spec = spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file: name one that ends in .py.")
    if str(place.parent) not in sys.path:
        sys.path.insert(0, str(place.parent))
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _raised(str(path), error) from error
    return module


def _running(text: str, call: Callable[[], object]) -> object:
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise _raised(text, error) from error


def _raised(what: str, error: BaseException) -> LoadError:
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    where = users_line(reversed(frames), str(Path(__file__).parent))
    if isinstance(error, SyntaxError) and error.filename:
        where = Source(error.filename, error.lineno or 0)
    line = f" at {at(where)}" if where.file else ""
    return LoadError(f"{what} raised {exception(error)}{line}.")


def _nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence on what there is not."""
    return nearest(name, names) or "."


def _look(path: Path) -> None:
    """Refuse what is no file of arrays by what it is, whatever it is called."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        names = [str(other) for other in path.parent.glob("*") if other.suffix.lower() in _READERS]
        close = _nearest(str(path), names) if isinstance(error, FileNotFoundError) else "."
        raise LoadError(f"{path} cannot be read: {error.strerror}{close}") from None
    if not head:
        raise LoadError(f"{path} is empty: write the arrays again, with numpy.savez.")
    if path.suffix.lower() in _PICKLES or _is_pickle(path, head):
        stem = path.with_suffix("")
        raise LoadError(
            f"{path} is a pickle, and reading one can run anything: convert it where it was made, with "
            f"numpy.savez('{stem}.npz', **{{k: v.numpy() for k, v in model.state_dict().items()}}) or "
            f"safetensors.torch.save_file(model.state_dict(), '{stem}.safetensors')."
        )


def _is_pickle(path: Path, head: bytes) -> bool:
    """Whether a file starts as a pickle does, or is an archive with one, as ``torch.save`` writes it."""
    if head[:2] in {b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"}:
        # So does a safetensors file, if its header has the length for it.
        return head[8:9] != b"{" or int.from_bytes(head[:8], "little") > path.stat().st_size
    if head[:2] != b"PK" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _npz(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with path.open("rb") as file:  # numpy leaves its own open where the archive is damaged
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise LoadError(
                f"{path} holds one array without a name: write it with numpy.savez(path, name=array)."
            )
        for name in archive.files:
            array = archive[name]
            if not isinstance(array, np.ndarray):
                raise LoadError(f"{path}: {name} is no array: write the arrays with numpy.savez.")
            yield name, array


def _safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    # The reader for NumPy knows no bfloat16.
    told: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    for name, entry in told:
        if entry["dtype"] not in _DTYPES:
            raise LoadError(
                f"{path}: {name} is of {entry['dtype']}: convert it to float32, say, and save again."
            )
        yield name, np.frombuffer(entry["data"], np.dtype(_DTYPES[entry["dtype"]])).reshape(entry["shape"])


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, np.ndarray]]]] = {
    ".npz": _npz,
    ".safetensors": _safetensors,
}


def nested(path: str, held: Mapping[str, np.ndarray]) -> object:
    """The tree whose leaves have these names: keys follow a dot, places stand in brackets.

    Args:
        path: where they are from.
        held: arrays by name.

    Raises:
        LoadError: two names contradict each other, or one names no place.
    """
    root: dict[str | int, Any] = {}
    for name, array in held.items():
        keys = [int(place) if place else key for key, place in re.findall(r"([^.\[\]]+)|\[(\d+)\]", name)]
        branch: Any = root
        for key in keys[:-1]:
            branch = branch.setdefault(key, {}) if isinstance(branch, dict) else None
        if not keys or not isinstance(branch, dict) or keys[-1] in branch:
            raise LoadError(
                f"{path}: {name} stands where another name has something: give each a path of its own."
            )
        branch[keys[-1]] = array
    return _listed(path, root)


def _listed(path: str, branch: Any) -> Any:  # noqa: ANN401  # any tree
    """The tree with a list for every branch whose keys are places."""
    if not isinstance(branch, dict):
        return branch
    made = {key: _listed(path, entry) for key, entry in branch.items()}
    if not any(isinstance(key, int) for key in made):
        return made
    if set(made) != set(range(len(made))):
        raise LoadError(
            f"{path}: the places {', '.join(map(str, made))} of a list are not 0 to {len(made) - 1}."
        )
    return [made[place] for place in range(len(made))]
