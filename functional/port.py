"""A function or module of the user's own: run from NumPy arrays, and written down."""

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, count
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
import optax

from functional.arrays import leave, running
from functional.jaxpr.equations import floating
from functional.jaxpr.record import Act, Recorder, first_used, plain
from functional.optimizer import leave_state, made, resume
from functional.stops import watched
from scenarios.port import (
    Answer,
    Arguments,
    Training,
    UnusablePortError,
    leaves,
    moments_and_buffers,
    of_float,
    weights,
)
from scenarios.trace import Source, Trace
from scenarios.types import Arrays, Device, Dtype, History, Result

# From a pytree of parameters and the arguments to the output; with the updates where there are some.
_Call = Callable[..., Any]


class Port:
    """The functional side of a pair."""

    def __init__(
        self,
        target: object,
        arguments: Arguments,
        pytree: object = None,
        loss: Callable[..., Any] | None = None,
        *,
        shared: object = None,
        updates: bool = False,
    ) -> None:
        """Take a function or a module; nothing is computed.

        Args:
            target: a function of a pytree and the arguments (of the arguments alone, where there is no
                pytree), or a module of flax.linen, flax.nnx, equinox or haiku.
            arguments: that it is called with.
            pytree: of parameters, or of what only has their shapes and dtypes; a module may have its own.
            loss: of the output and the arguments, to be differentiated; a scalar.
            shared: the pytree of a function for which none is given.
            updates: whether parameters that are no trained ones change: a function then returns the output
                and a pytree of what they became, at the paths of the parameters.

        Raises:
            UnusablePortError: it is neither.
        """
        self.arguments, self.loss, self.updates = arguments, loss, updates
        self._call, tree = _adapted(target, arguments, pytree, shared, updates=updates)
        self._leaves, self._shape = _flat(tree)
        #: Whether it holds values, not only shapes.
        self.valued = not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in self._leaves.values())
        self._jitted = jax.jit(self._program)
        self._jitted_step = jax.jit(self._step, static_argnames="training")
        self._traced: dict[tuple[Dtype, bool, frozenset[Source]], Any] = {}
        self._lines: dict[int, tuple[Source, tuple[str, ...]]] = {}
        self._acts: WeakKeyDictionary[Trace, Sequence[Act]] = WeakKeyDictionary()
        #: The lines at which gradients are stopped, and by what, as far as they have been traced.
        self.stops: dict[Source, str] = {}

    @property
    def parameters(self) -> Arrays:
        """Its arrays of numbers by path; where only shapes are known, arrays that take no memory."""
        return _parameters(self._leaves)

    def run(
        self, parameters: Arrays, arrays: Arrays, dtype: Dtype, device: Device = "cpu", *, anew: bool = False
    ) -> Answer:
        """Run forward and backward.

        Args:
            parameters: by path; those that are missing have the values of the pytree.
            arrays: of the arguments, by name.
            dtype: to compute in.
            device: to compute on.
            anew: whether to trace it again, with every function that it calls, instead of what was traced.

        Raises:
            UnusablePortError: the output or the loss is none that can be differentiated, or what is computed
                depends on values that are not known when it is traced.
        """
        # Another name for the precision of :func:`running`: what was traced under that one is not known here.
        again = jax.default_matmul_precision("float32") if anew else nullcontext()
        with running(dtype, device), again, _explained():
            given = self._entered(parameters, arrays, dtype)
            del parameters  # a large model is held no more often than it need be
            with watched() as stops:
                answer = self._jitted(*given)
            self.stops |= dict.fromkeys(stops, "stop_gradient")
            del given
            return Answer(*({name: _leave(tree.pop(name), dtype) for name in tuple(tree)} for tree in answer))

    def train(
        self,
        parameters: Arrays,
        arrays: Arrays,
        training: Training,
        *,
        state: Arrays,
        steps: int,
        fixed: Collection[str] = (),
        dtype: Dtype,
        device: Device = "cpu",
        every: int | None = 1,
    ) -> Result:
        """Train parameters on the same arguments, step after step; updates go on from step to step.

        Args:
            parameters: to start from, by path; those that are missing have the values of the pytree.
            arrays: of the arguments, by name.
            training: optimizer and learning rate.
            state: of the optimizer, and ``buffers.<path>``, as a result holds them; empty for fresh ones.
            steps: how many.
            fixed: paths of what is not trained; every other array of real numbers is.
            dtype: to compute in.
            device: to compute on.
            every: of which steps the loss is recorded; None records none.

        Returns:
            Loss and gradients of the first step, the losses, and parameters, state and loss after the last.
        """
        memory, buffers = moments_and_buffers(state)
        with running(dtype, device), _explained():
            held, given = self._entered({**parameters, **buffers}, arrays, dtype)
            moving = {
                n: a for n, a in held.items() if n not in fixed and jnp.issubdtype(a.dtype, jnp.floating)
            }
            held = {name: array for name, array in held.items() if name not in moving}
            carry = moving, held, resume(moving, memory, made(training).init(moving))
            losses: list[Any] = []
            first: Arrays = {}
            for _ in range(steps):
                carry, (loss, slopes) = self._jitted_step(*carry, given, training=training)
                losses.append(loss)
                first = first or leave(slopes)
            moving, held, optimizer = carry
            # The step that is not taken any more knows the loss, and need not be compiled again.
            _, (outcome, _) = self._jitted_step(*carry, given, training=training)
            return Result(
                values=leave({"loss": losses[0]} if losses else {}),
                gradients=first,
                history=History.of_losses([loss.item() for loss in losses], dtype, every),
                converged=leave(moving),
                state={**leave_state(optimizer), **leave({f"buffers.{n}": a for n, a in held.items()})},
                outcome=leave({"loss": outcome}),
            )

    def _step(
        self,
        moving: Mapping[str, Any],
        held: Mapping[str, Any],
        memory: optax.OptState,
        given: Mapping[str, Any],
        *,
        training: Training,
    ) -> tuple[tuple[dict[str, Any], dict[str, Any], optax.OptState], tuple[Any, Any]]:
        """What is carried on, and the loss and the gradients before."""

        def loss(params: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
            outputs, updates = self._forward({**held, **given, **params})
            return outputs["loss"], updates

        (value, updates), slopes = jax.value_and_grad(loss, has_aux=True)(moving)
        changes, memory = made(training).update(slopes, memory, moving)
        held = {name: jnp.asarray(updates.get(name, array), array.dtype) for name, array in held.items()}
        return (optax.apply_updates(moving, changes), held, memory), (value, slopes)

    def record(
        self,
        parameters: Arrays,
        arrays: Arrays,
        dtype: Dtype,
        device: Device = "cpu",
        *,
        want: Collection[int | str] = (),
        put: Mapping[int, np.ndarray] | None = None,
        through: Collection[Source] = (),
        forward: bool = False,
        coarse: bool = False,
        told: bool = True,
    ) -> tuple[Trace, dict[int, np.ndarray]]:
        """The same, with every equation written down; and copies of the values that are wanted, by index.

        Args:
            parameters: by path; those that are missing have the values of the pytree.
            arrays: of the arguments, by name.
            dtype: to compute in.
            device: to compute on.
            want: indices of values, and names of outputs, of which copies are returned, by index.
            put: by the index of a value, what is put in its place as soon as it has been computed.
            through: lines at which gradients that are stopped are let through.
            forward: whether gradients are left out.
            coarse: whether every value of float64 is rounded to float32, for which nothing is compiled anew.
            told: whether values are given fingerprints.
        """
        with running(dtype, device), _explained():
            given = self._entered(parameters, arrays, dtype)
            program, shapes = self._written(given, dtype, frozenset(through), forward=forward)
            names = [str(path[1].key) for path, _ in jax.tree.leaves_with_path(given)]
            groups = ("", "gradients.", "updates.")
            outputs = [f"{groups[path[0].idx]}{path[1].key}" for path, _ in jax.tree.leaves_with_path(shapes)]
            recorder = Recorder(want, put, self._lines, coarse=coarse, told=told)
            trace = recorder.trace(program, jax.tree.leaves(given), names, outputs)
            self._acts[trace] = recorder.acts
            return trace, recorder.kept

    def replay(
        self,
        trace: Trace,
        operations: Iterable[int],
        values: Mapping[int, np.ndarray],
        dtype: Dtype,
        device: Device = "cpu",
        options: Mapping[int, Mapping[str, object]] = MappingProxyType({}),
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Carry some operations of a recording out again.

        Args:
            trace: that was recorded here.
            operations: indices, in their order.
            values: that they take, by index; what they make takes the place of what is given here.
            dtype: that was computed in.
            device: that was computed on.
            options: by index, what an equation is told otherwise.

        Yields:
            The index and the array of every value that is made, as soon as it is.
        """
        with running(dtype, device):
            known, acts = dict[int, Any](values), self._acts[trace]
            for index in operations:
                operation = trace.operations[index]
                results = acts[index]([known[value] for value in operation.inputs], **options.get(index, {}))
                for value, array in zip(operation.outputs, results, strict=True):
                    known[value] = array
                    yield value, plain(array)

    def order(self, arrays: Arrays, dtype: Dtype = "float32") -> Sequence[str]:
        """The paths of the parameters in the order in which they are used first."""
        with running(dtype, "cpu"), _explained():
            given = self._entered({}, arrays, dtype)
            program, _ = self._written(given, dtype, forward=True)
            names = [str(path[1].key) for path, _ in jax.tree.leaves_with_path(given)]
            used = first_used(program)
            return [names[place] for place in used if names[place] in given[0]]

    def _written(
        self,
        given: tuple[dict[str, Any], ...],
        dtype: Dtype,
        through: frozenset[Source] = frozenset(),
        *,
        forward: bool,
    ) -> Any:  # noqa: ANN401
        """The jaxpr of the whole, or of its forward, and the shapes of what it returns."""
        key = dtype, forward, through
        if key not in self._traced:

            def outputs(held: Mapping[str, Any], args: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
                values, updates = self._forward({**held, **args})
                return values, {}, updates

            def whole(*trees: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
                return self._program(*trees)  # a method is the same one every time, and would not be run anew

            written = jax.make_jaxpr(outputs if forward else whole, return_shape=True)
            with watched(through) as stops:
                self._traced[key] = written(*given)
            if not through <= stops:  # a function that was jitted is not traced again as long as it is known
                jax.clear_caches()  # type: ignore[no-untyped-call]  # it carries no types
                with watched(through):
                    self._traced[key] = written(*given)
        return self._traced[key]

    def _entered(self, parameters: Arrays, arrays: Arrays, dtype: Dtype) -> tuple[dict[str, Any], ...]:
        held = {**self.parameters, **parameters}
        return tuple(
            {name: jnp.array(array, dtype if of_float(array) else None) for name, array in tree.items()}
            for tree in (held, arrays)
        )

    def _program(self, held: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Outputs, gradients and updates, by name."""
        everything = {**held, **given}

        def forward(
            moving: Mapping[str, Any],
        ) -> tuple[dict[str, Any], tuple[dict[str, Any], dict[str, Any]]]:
            outputs, updates = self._forward({**everything, **moving})
            roots = {"loss": outputs["loss"]} if self.loss else outputs
            return {name: root for name, root in roots.items() if floating(root)}, (outputs, updates)

        moving = {name: array for name, array in everything.items() if floating(array)}
        roots, pull, (outputs, updates) = jax.vjp(forward, moving, has_aux=True)
        starts = {
            name: jnp.ones_like(root)
            if root.ndim == 0
            else jnp.asarray(weights(name, root.shape), root.dtype)
            for name, root in roots.items()
        }
        (gradients,) = pull(starts)
        return outputs, gradients, updates

    def _forward(self, arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        tree = jax.tree.unflatten(
            self._shape, [arrays.get(name, leaf) for name, leaf in self._leaves.items()]
        )
        arguments = self.arguments.filled(arrays)
        output, updates = self._call(tree, *arguments), {}
        if self.updates:
            if not isinstance(output, tuple) or len(output) != 2:  # noqa: PLR2004  # the pair that is asked for
                raise UnusablePortError(
                    "the imperative module changes its buffers (it is in training mode), so let the "
                    "functional side return (output, updates), the updates at the paths of the parameters."
                )
            output, changed = output
            paths = jax.tree.leaves_with_path(changed)
            updates = {path_name(path): jnp.asarray(leaf) for path, leaf in paths if _is_parameter(leaf)}
        outputs = {name: jnp.asarray(leaf) for name, leaf in leaves(output, jax.Array)}
        if not outputs:
            raise UnusablePortError(
                f"the functional side returns {type(output).__name__}: let it return arrays."
            )
        if self.loss is not None:
            outputs["loss"] = _scalar(self.loss(output, *arguments))
        return outputs, updates


def arrays(pytree: object) -> Arrays:
    """The arrays of numbers of a pytree by path; where only shapes are known, arrays that take no memory."""
    return _parameters(_flat(pytree)[0])


def filled(arrays: Arrays, pytree: object) -> Any:  # noqa: ANN401  # of the same type
    """The pytree with these arrays at their paths, bit for bit.

    They are NumPy's where it has an array of NumPy, and JAX's else.
    """
    leaves, shape = _flat(pytree)
    with running("float64"):  # or JAX would cut what has 64 bits in half
        put = {
            name: np.array(array) if isinstance(leaves[name], np.ndarray) else jnp.array(array)
            for name, array in arrays.items()
        }
    return jax.tree.unflatten(shape, [put.get(name, leaf) for name, leaf in leaves.items()])


def _flat(pytree: object) -> tuple[dict[str, Any], Any]:
    """The leaves by path, and the structure."""
    paths, shape = jax.tree_util.tree_flatten_with_path(pytree)
    names = _distinct([path_name(path) for path, _ in paths])
    return dict(zip(names, (leaf for _, leaf in paths), strict=True)), shape


def _parameters(leaves: Mapping[str, Any]) -> Arrays:
    return {name: _held(leaf) for name, leaf in leaves.items() if _is_parameter(leaf)}


def _adapted(
    target: object, arguments: Arguments, pytree: object, shared: object, *, updates: bool
) -> tuple[_Call, object]:
    """How a side is called with its pytree, and the pytree."""
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(target).__mro__}
    found: Any = target
    if any(kind.startswith("flax.linen.") and kind.endswith(".Module") for kind in kinds):
        if pytree is None:
            examples = arguments.filled({name: jnp.asarray(a) for name, a in arguments.arrays.items()})
            pytree = jax.eval_shape(lambda: found.init(jax.random.key(0), *examples))
        changing = [name for name in dict(pytree) if name != "params"]  # type: ignore[call-overload]
        options = {"mutable": changing} if updates else {}
        return lambda tree, *given: found.apply(tree, *given, **options), pytree
    if any(kind.startswith("flax.nnx.") and kind.endswith(".Module") for kind in kinds):
        nnx: Any = sys.modules["flax.nnx"]
        definition, state = nnx.split(found)

        def merged(tree: Any, *given: Any) -> Any:  # noqa: ANN401
            module = nnx.merge(definition, tree)
            output = module(*given)
            return (output, nnx.state(module, nnx.Not(nnx.Param))) if updates else output

        return merged, state if pytree is None else pytree
    if (
        hasattr(found, "init")
        and hasattr(found, "apply")
        and any(kind.startswith("haiku.") for kind in kinds)
    ):
        return _haiku(found, arguments, pytree, updates=updates)
    if not callable(found):
        raise UnusablePortError(
            f"the functional side is {type(target).__name__}: give a function of a pytree, or a module of "
            "flax, equinox or haiku."
        )
    own = jax.tree.leaves(found)
    if not any(leaf is found for leaf in own):  # it is a pytree itself, as modules of equinox are
        return lambda tree, *given: tree(*given), found if pytree is None else pytree
    pytree = shared if pytree is None else pytree
    return (lambda _, *given: found(*given)) if pytree is None else found, pytree


def _haiku(found: Any, arguments: Arguments, pytree: object, *, updates: bool) -> tuple[_Call, object]:  # noqa: ANN401
    """The same for what ``haiku.transform`` returns, with or without a state."""
    stateful = "state" in inspect.signature(found.apply).parameters
    keys = (None,) if "rng" in inspect.signature(found.apply).parameters else ()
    if pytree is None:
        examples = arguments.filled({name: jnp.asarray(a) for name, a in arguments.arrays.items()})
        made = jax.eval_shape(lambda: found.init(jax.random.key(0), *examples))
        pytree = {"params": made[0], "state": made[1]} if stateful else made

    def applied(tree: Any, *given: Any) -> Any:  # noqa: ANN401
        if not stateful:
            return found.apply(tree, *keys, *given)
        output, state = found.apply(tree["params"], tree["state"], *keys, *given)
        return (output, {"state": state}) if updates else output

    return applied, pytree


def path_name(path: Sequence[Any]) -> str:
    """``params.Dense_0.kernel``, ``layers[0].w``: keys and fields follow a dot, places stand in brackets."""
    name = ""
    for key in path:
        if hasattr(key, "idx"):
            name += f"[{key.idx}]"
            continue
        word = str(key.key if hasattr(key, "key") else getattr(key, "name", key))
        name += f".{word}" if name else word
    return name.removesuffix(".value")  # nnx wraps every array in a variable


def _distinct(names: Sequence[str]) -> list[str]:
    taken: dict[str, None] = {}
    for name in names:
        taken[next(n for n in chain([name], (f"{name} ({k})" for k in count(2))) if n not in taken)] = None
    return list(taken)


def _is_parameter(leaf: object) -> bool:
    """Whether a leaf is an array of numbers: not a function that a module holds, nor a key."""
    if not isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
        return False
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)


def _held(leaf: Any) -> np.ndarray:  # noqa: ANN401
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
    return np.asarray(leaf)


def _leave(array: Any, dtype: Dtype) -> np.ndarray:  # noqa: ANN401
    plain = np.array(array)
    return plain if plain.dtype.kind in "fcV" or of_float(plain) else plain.astype(dtype)


def _scalar(loss: Any) -> Any:  # noqa: ANN401
    if not isinstance(loss, jax.Array) or loss.ndim != 0 or not floating(loss):
        what = f"of shape {loss.shape}" if isinstance(loss, jax.Array) else type(loss).__name__
        raise UnusablePortError(
            f"the functional loss is {what}: a loss is a scalar; reduce it with .mean() or .sum()."
        )
    return loss


@contextmanager
def _explained() -> Iterator[None]:
    """Says what to do where a function cannot be traced."""
    try:
        yield
    except jax.errors.ConcretizationTypeError as error:
        raise UnusablePortError(
            "the functional side decides in Python on the values of arrays, which tracing does not know: use "
            "jax.lax.cond or jnp.where, or give these arguments as plain numbers."
        ) from error
