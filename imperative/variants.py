"""The ways in which a practitioner would run a training in PyTorch, each with its phases apart for a clock.

Every variant trains with the twin's own model and loss; what differs is who takes the step, and how.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import calculate_time_spent
from torch.func import functional_call, grad_and_value

from imperative.arrays import enter, leave, select
from imperative.optimizer import resume
from scenarios import Device, Dtype, Session, Statement, unavailable

Leaves = dict[str, Tensor]
Step = Callable[[], object]


@dataclass
class _Training:
    """The leaves, whoever holds them, and the optimizer if there is one: all of it mutates."""

    statement: Statement
    twin: Any  # a module
    holder: nn.Module | Leaves
    leaves: Leaves
    data: Leaves
    optimizer: torch.optim.Optimizer | None

    @property
    def rate(self) -> float:
        return self.statement.require_training().learning_rate

    @property
    def memory(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        states = self.optimizer.state.values() if self.optimizer else ()
        return [*self.leaves.values(), *(tensor for state in states for tensor in state.values())]


def _begin(statement: Statement, dtype: Dtype, device: Device, **options: Any) -> _Training:  # noqa: ANN401  # whatever Adam takes
    """Fresh leaves, data and optimizer; ``options`` are Adam's."""
    twin = import_module(f"imperative.{statement.name}")
    tensors = enter(statement.start, dtype, device)
    leaves: Leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    holder: nn.Module | Leaves = leaves
    if hasattr(twin, "Network"):
        network: nn.Module = twin.model(tensors)
        holder, leaves = network, dict(network.named_parameters())
    training = _Training(statement, twin, holder, leaves, enter(statement.data, dtype, device), None)
    if _has_optimizer(statement):
        training.optimizer = torch.optim.Adam(list(leaves.values()), lr=training.rate, **options)
        resume(training.optimizer, list(leaves), statement.state)
    return training


def _has_optimizer(statement: Statement) -> bool:
    return statement.require_training().optimizer != "gradient descent"


def _eager(training: _Training) -> Step:
    """The twin's own step."""
    if training.optimizer is None:
        return lambda: training.twin.step(training.holder, **training.data, learning_rate=training.rate)
    return lambda: training.twin.step(training.holder, training.optimizer, **training.data)


def _compiled(training: _Training) -> Step:
    """The twin's step with its loss compiled, forward and backward.

    The optimizer is not: a compiled Adam computes its bias correction in float32 whatever the dtype of the
    parameters, and is another function in float64 (4.6e-7 apart after 50 steps of the sine network, torch
    2.13).
    """
    optimizer, loss = training.optimizer, torch.compile(training.twin.loss)

    def step() -> None:
        for leaf in training.leaves.values():
            leaf.grad = None
        value: Tensor = loss(training.holder, **training.data)  # type: ignore[no-untyped-call]
        value.backward()
        if optimizer:
            optimizer.step()
        else:
            with torch.no_grad():
                for leaf in training.leaves.values():
                    assert leaf.grad is not None
                    leaf.sub_(training.rate * leaf.grad)

    return step


class _Loss(nn.Module):
    """A network's loss as a module, so that its parameters can be handed over as values."""

    def __init__(self, training: _Training) -> None:
        super().__init__()
        self.loss, self.network = training.twin.loss, training.holder

    def forward(self, **data: Tensor) -> Tensor:
        value: Tensor = self.loss(self.network, **data)
        return value


def _functional(training: _Training) -> Step:
    """Gradients as a function of the parameters, and an update that returns new ones: torch.func."""
    twin, data, adam = training.twin, training.data, training.optimizer
    if isinstance(training.holder, nn.Module):
        network = _Loss(training)

        def loss(params: Leaves) -> Tensor:
            value: Tensor = functional_call(network, {f"network.{n}": p for n, p in params.items()}, (), data)
            return value
    else:

        def loss(params: Leaves) -> Tensor:
            value: Tensor = twin.loss(params, **data)
            return value.sum()  # of one entry; grad takes a scalar and nothing else

    gradients = grad_and_value(loss)
    empty = {name: torch.zeros_like(leaf) for name, leaf in training.leaves.items()}
    params = {name: leaf.detach() for name, leaf in training.leaves.items()}
    carry = (params, empty, empty, 0)
    if adam and training.statement.state:
        states = {name: adam.state[leaf] for name, leaf in training.leaves.items()}
        first, second = ({n: s[key].clone() for n, s in states.items()} for key in ("exp_avg", "exp_avg_sq"))
        carry = (params, first, second, int(training.statement.state["count"]))

    def step() -> None:
        nonlocal carry
        params, first, second, count = carry
        slopes, _ = gradients(params)
        if adam:
            carry = _adam(params, slopes, first, second, count + 1, training.rate)
        else:
            carry = ({n: p - training.rate * slopes[n] for n, p in params.items()}, first, second, count)
        training.leaves = carry[0]

    return step


def _adam(
    params: Leaves, slopes: Leaves, first: Leaves, second: Leaves, count: int, rate: float
) -> tuple[Leaves, Leaves, Leaves, int]:
    """One step of Adam as a function; PyTorch offers it in place only."""
    first = {n: 0.9 * first[n] + 0.1 * g for n, g in slopes.items()}
    second = {n: 0.999 * second[n] + 0.001 * g**2 for n, g in slopes.items()}
    size, root = rate / (1 - 0.9**count), (1 - 0.999**count) ** 0.5
    params = {n: p - size * first[n] / (second[n].sqrt() / root + 1e-8) for n, p in params.items()}
    return params, first, second, count


def _graphed(training: _Training) -> Step:
    """A step recorded once as a CUDA graph, and replayed."""
    step = _eager(training)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    before = [tensor.clone() for tensor in training.memory]
    with torch.cuda.stream(stream):  # a capture needs a few steps of warm-up beside the default stream
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    _restore(training, before)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _restore(training: _Training, before: list[Tensor]) -> None:
    """Put back what a step changes, in place; what was not there before was zero."""
    with torch.no_grad():
        for index, tensor in enumerate(training.memory):
            if index < len(before):
                tensor.copy_(before[index])
            else:
                tensor.zero_()


@dataclass(frozen=True)
class _Variant:
    make: Callable[[_Training], Step]
    options: dict[str, Any]
    needs_optimizer: bool = False
    needs_gpu: bool = False


_VARIANTS = {
    "eager": _Variant(_eager, {}),
    "foreach optimizer": _Variant(_eager, {"foreach": True}, needs_optimizer=True),
    "fused optimizer": _Variant(_eager, {"fused": True}, needs_optimizer=True),
    "compiled step": _Variant(_compiled, {}),
    "torch.func": _Variant(_functional, {}),
    "CUDA graph": _Variant(_graphed, {"capturable": True}, needs_gpu=True),
}


def variants(statement: Statement, device: Device = "auto") -> tuple[str, ...]:
    """The names of the variants that a training has on a device."""
    on_gpu = select(device).type == "cuda"
    return tuple(
        name
        for name, variant in _VARIANTS.items()
        if (on_gpu or not variant.needs_gpu) and (_has_optimizer(statement) or not variant.needs_optimizer)
    )


@contextmanager
def profiled(target: Path) -> Iterator[None]:
    """Write what happens within to ``target`` with the suffix ``.json``, as Perfetto reads it."""
    with torch.profiler.profile() as taken:
        yield
    taken.export_chrome_trace(str(target.with_name(f"{target.name}.json")))


def session(statement: Statement, variant: str, dtype: Dtype = "float32", device: Device = "auto") -> Session:
    """A variant of a training, its phases apart.

    Raises:
        UnavailableError: the training has no such variant, or there is no such device.
        ValueError: the scenario trains nothing.
    """
    offered = variants(statement, device)
    if variant not in offered:
        raise unavailable(f"variant of {statement.name}", variant, offered)
    chosen, place = _VARIANTS[variant], select(device)
    options = chosen.options if _has_optimizer(statement) else {}
    steps = statement.require_training().steps
    kept: list[tuple[_Training, list[Tensor], Step]] = []

    def wait(_: object = None) -> None:
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    def prepare() -> tuple[_Training, Step]:
        if chosen.make is _functional or not kept:
            training = _begin(statement, dtype, device, **options)
            before = [tensor.detach().clone() for tensor in training.memory]
            kept[:] = [(training, before, chosen.make(training))]
        training, before, step = kept[0]
        if chosen.make is not _functional:
            # What was compiled or recorded holds on to these very tensors.
            _restore(training, before)
        wait()
        return training, step

    def launch(prepared: tuple[_Training, Step]) -> _Training:
        training, step = prepared
        for _ in range(steps):
            step()
        return training

    return Session(
        steps=steps,
        prepare=prepare,
        launch=launch,
        pending=lambda _: place.type == "cuda" and not torch.cuda.current_stream(place).query(),
        finish=wait,
        leave=lambda training: leave(training.leaves),
        compiling=lambda: float(calculate_time_spent().get("total_wall_time", 0.0)),
        memory=(lambda: torch.cuda.max_memory_allocated(place)) if place.type == "cuda" else None,
        threads=torch.get_num_threads(),
    )
