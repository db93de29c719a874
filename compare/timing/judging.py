"""Whether a variant computes what the other side's twin does: one that does not has no figure."""

from importlib import import_module
from typing import Any

from compare import twins
from compare.judge import examine
from compare.judge.training import State, StepFunction, advanced, inputs
from scenarios import Device, Dtype, Result, Session, Statement

#: Steps of a run that a variant is judged by, from the start and from half-way; where there are more
#: parameters and data than these, one step from half-way has to do (Adam's first hides a gradient's size).
JUDGED, LARGE = 8, 10**6


def judged(statement: Statement, module: str, variant: str, dtype: Dtype, device: Device) -> str:
    """Why a variant does not compute what the other side's twin does; empty if it does.

    Args:
        statement: of a training.
        module: with the variants of a side.
        variant: by name.
        dtype: whose verdict counts.
        device: to run on.
    """
    pair = twins.load(statement.name)  # the functional side comes first
    offered = import_module(module)

    def run(asked: Statement, precision: str, _: int | None) -> Result:
        session: Session = offered.session(asked, variant, precision, device)
        if session.compile is not None:
            session.compile()
        handle = session.launch(session.prepare())
        session.finish(handle)
        return Result(values={}, converged=session.leave(handle))

    other: Any = pair.imperative if module.startswith("functional") else pair.functional

    def reference(asked: Statement, precision: str, _: int | None) -> Result:
        result: Result = other.run(asked, dtype=precision, device=device, every=None)
        return result

    def told(asked: Statement, precision: str, every: int | None) -> Result:
        return Result(values={}, converged=reference(asked, precision, every).converged)

    training = statement.require_training()
    start = State(0, statement.start, statement.state)
    halfway = advanced(reference, statement, start, training.steps // 2)
    large = sum(array.size for tree in (statement.start, statement.data) for array in tree.values()) > LARGE
    steps = 1 if large else min(JUDGED, training.steps)
    for state in (halfway,) if large else (start, halfway):
        try:
            found = examine(
                StepFunction(run, statement, steps),
                StepFunction(told, statement, steps),
                inputs(statement, state),
            )
        except Exception as error:  # noqa: BLE001  # whatever a variant raises is why it has no figure
            return f"{type(error).__name__}: {error}".strip().splitlines()[0]
        findings = found.higher if dtype == "float64" else found.lower
        for finding in findings:
            if finding.word in {"different", "undecided"}:
                after = state.step + steps
                return f"it computes something else: {finding.quantity} is {finding.word} after step {after}"
        if all(f.word == "vacuous" for f in findings):
            return f"nothing of it could be compared after step {state.step + steps}"
    return ""
