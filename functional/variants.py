"""The ways in which a practitioner would run a training in JAX, each with its phases apart for a clock.

Every variant trains with the twin's own step; what differs is how much of the run is compiled at once.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import jax
import optax

from functional.arrays import Pytree, enter, leave, running, select
from functional.optimizer import resume
from scenarios import Device, Dtype, Session, Statement, Training, UnavailableError, unavailable

Carry = tuple[Any, ...]

# Unjitted, a step costs some milliseconds: a whole run would take minutes, and every step costs the same.
_STEPS_OP_BY_OP = 20


@dataclass(frozen=True)
class _Training:
    """What a run starts from, and the twin that knows its step."""

    statement: Statement
    twin: Any  # a module
    params: Pytree
    data: Pytree
    state: optax.OptState | None

    @property
    def carry(self) -> Carry:
        """What a step is handed by the one before."""
        return (self.params,) if self.state is None else (self.params, self.state)


def _begin(statement: Statement, dtype: Dtype) -> _Training:
    twin = import_module(f"functional.{statement.name}")
    params, data = enter(statement.start, dtype), enter(statement.data, dtype)
    plain = statement.require_training().optimizer == "gradient descent"
    return _Training(statement, twin, params, data, None if plain else resume(params, statement.state))


def _step(carry: Carry, data: Pytree, scenario: str, training: Training) -> Carry:
    """The twin's own step, without what it returns for the record."""
    twin, rate = import_module(f"functional.{scenario}"), training.learning_rate
    if training.optimizer == "gradient descent":
        return tuple(twin.step(*carry, **data, learning_rate=rate)[:-1])
    return tuple(twin.step(*carry, optax.adam(rate), **data)[:-1])


_jitted = jax.jit(_step, static_argnames=("scenario", "training"))


def _op_by_op(training: _Training) -> Callable[[Carry, Pytree], Carry]:
    """One operation after the other, each dispatched by itself."""
    name, how = training.statement.name, training.statement.require_training()

    def run(carry: Carry, data: Pytree) -> Carry:
        with jax.disable_jit():
            for _ in range(how.steps):
                carry = _step(carry, data, name, how)
        return carry

    return run


def _jitted_step(training: _Training) -> Callable[[Carry, Pytree], Carry]:
    """A Python loop of the jitted step."""
    name, how = training.statement.name, training.statement.require_training()

    def run(carry: Carry, data: Pytree) -> Carry:
        for _ in range(how.steps):
            carry = _jitted(carry, data, name, how)
        return carry

    return run


def _scan(training: _Training) -> Callable[[Carry, Pytree], Carry]:
    """The twin's own compiled run."""
    options = {"training": training.statement.require_training(), "every": None}

    def run(carry: Carry, data: Pytree) -> Carry:
        params, *state = carry
        return tuple(training.twin.train(params, *([data] if data else []), *state, **options)[:-1])

    return run


_VARIANTS = {
    "op by op": _op_by_op,
    "jitted step": _jitted_step,
    "scan": _scan,
    "ahead of time": _scan,
    "single-kernel scan": _scan,
}

#: By variant, the flags that XLA must have found in the environment's ``XLA_FLAGS`` when it started. On the
#: CPU, XLA runs a loop as a sequence of small kernels, each of which costs a call; a loop that it deems small
#: becomes one function, unless its products are left to a library (docs/timing.md).
FLAGS = {
    "single-kernel scan": "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000000"
    # Older releases know no such library, and end the process for a flag that they do not know.
    + (" --xla_cpu_experimental_ynn_fusion_type=" if jax.__version_info__ >= (0, 8, 2) else "")
}


def variants(statement: Statement, device: Device = "auto") -> tuple[str, ...]:
    """The names of the variants that a training has on a device.

    Raises:
        UnavailableError: there is no such device.
        ValueError: the scenario trains nothing.
    """
    statement.require_training()
    flagged = FLAGS if select(device).platform != "cpu" else ()
    return tuple(name for name in _VARIANTS if name not in flagged)


@contextmanager
def profiled(target: Path) -> Iterator[None]:
    """Write what happens within to ``target`` with the suffix ``.json.gz``, as Perfetto reads it."""
    with TemporaryDirectory() as directory:
        with jax.profiler.trace(directory, create_perfetto_trace=True):
            yield
        (taken,) = Path(directory).rglob("perfetto_trace.json.gz")
        copyfile(taken, target.with_name(f"{target.name}.json.gz"))


def session(statement: Statement, variant: str, dtype: Dtype = "float32", device: Device = "auto") -> Session:
    """A variant of a training, its phases apart.

    Raises:
        UnavailableError: the training has no such variant, the process lacks the flags for it, or there is no
            such device.
        ValueError: the scenario trains nothing.
    """
    offered = variants(statement, device)
    if variant not in offered:
        raise unavailable(f"variant of {statement.name}", variant, offered)
    flags = FLAGS.get(variant, "")
    if not set(flags.split()) <= set(os.environ.get("XLA_FLAGS", "").split()):
        raise UnavailableError(f"'{variant}' needs XLA_FLAGS='{flags}' in the environment before JAX starts.")
    if variant == "op by op":
        training = statement.require_training()
        statement = replace(statement, training=replace(training, steps=min(training.steps, _STEPS_OP_BY_OP)))
    compiling, place = _listener(), select(device)
    with running(dtype, device):
        run = _VARIANTS[variant](_begin(statement, dtype))

    def prepare() -> tuple[Carry, Pytree]:
        with running(dtype, device):
            training = _begin(statement, dtype)
            prepared = training.carry, training.data
            _wait(prepared)
            return prepared

    def launch(prepared: tuple[Carry, Pytree]) -> Carry:
        with running(dtype, device):
            return run(*prepared)

    def compile_ahead() -> None:
        nonlocal run
        with running(dtype, device):
            run = jax.jit(run).lower(*prepare()).compile()

    def left(carry: Carry) -> dict[str, Any]:
        with running(dtype, device):
            return dict(leave(carry[0]))

    return Session(
        steps=statement.require_training().steps,
        prepare=prepare,
        launch=launch,
        pending=lambda carry: not all(array.is_ready() for array in jax.tree.leaves(carry)),
        finish=_wait,
        leave=left,
        compiling=compiling,
        memory=(lambda: place.memory_stats()["peak_bytes_in_use"]) if place.platform == "gpu" else None,
        threads=None,
        compile=compile_ahead if variant == "ahead of time" else None,
    )


def _wait(tree: object) -> None:
    jax.block_until_ready(tree)  # type: ignore[no-untyped-call]  # it carries no types


@cache
def _listener() -> Callable[[], float]:
    """Listens to how long JAX traces and compiles; returns the seconds so far."""
    seconds = 0.0

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        nonlocal seconds
        # Tracing is reported for every function within another, and would be counted more than once.
        if event.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")):
            seconds += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: seconds
