"""The judge: honest twins agree, and a twin with one planted defect does not."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch

import functional.root_finding
import functional.sine_network
import imperative.sine_network
import scenarios
from compare import runner, twins
from compare.differences import LIMIT
from compare.judge import judge
from compare.twins import Twins

ALL = [statement.name for statement in scenarios.ALL]
TRAINED = [statement.name for statement in scenarios.ALL if statement.training]
SIDES = ("imperative", "functional")

each_side = pytest.mark.parametrize("side", SIDES)


@cache
def honest(side, name, dtype="float64", every=1):
    options = {"every": every} if name in TRAINED else {}
    return getattr(twins.load(name), side).run(dtype=dtype, **options)


def results(name, dtype="float64", **changed):
    return {side: changed.get(side) or honest(side, name, dtype) for side in SIDES}


def verdict_of(name, dtype="float64", **changed):
    return judge(scenarios.get(name), dtype, **results(name, dtype, **changed))


def mutated(name, side, change, every=1):
    """The verdict when one side is handed a changed statement."""
    statement = scenarios.get(name)
    options = {"every": every} if name in TRAINED else {}
    mutant = getattr(twins.load(name), side).run(change(statement), dtype="float64", **options)
    sides = {other: honest(other, name, every=every) for other in SIDES} | {side: mutant}
    return judge(statement, "float64", **sides, every=every)


def retrained(**changes):
    return lambda statement: replace(statement, training=replace(statement.training, **changes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_honest_twins_agree_with_each_other_the_truth_and_the_note(name, dtype):
    verdict = runner.compare(twins.load(name), dtype).verdict
    assert verdict.complaints == ()
    assert verdict.agrees


@pytest.mark.parametrize("name", ALL)
def test_in_float64_gradients_agree_at_every_step_far_inside_the_limit(name):
    verdict = verdict_of(name)
    for difference in verdict.differences:
        assert difference.agrees is True
        if difference.quantity != "gradients at every step":
            continue
        assert difference.ulps < LIMIT / 4
        # Relative to the gradient of the same step; root_finding's passes through zero (next test).
        assert name == "root_finding" or difference.relative < 2e-12


def test_where_root_findings_gradient_passes_through_zero_its_cancellation_bounds_the_difference():
    left, right = (honest(side, "root_finding").history for side in SIDES)
    unit_roundoff = np.finfo(np.float64).eps / 2
    for row in range(1, len(left.steps)):
        a, b = (left.parameters[key][row - 1].item() for key in "ab")
        amplification = (abs(a) ** 3 + 3 * abs(b)) / abs(a**3 - 3 * b)
        size = max(np.abs(g[row]).max() for g in left.gradients.values())
        gap = max(np.abs(left.gradients[key][row] - right.gradients[key][row]).max() for key in "ab")
        assert gap <= 4 * unit_roundoff * amplification * size


@each_side
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("factor", [1.001, 1 + 1e-9])
def test_a_learning_rate_changed_on_one_side_disagrees(name, side, factor):
    rate = scenarios.get(name).training.learning_rate
    assert not mutated(name, side, retrained(learning_rate=rate * factor)).agrees


@each_side
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("every", [1, 7, None])
def test_one_step_fewer_on_one_side_disagrees_however_little_is_recorded(name, side, every):
    steps = scenarios.get(name).training.steps
    assert not mutated(name, side, retrained(steps=steps - 1), every).agrees


@each_side
@pytest.mark.parametrize("name", ["sine_network", "three_neurons", "line_network"])
def test_one_stored_weight_off_by_1e_9_disagrees(name, side):
    def nudge(statement):
        moved = {key: array.copy() for key, array in statement.start.items()}
        moved["hidden1.weight"][largest_entry(name, "hidden1.weight")] += 1e-9
        return replace(statement, start=moved)

    assert not mutated(name, side, nudge).agrees


def largest_entry(name, parameter):
    """The entry with the largest gradient; others may belong to a neuron that is off at every point."""
    gradient = honest("imperative", name).gradients[parameter]
    return np.unravel_index(np.abs(gradient).argmax(), gradient.shape)


def negated(gradient, entry):
    flipped = gradient.clone()
    flipped[entry] *= -1
    return flipped


@pytest.mark.parametrize("name", ["hidden1.weight", "input.bias", "hidden2.bias"])
def test_the_sign_of_one_gradient_entry_disagrees_in_either_dtype(name, monkeypatch):
    model = imperative.sine_network.model
    entry = largest_entry("sine_network", name)

    def mutant(start):
        network = model(start)
        network.get_parameter(name).register_hook(lambda gradient: negated(gradient, entry))
        return network

    monkeypatch.setattr(imperative.sine_network, "model", mutant)
    for dtype in ("float32", "float64"):
        result = imperative.sine_network.run(dtype=dtype)
        assert not verdict_of("sine_network", dtype, imperative=result).agrees


def test_the_sign_of_a_gradient_disagrees_when_the_functional_side_flips_it(monkeypatch):
    unchanged = functional.root_finding.value_and_gradients

    def mutant(params):
        value, gradients = unchanged(params)
        return value, {**gradients, "b": -gradients["b"]}

    monkeypatch.setattr(functional.root_finding, "value_and_gradients", mutant)
    jax.clear_caches()
    try:
        verdict = verdict_of("root_finding", functional=functional.root_finding.run(dtype="float64"))
    finally:
        jax.clear_caches()
    assert "gradients at the start: 1.9e+02 apart (3.4e+15 ULPs) in b[0]" in verdict.complaints


def test_an_error_that_both_sides_share_is_caught_by_the_truth():
    verdicts = results("sine_network")
    shared = {
        side: replace(r, gradients={k: 2 * g for k, g in r.gradients.items()}) for side, r in verdicts.items()
    }
    verdict = judge(scenarios.get("sine_network"), "float64", **shared)
    assert all(d.agrees for d in verdict.differences)
    assert not verdict.agrees
    assert "from the truth (central differences)" in verdict.complaints[0]


def test_a_gradient_that_both_sides_miss_by_1e_6_is_caught_by_the_truth():
    shared = {
        side: replace(r, gradients={k: g * (1 + 1e-6) for k, g in r.gradients.items()})
        for side, r in results("line_network").items()
    }
    assert not judge(scenarios.get("line_network"), "float64", **shared).agrees


def test_a_published_figure_that_is_missed_disagrees_and_is_named():
    statement = scenarios.get("root_finding")
    wrong = replace(statement, published=(replace(statement.published[0], printed="2.80"),))
    verdict = judge(wrong, "float32", **results("root_finding", "float32"))
    assert verdict.complaints == (
        "the note has 2.80 for converged.a, computed are 2.79302 (imperative) and 2.79302 (functional)",
    )


@pytest.mark.parametrize(
    ("printed", "relation", "agrees"),
    [
        ("2.79", "equal", True),
        ("2.8", "equal", True),
        ("2.78", "equal", False),
        ("2.8", "at most", True),
        ("2.7", "at most", False),
    ],
)
def test_a_published_figure_promises_half_a_unit_of_its_last_digit(printed, relation, agrees):
    statement = scenarios.get("root_finding")
    figure = replace(statement.published[0], printed=printed, relation=relation)
    verdict = judge(replace(statement, published=(figure,)), "float64", **results("root_finding"))
    assert verdict.published[0].agrees is agrees


@each_side
def test_a_fact_that_one_side_derives_otherwise_disagrees(side):
    changed = replace(honest(side, "leaves"), facts={**honest(side, "leaves").facts, "b.is_leaf": True})
    verdict = verdict_of("leaves", **{side: changed})
    assert not verdict.agrees
    assert verdict.complaints[0].startswith("the fact 'b.is_leaf' should be False, derived are ")


def test_a_fact_nobody_stated_or_one_side_forgot_disagrees():
    for facts in ({**honest("imperative", "leaves").facts, "e.is_leaf": True}, {}):
        assert not verdict_of(
            "leaves", imperative=replace(honest("imperative", "leaves"), facts=facts)
        ).agrees


def test_true_is_not_the_number_one():
    facts = {name: int(value) for name, value in honest("imperative", "leaves").facts.items()}
    assert not verdict_of("leaves", imperative=replace(honest("imperative", "leaves"), facts=facts)).agrees


def test_a_history_that_one_side_lacks_disagrees():
    verdict = verdict_of(
        "root_finding", functional=replace(honest("functional", "root_finding"), history=None)
    )
    assert verdict.complaints == (
        "the functional side recorded 0 steps of the 200 that were asked for",
        "steps: the imperative side recorded 200 steps up to 200, the functional side no step",
    )


def test_a_history_that_both_sides_lack_disagrees():
    verdict = shared("root_finding", lambda result: replace(result, history=None))
    assert "the imperative side recorded 0 steps of the 200 that were asked for" in verdict.complaints


def test_results_without_a_quantity_compare_nothing_and_never_pass():
    statement = replace(scenarios.get("leaves"), truth={}, facts={})
    empty = scenarios.Result(values={})
    verdict = judge(statement, "float64", empty, empty)
    assert not verdict.agrees
    assert verdict.complaints == ("nothing was compared",)


@pytest.mark.parametrize("group", ["values", "gradients", "converged", "outcome"])
@each_side
def test_no_quantity_goes_unjudged_in_float64(group, side):
    for name, array in getattr(honest(side, "sine_network"), group).items():
        moved = {**getattr(honest(side, "sine_network"), group), name: np.asarray(array * (1 + 1e-6))}
        assert not verdict_of(
            "sine_network", **{side: replace(honest(side, "sine_network"), **{group: moved})}
        ).agrees


@pytest.mark.parametrize("group", ["losses", "gradients", "parameters"])
def test_no_step_goes_unjudged_in_float64(group):
    history = honest("functional", "root_finding").history
    for row in (0, 99, 198):
        moved = getattr(history, group)
        if group == "losses":
            moved = moved.copy()
            moved[row] += 1e-9
        else:
            moved = {**moved, "a": moved["a"].copy()}
            moved["a"][row] += 1e-9
        changed = replace(honest("functional", "root_finding"), history=replace(history, **{group: moved}))
        assert not verdict_of("root_finding", functional=changed).agrees


def test_a_twin_that_raises_is_recorded_with_its_traceback():
    def broken(statement, **options):
        raise FloatingPointError("the loss is not finite")

    pair = Twins(scenarios.get("leaves"), SimpleNamespace(run=broken), twins.load("leaves").functional)
    record = runner.compare(pair, "float64")
    assert record.verdict is None
    assert record.failure.side == "imperative"
    assert record.failure.message == "FloatingPointError: the loss is not finite"
    assert "in broken" in record.failure.traceback


def test_threads_do_not_change_the_verdict():
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            result = imperative.sine_network.run(dtype="float64")
            assert verdict_of("sine_network", imperative=result).agrees
    finally:
        torch.set_num_threads(threads)


def test_a_truth_or_a_published_figure_that_nobody_computed_is_missed():
    bare = {side: replace(r, values={}, converged={}) for side, r in results("root_finding").items()}
    verdict = judge(scenarios.get("root_finding"), "float64", **bare)
    assert [d.absolute for d in verdict.distances if d.quantity == "values.P"] == [np.inf, np.inf]
    assert not verdict.published[0].agrees
    assert not verdict.agrees


def shared(name, change, dtype="float64"):
    """The verdict when both sides have the same defect."""
    return judge(scenarios.get(name), dtype, **{side: change(r) for side, r in results(name, dtype).items()})


def rerun(name, change, dtype="float64"):
    """The verdict when both sides are handed the same changed statement, and judged by the unchanged one."""
    statement = change(scenarios.get(name))
    pair = twins.load(name)
    return judge(
        scenarios.get(name),
        dtype,
        **{side: getattr(pair, side).run(statement, dtype=dtype) for side in SIDES},
    )


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("factor", [0, 1.1, 1 + 1e-6])
def test_a_learning_rate_that_both_sides_get_wrong_disagrees_with_the_optimizers_formula(name, factor):
    rate = scenarios.get(name).training.learning_rate
    verdict = rerun(name, retrained(learning_rate=rate * factor))
    assert any("the optimizer's formula" in complaint for complaint in verdict.complaints)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("steps", [1, -1])
def test_a_number_of_steps_that_both_sides_get_wrong_disagrees(name, steps):
    right = scenarios.get(name).training.steps
    verdict = rerun(name, retrained(steps=steps if steps > 0 else right + steps))
    assert not verdict.agrees


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [2, 1.01])
def test_losses_that_both_sides_misreport_disagree_with_the_objective(dtype, factor):
    def scaled(result):
        return replace(
            result, history=replace(result.history, losses=np.asarray(result.history.losses * factor))
        )

    verdict = shared("sine_network", scaled, dtype)
    assert any("history.losses" in complaint for complaint in verdict.complaints)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_outcome_that_both_sides_misreport_disagrees_with_the_objective(dtype):
    def raised(result):
        loss = np.asarray(result.outcome["loss"] + np.array(0.1, dtype))
        return replace(result, outcome={**result.outcome, "loss": loss})

    verdict = shared("sine_network", raised, dtype)
    assert any("outcome.loss" in complaint for complaint in verdict.complaints)


@pytest.mark.parametrize("group", ["values", "gradients", "converged", "outcome"])
def test_nan_on_both_sides_is_no_agreement(group):
    def poison(result):
        return replace(
            result, **{group: {k: np.full_like(a, np.nan) for k, a in getattr(result, group).items()}}
        )

    verdict = shared("sine_network", poison)
    assert "the imperative side computed NaN or infinity" in verdict.complaints


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["root_finding", "sine_polynomial", "sine_network", "activations"])
def test_a_factor_two_that_both_sides_share_is_caught_by_the_truth_in_either_dtype(name, dtype):
    def doubled(result):
        return replace(result, gradients={k: np.asarray(2 * g) for k, g in result.gradients.items()})

    assert not shared(name, doubled, dtype).agrees


@pytest.mark.parametrize("name", ALL)
def test_float32_results_do_not_pass_for_float64(name):
    verdict = judge(scenarios.get(name), "float64", **results(name, "float32"))
    assert any("in a float64 run" in complaint for complaint in verdict.complaints)


@pytest.mark.parametrize("group", ["gradients", "converged"])
def test_a_parameter_that_both_sides_forget_is_missed(group):
    verdict = shared(
        "line_network",
        lambda r: replace(r, **{group: {k: a for k, a in getattr(r, group).items() if k != "input.bias"}}),
    )
    assert any("input.bias" in complaint for complaint in verdict.complaints)


@each_side
def test_a_timed_run_that_does_less_than_the_recorded_one_disagrees(side):
    pair = twins.load("root_finding")
    module = getattr(pair, side)

    def lazy(statement, every=1, **options):
        steps = statement.training.steps if every else 100
        return module.run(retrained(steps=steps)(statement), every=every, **options)

    record = runner.compare(replace(pair, **{side: SimpleNamespace(run=lazy)}), "float64")
    assert record.verdict.complaints[0].startswith(
        f"converged parameters of the {side} run, recorded or not: "
    )


def test_a_record_whose_steps_were_dropped_can_still_be_judged():
    record = runner.compare(twins.load("root_finding"), "float64")
    verdict = judge(scenarios.get("root_finding"), "float64", **record.results)
    assert {d.note for d in verdict.differences} == {"", "neither side has any"}
