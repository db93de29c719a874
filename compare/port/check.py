"""Judges a pair of the user's own, and finds where its sides part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from compare import twins
from compare.judge import GRAVITY, Trial, Verdict, Word
from compare.judge.trees import gap
from compare.port.alignment import partners, prints
from compare.port.locate import Fault, Sides, faults
from compare.port.mapping import SIDES, Map, Side, moved, slices, to_functional
from compare.port.matching import match
from compare.port.training import Run, Trained
from compare.twins import Twins
from scenarios import Device, Dtype, Result, Statement
from scenarios.port import Answer, Arguments, Training, UnusablePortError, as_array, of_float
from scenarios.trace import Trace
from scenarios.types import Arrays, Twin

Loss = Callable[..., Any]

#: Of names no more than these are listed.
_FEW = 3

#: Why two quantities cannot be compared entry by entry.
_UNLIKE = {"missing on one side", "another shape"}


@dataclass(frozen=True, eq=False)
class PairVerdict:
    """What is said of a pair.

    Attributes:
        verdict: the judge's, of output, loss and gradients.
        map: which parameter is which.
        faults: where the sides part, in the order of the data; empty if they agree, or nobody asked.
        sought: whether somebody did.
        notes: what else is to be said, a sentence each.
        trained: what is said of their training; None if nobody asked, or they differ without it.
    """

    verdict: Verdict
    map: Map
    faults: tuple[Fault, ...] = ()
    sought: bool = True
    notes: tuple[str, ...] = ()
    trained: Trained | None = None

    def __str__(self) -> str:
        """The verdict in words, with where the sides part."""
        from compare.port import describe  # noqa: PLC0415  # it knows what a verdict is

        return describe.text(self)

    @property
    def word(self) -> Word:
        """The judge's word, the graver one if there are two."""
        words = [self.verdict.word, *([self.trained.verdict.word] if self.trained else [])]
        return min(words, key=GRAVITY.index)

    @property
    def agrees(self) -> bool:
        """Whether both sides compute the same function, and train alike if that was asked."""
        return self.verdict.agrees and (self.trained is None or self.trained.verdict.agrees)

    @property
    def first_difference(self) -> Fault | None:
        """The first operation that differs; None if none does, or none was found."""
        return self.faults[0] if self.faults else None


def check(
    imperative: object,
    functional: object,
    params: Mapping[str, Any] | None = None,
    args: Sequence[Any] = (),
    *,
    pytree: object = None,
    loss: tuple[Loss, Loss] | None = None,
    map: Map | Mapping[str, str] | None = None,  # noqa: A002  # what it is
    train: Training | Mapping[str, Any] | None = None,
    dtype: Dtype = "float64",
    device: Device = "cpu",
    locate: bool = True,
) -> PairVerdict:
    """Judge whether a functional port computes what an imperative original does, and find where it does not.

    Args:
        imperative: an ``nn.Module``, or a function of a dict of tensors and the arguments (of the arguments
            alone, without parameters).
        functional: a function of a pytree and the arguments (of the arguments alone, without a pytree); or a
            module of flax.linen, flax.nnx or equinox, or what ``haiku.transform`` returns.
        params: of the imperative side, by name; a module has its own.
        args: positional arguments of both sides: arrays (copied), anywhere in sequences and mappings, and
            whatever else, which is handed over as it is.
        pytree: of the functional side: parameters, or only their shapes (``jax.ShapeDtypeStruct``). A module
            has its own, and a function takes ``params`` as they are where there is none.
        loss: of the imperative and of the functional side: from the output and the arguments to a scalar,
            which is differentiated. Without one, every output is multiplied by fixed random numbers.
        map: which parameter is which (:func:`compare.match`), or corrections to what is found by itself.
        train: with which optimizer to train both sides by the loss, and how long
            (:class:`scenarios.port.Training`, or its fields by name); sides that differ without it are not
            trained.
        dtype: of the results that are judged; both precisions are run in any case.
        device: to run on.
        locate: whether to look for the operations that differ, if the sides do.

    Raises:
        UnusablePortError: a side, its parameters or its arguments cannot be compared; the message says why.
        Exception: whatever a side raises.
    """
    pair = Pair(
        imperative, functional, params, args, pytree=pytree, loss=loss, map=map, train=train, device=device
    )
    return pair.verdict(dtype, locate=locate)


class Pair:
    """Two sides of the user's own, ready to be judged, recorded and mended."""

    def __init__(
        self,
        imperative: object,
        functional: object,
        params: Mapping[str, Any] | None = None,
        args: Sequence[Any] = (),
        *,
        pytree: object = None,
        loss: tuple[Loss, Loss] | None = None,
        map: Map | Mapping[str, str] | None = None,  # noqa: A002  # what it is
        train: Training | Mapping[str, Any] | None = None,
        device: Device = "cpu",
    ) -> None:
        """Run both sides twice, and match the parameters.

        Args and errors are those of :func:`check`.
        """
        self.training = _training(train, loss)
        self.arguments, self.device = Arguments.of(args), device
        losses = loss or (None, None)
        self.left = twins.port("imperative", imperative, self.arguments, loss=losses[0])
        self.parameters = {n: as_array(a) for n, a in (params or {}).items()} or dict(self.left.parameters)
        _refuse_names(self.parameters, self.left.parameters)
        _refuse_values(self.parameters, self.arguments.arrays)
        #: Whether buffers change when it runs.
        self.updates = bool(self._twice().updates)
        self.right = twins.port(
            "functional",
            functional,
            self.arguments,
            loss=losses[1],
            pytree=pytree,
            shared=dict(self.parameters) if params else None,
            updates=self.updates,
        )
        if self.parameters and not self.right.parameters:
            raise UnusablePortError(
                f"the imperative side has parameters ({', '.join(list(self.parameters)[:3])}, …) and the "
                "functional side none: give its pytree (--pytree)."
            )
        self.map = self._matched(map)
        held = self.converted(self.parameters)
        first, second = (
            self.right.run(held, self.arguments.arrays, "float32", anew=anew) for anew in (False, True)
        )
        _refuse_another(
            {**first.values, **first.gradients},
            {**second.values, **second.gradients},
            "the functional side draws random numbers or counts: {} is another one when it is traced again. "
            "Give masks, noise and keys to both sides as arguments.",
        )

    def _twice(self) -> Answer:
        """What the imperative side computes, twice the same."""
        first: Answer
        first, second = (
            self.left.run(self.parameters, self.arguments.arrays, "float32", self.device) for _ in range(2)
        )
        _refuse_another(
            first.values,
            second.values,
            "the imperative side draws random numbers: {} is another one when it is run again. "
            "Give masks, noise and keys to both sides as arguments, or call .eval().",
        )
        return first

    def _matched(self, given: Map | Mapping[str, str] | None) -> Map:
        if isinstance(given, Map):
            given.check("imperative", self.parameters)
            given.check("functional", self.right.parameters)
            return given
        trace, _ = self.left.record(self.parameters, self.arguments.arrays, "float64", self.device)
        told = prints(trace, None, 1)
        used = {"imperative": _used(trace), "functional": self.right.order(self.arguments.arrays)}

        def score(candidate: Map) -> float:
            """How many values of the functional side the imperative side has."""
            held = to_functional(self.parameters, candidate, like=self.right.parameters)
            arrays = self.arguments.arrays
            there, _ = self.right.record(held, arrays, "float64", self.device, forward=True)
            return float(sum(len(p) > 0 for p in partners(prints(there, None, 1), told)))

        found = match(
            self.parameters,
            self.right.parameters,
            corrections=given,
            order=used,
            values=self.right.valued,
            score=score,
            tied=self.left.tied,
        )
        floating = {
            "imperative": {n for n, a in self.parameters.items() if of_float(a)} - set(self.left.buffers),
            "functional": {n for n, a in self.right.parameters.items() if of_float(a)},
        }
        _refuse_alone(found, {s: [n for n in used[s] if n in floating[s]] for s in SIDES}, given or {})
        return found

    def verdict(self, dtype: Dtype = "float64", *, locate: bool = True) -> PairVerdict:
        """Judge the pair.

        Args:
            dtype: of the results that are judged.
            locate: whether to look for the operations that differ, if the sides do.
        """
        found = self.trial.verdict(dtype)
        faults = self.faults if locate and found.word == "different" else ()
        trained = self._run.verdict(dtype) if self._run and found.word != "different" else None
        return PairVerdict(found, self.map, faults, locate, tuple(self._notes(trained)), trained)

    @cached_property
    def _run(self) -> Run | None:
        return Run(self, self.training) if self.training else None

    def copies(self, side: Side) -> Mapping[str, Sequence[str]]:
        """By the name of an array of this side that stands for several of the other one, their names."""
        other = SIDES[side == SIDES[0]]
        names: dict[str, dict[str, None]] = {name: {} for name in self.map.tied[side]}
        for piece in self.map.pieces:
            names.get(piece.name(side), {})[piece.name(other)] = None
        return {name: list(held) for name, held in names.items() if len(held) > 1}

    def _notes(self, trained: Trained | None) -> Iterator[str]:
        """What is tied on one side alone, and why nothing was trained."""
        parted = trained is not None and trained.verdict.word == "different"
        for side, other in (SIDES, SIDES[::-1]):
            for name, names in self.copies(side).items():
                yield (
                    f"{'weights not tied: ' if parted else ''}{name} is one array on the {side} side and "
                    f"{len(names)} on the {other} ({', '.join(names)}): a step moves them apart unless their "
                    "gradients are added up."
                )
        if self.training and trained is None:
            yield "The sides differ without being trained, and were not."

    @cached_property
    def trial(self) -> Trial:
        """Both sides before the judge."""
        sides = (_Side(self._imperative), _Side(self._functional))
        return Trial(Twins(self.statement, *(cast(Twin, side) for side in sides)), self.device, every=None)

    @cached_property
    def statement(self) -> Statement:
        """The pair as a problem: parameters to start from, and everything else as data."""
        start = {n: a for n, a in self.parameters.items() if of_float(a) and n not in self.left.buffers}
        rest = {n: a for n, a in self.parameters.items() if n not in start}
        return Statement(
            "pair",
            "a pair of the user's own",
            "",
            start=_wide(start),
            data=_wide({**rest, **self.arguments.arrays}),
        )

    def split(self, statement: Statement) -> tuple[Arrays, Arrays]:
        """Parameters and arguments; parameters that are one on the functional side are equal."""
        everything = {**statement.start, **statement.data}
        parameters = {name: everything[name] for name in self.parameters}
        for path in self.map.tied["functional"]:
            first, *others = (p for p in self.map.pieces if p.functional == path)
            if not any(piece.block(side) for piece in (first, *others) for side in SIDES):
                whole = moved(first, parameters[first.imperative], "imperative", self.map.shapes)
                for piece in others:
                    parameters[piece.imperative] = moved(piece, whole, "functional", self.map.shapes)
        return parameters, {name: everything[name] for name in self.arguments.arrays}

    def _imperative(self, statement: Statement, dtype: Dtype, device: Device) -> Result:
        answer = self.left.run(*self.split(statement), dtype, device)
        return Result({**answer.values, **_updated(answer.updates)}, answer.gradients)

    def _functional(self, statement: Statement, dtype: Dtype, device: Device) -> Result:
        parameters, arrays = self.split(statement)
        answer = self.right.run(self.converted(parameters), arrays, dtype, device)
        return Result({**answer.values, **_updated(self.back(answer.updates))}, self.slopes(answer.gradients))

    def converted(self, parameters: Arrays) -> Arrays:
        """The imperative side's parameters as the functional side takes them."""
        return to_functional(parameters, self.map, like=self.right.parameters)

    def slopes(self, gradients: Arrays) -> Arrays:
        """Gradients by the imperative side's names."""
        moving = {n: g for n, g in self.back(gradients, add=True).items() if n in self.statement.start}
        return {**moving, **{n: g for n, g in gradients.items() if n in self.arguments.arrays}}

    def back(self, arrays: Arrays, *, add: bool = False) -> Arrays:
        """Arrays by functional path as the imperative side has them; whatever is tied can be added up."""
        made: dict[str, np.ndarray] = {}
        for piece in self.map.pieces:
            if piece.functional not in arrays:
                continue
            name, shape = piece.imperative, self.map.shapes["imperative"][piece.imperative]
            there = made.setdefault(name, np.zeros(shape, arrays[piece.functional].dtype))
            block = moved(piece, arrays[piece.functional], "functional", self.map.shapes)
            where = slices(piece.block("imperative"))
            there[where] = there[where] + block if add else block
        return made

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """Where the sides part."""
        arrays, parameters = self.arguments.arrays, self.parameters
        held = self.converted(parameters)
        found = [f for _, examination in self.trial.examinations for f in examination.higher]
        # Without an output of one name and one shape on both sides, nothing else need agree.
        if any(f.reason in _UNLIKE and f.quantity.startswith("values.") for f in found):
            return ()
        budgets = {f.quantity: f.budget for f in found if f.reason not in _UNLIKE}
        names = {quantity: _trace_name(quantity) for quantity in budgets}

        def unlike(left: Arrays, right: Arrays) -> Sequence[str]:
            gradients = {
                n.removeprefix("gradients."): a for n, a in right.items() if n.startswith("gradients.")
            }
            updates = {n.removeprefix("updates."): a for n, a in right.items() if n.startswith("updates.")}
            there = {
                **right,
                **{f"gradients.{n}": a for n, a in self.slopes(gradients).items()},
                **{f"updates.{n}": a for n, a in self.back(updates).items()},
            }
            return [
                name
                for quantity, name in names.items()
                if name in left and gap(left[name], there[name]).absolute > budgets[quantity]
            ]

        sides = Sides(
            lambda dtype, **options: self.left.record(parameters, arrays, dtype, self.device, **options),
            lambda dtype, **options: self.right.record(held, arrays, dtype, self.device, **options),
            lambda trace, steps, values, options={}: self.right.replay(
                trace, steps, values, "float64", self.device, options
            ),
            {name: self._counterparts(name) for name in names.values()},
            unlike,
            self._expected,
            {"imperative": self.left.stops, "functional": self.right.stops},
            sum(a.size for a in (*parameters.values(), *arrays.values()) if of_float(a)),
        )
        return tuple(faults(sides))

    def _expected(self, outputs: Arrays) -> Arrays:
        """What the functional trace's outputs should be, given those of the imperative one."""
        made = {n: a for n, a in outputs.items() if not n.startswith(("gradients.", "updates."))}
        slopes = {n.removeprefix("gradients."): a for n, a in outputs.items() if n.startswith("gradients.")}
        made |= {f"gradients.{n}": slopes[n] for n in self.arguments.arrays if n in slopes}
        for kind in ("gradients", "updates"):
            there = {n.removeprefix(f"{kind}."): a for n, a in outputs.items() if n.startswith(f"{kind}.")}
            whole = {n: there.get(n, np.zeros(a.shape)) for n, a in self.parameters.items()}
            paths = {p.functional for p in self.map.pieces if p.imperative in there}
            tied = {p.functional for p in self.map.pieces if p.imperative in self.map.tied["imperative"]}
            laid = to_functional(whole, self.map, like=self.right.parameters)
            made |= {f"{kind}.{path}": laid[path] for path in paths - tied}
        return made

    def _counterparts(self, name: str) -> Sequence[str]:
        """What the functional trace calls an output of the imperative one."""
        kind, _, rest = name.partition(".")
        if kind not in {"gradients", "updates"} or rest in self.arguments.arrays:
            return [name]
        return [
            f"{kind}.{path}"
            for path in dict.fromkeys(p.functional for p in self.map.pieces if p.imperative == rest)
        ]


@dataclass(frozen=True)
class _Side:
    """A twin as the judge calls it."""

    call: Callable[[Statement, Dtype, Device], Result]

    def run(self, statement: Statement, *, dtype: Dtype = "float32", device: Device = "cpu") -> Result:
        return self.call(statement, dtype, device)


def _used(trace: Trace) -> list[str]:
    """The names of what was given in the order in which it is used first."""
    taken = (trace.values[i] for operation in trace.operations for i in operation.inputs)
    return list(dict.fromkeys(value.name for value in taken if value.name))


def _trace_name(quantity: str) -> str:
    """``values.output`` is ``output`` in a trace; gradients and updates keep their group."""
    return quantity.removeprefix("values.")


def _training(given: Training | Mapping[str, Any] | None, loss: tuple[Loss, Loss] | None) -> Training | None:
    """How to train.

    Raises:
        UnusablePortError: that cannot be done, or there is no loss to be trained by.
    """
    if given is None:
        return None
    if loss is None or not all(map(callable, loss)):
        raise UnusablePortError(
            "training needs a loss on both sides: give loss=(torch_loss, jax_loss) (--loss), each from the "
            "output and the arguments to a scalar."
        )
    return given if isinstance(given, Training) else Training.of(given)


def _updated(arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"updates.{name}": array for name, array in arrays.items()}


def _wide(arrays: Arrays) -> Arrays:
    return {name: array.astype(np.float64) if of_float(array) else array for name, array in arrays.items()}


def _refuse_another(first: Arrays, second: Arrays, sentence: str) -> None:
    """Refuse a side whose answer is not the same twice; the sentence takes the name of what is not."""
    for name, array in first.items():
        if not np.array_equal(array, second.get(name, np.zeros(0)), equal_nan=True):
            raise UnusablePortError(sentence.format(name))


def _refuse_names(given: Arrays, own: Arrays) -> None:
    """Refuse parameters that are not those of the module."""
    for name in given.keys() ^ own.keys() if own else ():
        what = "has no parameter" if name in given else "is given no parameter"
        raise UnusablePortError(f"the imperative module {what} called {name}: give what state_dict() has.")
    for name, array in own.items():
        if given[name].shape != array.shape:
            raise UnusablePortError(
                f"{name} has the shape {given[name].shape}, and {array.shape} in the imperative module."
            )


def _refuse_alone(by: Map, used: Mapping[Side, Sequence[str]], corrections: Mapping[str, str]) -> None:
    """Refuse parameters that are used and have no counterpart, unless somebody says that they have none."""
    alone = {
        side: [
            entry.name
            for entry in by.left_over[side]
            if entry.block is None and not entry.zero and entry.name in used[side]
        ]
        for side in SIDES
    }
    told = {*corrections, *corrections.values()}
    for side, other in (SIDES, SIDES[::-1]):
        for name in alone[side]:
            if name in told:
                continue
            rest = [f"{n} {by.shapes[other][n]}" for n in alone[other]]
            among = f"what is left there is {', '.join(rest[:_FEW])}" if rest else "nothing is left there"
            raise UnusablePortError(
                f"{name} {by.shapes[side][name]} of the {side} side has no counterpart on the {other} side: "
                f"{among}. Correct the shapes, or say in a map which parameter it is."
            )


def _refuse_values(parameters: Arrays, arrays: Arrays) -> None:
    for name, array in {**parameters, **arrays}.items():
        if of_float(array) and np.isnan(array.astype(np.float64)).any():
            raise UnusablePortError(
                f"{name} holds NaN: whatever is computed of it says nothing; give numbers."
            )
