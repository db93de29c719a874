"""Honest ports, one pair of sides per file, and the defects that can be planted in them."""

from pathlib import Path
from types import ModuleType

from compare.port.check import Pair

_HERE = Path(__file__).parent

NAMES = tuple(sorted(path.stem for path in _HERE.glob("*.py") if path.stem not in {"__init__", "faults"}))


def load(name, *faults):
    """The pair ``name`` with ``faults`` planted, as a fresh module.

    Raises:
        ValueError: a fault is of another pair, or what it replaces does not stand there exactly once.
    """
    path = _HERE / f"{name}.py"
    source = path.read_text()
    for fault in faults:
        if fault.pair != name or source.count(fault.old) != 1:
            raise ValueError(f"{fault} does not fit {name} exactly once")
        source = source.replace(fault.old, fault.new)
    module = ModuleType(f"{__name__}.{name}")
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), vars(module))
    return module


def made(name, *faults, by=None):
    """The pair ``name`` with ``faults`` planted, ready to be judged; ``by`` says which parameter is which."""
    module = load(name, *faults)
    function, tree = module.functional()
    losses = (module.imperative_loss, module.functional_loss) if hasattr(module, "imperative_loss") else None
    return Pair(module.imperative(), function, None, module.args(), pytree=tree, loss=losses, map=by)


def line(fault):
    """The number, from 1, of the line that ``fault`` makes wrong."""
    source = (_HERE / f"{fault.pair}.py").read_text()
    return source[: source.index(fault.old)].count("\n") + 1
