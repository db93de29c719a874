"""The judge: honest twins agree, one planted defect is found, and nothing passes that did nothing."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import imperative.sine_network
import scenarios
from compare import runner, twins, words
from compare.judge import Trial, judge
from compare.judge.truth import check_published
from compare.twins import Twins

ALL = [statement.name for statement in scenarios.ALL]
TRAINED = [statement.name for statement in scenarios.ALL if statement.training]
SIDES = ("imperative", "functional")
DTYPES = ("float32", "float64")
JUDGE = Path(__file__).parents[1] / "compare" / "judge"

each_side = pytest.mark.parametrize("side", SIDES)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def short(name, steps=24):
    """The twins, on a run that is long enough to go wrong in."""
    pair = twins.load(name)
    if pair.statement.training is None:
        return pair
    training = replace(pair.statement.training, steps=steps)
    return replace(pair, statement=replace(pair.statement, training=training, published=()))


def with_side(pair, side, run):
    return replace(pair, **{side: SimpleNamespace(run=run)})


def changing(pair, change, sides=SIDES):
    """Twins of which the named sides hand back something else than they computed."""
    for side in sides:
        honest = getattr(pair, side).run
        pair = with_side(pair, side, lambda statement, honest=honest, **o: change(honest(statement, **o)))
    return pair


def asking(pair, change, sides=SIDES):
    """Twins of which the named sides take another statement for the one they are given."""
    for side in sides:
        honest = getattr(pair, side).run
        pair = with_side(pair, side, lambda statement, honest=honest, **o: honest(change(statement), **o))
    return pair


def retrained(**changes):
    return lambda statement: replace(statement, training=replace(statement.training, **changes))


def faster(factor):
    def change(statement):
        rate = statement.training.learning_rate * factor
        return replace(statement, training=replace(statement.training, learning_rate=rate))

    return change


def scaled(group, key, factor):
    def change(result):
        tree = dict(getattr(result, group))
        tree[key] = np.asarray(tree[key] * tree[key].dtype.type(factor))
        return replace(result, **{group: tree})

    return change


def complaints(verdict):
    return list(words.complaints(verdict))


@pytest.mark.parametrize("name", ALL)
def test_honest_twins_agree_with_each_other_the_truth_and_the_note_in_both_precisions(name):
    trial = Trial(twins.load(name))
    for dtype in DTYPES:
        verdict = trial.verdict(dtype)
        assert complaints(verdict) == []
        assert verdict.word in {"identical", "rounding"}
        assert all(f.share < 0.25 for f in (*verdict.step, *verdict.run))


@pytest.mark.parametrize("name", TRAINED)
def test_an_error_of_1e_12_would_have_been_noticed_in_every_gradient_of_the_first_step(name):
    found = {f.quantity: f for f in Trial(short(name, 1)).verdict("float64").step}
    for key in scenarios.get(name).start:
        finding = found[f"gradients.{key}"]
        assert finding.notices < 1e-12 or finding.notices > 1  # zero up to rounding


def test_float64_gradients_agree_at_every_step_far_beyond_a_tolerance():
    for name in TRAINED:
        for finding in judge(twins.load(name)).run:
            if finding.quantity.startswith("gradients") and finding.word != "vacuous":
                assert finding.notices < 1e-9
                assert finding.share < 0.1


@each_side
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("factor", [1.001, 1 + 1e-9])
def test_a_learning_rate_changed_on_one_side_differs(name, side, factor):
    trial = Trial(asking(short(name), faster(factor), (side,)))
    assert {trial.verdict(dtype).word for dtype in DTYPES} == {"different"}


@each_side
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("every", [1, 7, None])
def test_one_step_fewer_on_one_side_differs_however_little_is_recorded(name, side, every):
    def shorter(statement):
        steps = statement.training.steps
        return retrained(steps=steps - 1)(statement) if steps == 24 else statement

    assert judge(asking(short(name), shorter, (side,)), every=every).word == "different"


@each_side
@pytest.mark.parametrize("name", ["sine_network", "three_neurons", "line_network"])
def test_one_stored_weight_off_by_1e_9_differs(name, side):
    def nudge(statement):
        moved = {key: array.copy() for key, array in statement.start.items()}
        moved["hidden2.weight"][0, 0] += 1e-9
        return replace(statement, start=moved)

    assert judge(asking(short(name, 8), nudge, (side,))).word == "different"


@both_dtypes
@pytest.mark.parametrize("key", ["hidden1.weight", "input.bias", "hidden2.bias"])
def test_the_sign_of_one_gradient_entry_differs_and_is_named(key, dtype, monkeypatch):
    model = imperative.sine_network.model

    def negated(gradient):
        flipped = gradient.clone().flatten()
        flipped[gradient.abs().argmax()] *= -1
        return flipped.view_as(gradient)

    def mutant(start):
        network = model(start)
        network.get_parameter(key).register_hook(negated)
        return network

    monkeypatch.setattr(imperative.sine_network, "model", mutant)
    verdict = judge(short("sine_network", 8), dtype)
    assert verdict.word == "different"
    assert any(clause.startswith(f"gradients.{key}[") for clause in complaints(verdict))


@pytest.mark.parametrize("step", [1, 13, 24])
def test_a_defect_at_one_step_alone_is_found_by_the_free_run(step):
    pair = short("sine_polynomial")

    def once(result):
        if result.history is None or len(result.history.steps) < 24:
            return result
        parameters = {k: p.copy() for k, p in result.history.parameters.items()}
        parameters["a"][step - 1] *= 1 + 1e-9
        return replace(result, history=replace(result.history, parameters=parameters))

    verdict = judge(changing(pair, once, ("functional",)))
    assert verdict.word == "different"
    assert {f.quantity for f in verdict.run if f.word == "different"} == {"converged.a"}
    assert all(f.word != "different" for f in verdict.step)


@pytest.mark.parametrize("group", ["values", "gradients", "converged", "outcome"])
@each_side
def test_no_quantity_goes_unjudged(group, side):
    pair = short("sine_network", 8)
    for key in getattr(pair.imperative.run(pair.statement, dtype="float64"), group):
        assert judge(changing(pair, scaled(group, key, 1 + 1e-6), (side,))).word == "different"


def test_an_error_that_both_sides_share_is_caught_by_the_truth():
    verdict = judge(changing(short("sine_network", 8), scaled("gradients", "hidden1.weight", 1 + 1e-9)))
    assert all(f.word != "different" for f in (*verdict.step, *verdict.run))
    assert verdict.word == "different"
    assert "(complex step)" in complaints(verdict)[0]


@both_dtypes
@pytest.mark.parametrize("name", ["root_finding", "sine_polynomial", "sine_network", "activations"])
def test_a_factor_two_that_both_sides_share_is_caught_by_the_truth_in_either_dtype(name, dtype):
    def doubled(result):
        return replace(result, gradients={k: np.asarray(2 * g) for k, g in result.gradients.items()})

    assert judge(changing(short(name), doubled), dtype).word == "different"


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("factor", [1.1, 1 + 1e-6])
def test_a_learning_rate_that_both_sides_get_wrong_differs_from_the_optimizers_formula(name, factor):
    verdict = judge(asking(short(name), faster(factor)))
    assert verdict.word == "different"
    assert any("the optimizer's formula" in clause for clause in complaints(verdict))


@pytest.mark.parametrize("name", TRAINED)
def test_a_number_of_steps_that_both_sides_get_wrong_is_owed(name):
    def shorter(statement):
        return retrained(steps=min(statement.training.steps, 23))(statement)

    verdict = judge(asking(short(name), shorter))
    assert complaints(verdict)[0] == ("the imperative side recorded 23 steps of the 24 that were asked for")


@both_dtypes
@pytest.mark.parametrize("factor", [2, 1.01])
def test_losses_that_both_sides_misreport_disagree_with_the_objective(dtype, factor):
    def misreported(result):
        if result.history is None:
            return result
        losses = np.asarray(result.history.losses * result.history.losses.dtype.type(factor))
        return replace(result, history=replace(result.history, losses=losses))

    verdict = judge(changing(short("sine_network"), misreported), dtype)
    assert any("history.losses" in clause for clause in complaints(verdict))


@both_dtypes
def test_an_outcome_that_both_sides_misreport_disagrees_with_the_objective(dtype):
    verdict = judge(changing(short("sine_network"), scaled("outcome", "loss", 1.1)), dtype)
    assert any("outcome.loss" in clause for clause in complaints(verdict))


@pytest.mark.parametrize("group", ["values", "gradients", "converged", "outcome"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_finite_on_neither_side_never_passes(group, value):
    def poison(result):
        return replace(
            result, **{group: {k: np.full_like(a, value) for k, a in getattr(result, group).items()}}
        )

    assert not judge(changing(short("sine_network", 8), poison)).agrees


def test_training_that_diverges_on_both_sides_is_vacuous():
    pair = short("sine_polynomial", 200)
    unstable = replace(pair.statement, limit={}, truth={}, objective=None)
    unstable = retrained(learning_rate=10.0)(unstable)
    verdict = judge(replace(pair, statement=unstable))
    assert verdict.word == "vacuous"
    record = SimpleNamespace(failure=None, verdict=verdict)
    assert "nothing in it is finite, on both sides" in words.sentence(record)


def test_training_in_which_no_parameter_moves_is_vacuous():
    pair = short("root_finding")
    still = retrained(learning_rate=0.0)(pair.statement)
    assert judge(replace(pair, statement=still)).word == "vacuous"


def test_gradients_that_are_zero_on_both_sides_are_vacuous():
    pair = twins.load("graph_walk")
    statement = replace(pair.statement, truth={}, published=())
    pair = changing(
        replace(pair, statement=statement),
        lambda r: replace(r, gradients={k: 0 * g for k, g in r.gradients.items()}),
    )
    verdict = judge(pair)
    assert verdict.word == "vacuous"
    record = SimpleNamespace(failure=None, verdict=verdict)
    assert words.sentence(record).startswith("Nothing was really compared: gradients.a: it is zero on both")


def test_results_without_a_quantity_compare_nothing_and_never_pass():
    statement = replace(scenarios.get("leaves"), truth={}, facts={})
    empty = SimpleNamespace(run=lambda statement, **options: scenarios.Result(values={}))
    assert judge(Twins(statement, empty, empty)).word == "vacuous"


def test_a_published_figure_that_is_missed_is_named():
    pair = twins.load("root_finding")
    wrong = replace(pair.statement, published=(replace(pair.statement.published[0], printed="2.80"),))
    assert complaints(judge(replace(pair, statement=wrong), "float32")) == [
        "the note has 2.80 for converged.a, computed are 2.79302 (imperative) and 2.79302 (functional)"
    ]


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
    figure = replace(scenarios.get("root_finding").published[0], printed=printed, relation=relation)
    result = scenarios.Result(values={}, converged={"a": np.array([2.7930])})
    assert check_published(figure, dict.fromkeys(SIDES, result)).agrees is agrees


def test_a_truth_or_a_published_figure_that_nobody_computed_is_missed():
    def bare(result):
        return replace(result, values={}, converged={})

    verdict = judge(changing(twins.load("chain_rule"), bare))
    assert [d.absolute for d in verdict.distances if d.quantity == "values.P"] == [np.inf, np.inf]
    assert verdict.word == "different"


@each_side
def test_a_fact_that_one_side_derives_otherwise_differs(side):
    def turned(result):
        return replace(result, facts={**result.facts, "b.is_leaf": True})

    verdict = judge(changing(twins.load("leaves"), turned, (side,)))
    assert complaints(verdict)[0].startswith("the fact 'b.is_leaf' should be False, derived are ")


@pytest.mark.parametrize("change", [lambda facts: {**facts, "e.is_leaf": True}, lambda facts: {}])
def test_a_fact_nobody_stated_or_one_side_forgot_differs(change):
    pair = changing(twins.load("leaves"), lambda r: replace(r, facts=change(r.facts)), ("imperative",))
    assert judge(pair).word == "different"


def test_true_is_not_the_number_one():
    def numbered(result):
        return replace(result, facts={name: int(value) for name, value in result.facts.items()})

    assert judge(changing(twins.load("leaves"), numbered)).word == "different"


@pytest.mark.parametrize("sides", [("functional",), SIDES])
def test_a_history_that_a_side_lacks_is_owed(sides):
    pair = changing(short("root_finding"), lambda r: replace(r, history=None), sides)
    assert f"the {sides[0]} side recorded 0 steps of the 24 that were asked for" in complaints(judge(pair))


@pytest.mark.parametrize("group", ["gradients", "converged"])
def test_a_parameter_that_both_sides_forget_is_owed(group):
    def forgetful(result):
        tree = getattr(result, group)
        return replace(result, **{group: {k: a for k, a in tree.items() if k != "input.bias"}})

    assert any(
        "input.bias" in clause for clause in complaints(judge(changing(short("line_network"), forgetful)))
    )


@pytest.mark.parametrize("name", ALL)
def test_float32_results_do_not_pass_for_float64(name):
    pair = short(name, 8)
    for side in SIDES:
        honest = getattr(pair, side).run

        def narrow(statement, honest=honest, **options):
            return honest(statement, **{**options, "dtype": "float32"})

        pair = with_side(pair, side, narrow)
    verdict = judge(pair)
    assert verdict.word == "different"
    assert "it is float32 on the imperative side, in float64" in complaints(verdict)[0]


@each_side
def test_a_side_that_computes_in_float32_by_mistake_is_a_precision_leak_of_that_side(side):
    pair = short("sine_network", 8)
    honest = getattr(pair, side).run

    def leaking(statement, **options):
        result = honest(statement, **{**options, "dtype": "float32"})

        def widened(tree):
            return {k: a.astype(options["dtype"]) if a.dtype.kind == "f" else a for k, a in tree.items()}

        history = result.history and replace(
            result.history,
            losses=result.history.losses.astype(options["dtype"]),
            gradients=widened(result.history.gradients),
            parameters=widened(result.history.parameters),
        )
        groups = ("values", "gradients", "converged", "state", "outcome")
        return replace(result, history=history, **{g: widened(getattr(result, g)) for g in groups})

    leaks = [f for f in judge(with_side(pair, side, leaking)).step if f.reason == "precision leak"]
    assert {f.side for f in leaks} == {side}


@each_side
def test_a_timed_run_that_does_less_than_the_recorded_one_is_named(side):
    pair = twins.load("root_finding")
    module = getattr(pair, side)

    def lazy(statement, every=1, **options):
        steps = 100 if every is None and statement.training.steps == 200 else statement.training.steps
        return module.run(retrained(steps=steps)(statement), every=every, **options)

    record = runner.compare(with_side(pair, side, lazy), "float64")
    assert complaints(record.verdict)[0] == (
        f"the {side} run without recording ends with another a than the recorded one"
    )


def test_a_twin_that_raises_is_recorded_with_its_traceback():
    def broken(statement, **options):
        raise FloatingPointError("the loss is not finite")

    pair = with_side(twins.load("leaves"), "imperative", broken)
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
            assert judge(short("three_neurons")).word == "rounding"
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("name", "identified"), [("root_finding", 1), ("sine_polynomial", 3), ("line_network", 2)]
)
def test_the_parameters_that_the_outcome_determines_are_counted(name, identified):
    # P = 0 leaves a curve of solutions, a cubic has three coefficients, and a line two.
    assert judge(twins.load(name)).dynamics.identified == identified


def test_the_horizon_of_a_chaotic_run_is_where_its_growth_has_used_up_the_bits():
    def logistic(statement, *, dtype, device, every=1):
        x = statement.start["x"].astype(dtype)
        values, rows = {"loss": np.asarray(x.sum())}, []
        for _ in range(statement.training.steps):
            rows.append(x)
            x = x.dtype.type(4) * x * (x.dtype.type(1) - x)
        history = None
        if every and rows:
            history = scenarios.History(
                steps=np.arange(1, len(rows) + 1),
                losses=np.array([row.sum() for row in rows]),
                gradients={"x": np.array(rows)},
                parameters={"x": np.array([*rows[1:], x])},
            )
        return scenarios.Result(
            values=values,
            gradients={"x": statement.start["x"].astype(dtype)},
            history=history,
            converged={"x": x},
            outcome={"loss": np.asarray(x.sum())},
        )

    def rewritten(statement, **options):
        return logistic(statement, **options)

    start = scenarios.types.constants(x=np.linspace(0.21, 0.77, 9))
    training = scenarios.Training("gradient descent", 1.0, 80)
    statement = scenarios.Statement("chaos", "", "", start=start, training=training)
    pair = Twins(statement, SimpleNamespace(run=logistic), SimpleNamespace(run=rewritten))
    trial = Trial(pair)
    single, double = trial.verdict("float32").dynamics, trial.verdict("float64").dynamics
    # The logistic map doubles a difference at each step: 24 and 53 bits last about as many steps.
    assert 18 <= single.horizon <= 30
    assert 46 <= double.horizon <= 60
    assert 1.5 < single.growth < 2.5


def test_runs_that_part_by_growth_alone_are_rounding_and_the_step_is_named():
    # A rate at which the cubic's largest eigenvalue grows: every step amplifies, and no step is at fault.
    pair = short("sine_network", 150)
    statement = retrained(learning_rate=0.3)(replace(pair.statement, limit={}))
    verdict = judge(replace(pair, statement=statement))
    assert verdict.word == "rounding"
    assert verdict.dynamics.growth > 1


def test_the_judge_holds_no_tolerance_besides_its_documented_constants():
    named = {"SAFETY", "POINTS", "RADIUS", "ENOUGH", "CONFIRMED", "PARTS"}
    named |= {"LENGTH", "STEADY", "SMOOTH", "_SAMPLES", "CHUNK"}
    text = "\n".join(path.read_text("utf-8") for path in sorted(JUDGE.glob("*.py")))
    # The one small number is Adam's epsilon.
    assert re.findall(r"\d(?:\.\d+)?e-\d+", re.sub(r'"""[\s\S]*?"""|#.*', "", text)) == ["1e-8"]
    assert not re.search(r"\b(rtol|atol|tol(erance)?)\s*=\s*[\d.]", text)
    assert set(re.findall(r"^(_?[A-Z][A-Z_]+)(?:: \w+)? = [\d.]+$", text, re.MULTILINE)) <= named
    page = (JUDGE.parents[1] / "docs" / "judging.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in named - {"CHUNK", "_SAMPLES"})


@each_side
def test_a_twin_that_writes_into_the_statement_cannot(side):
    pair = twins.load("three_neurons")
    run = getattr(pair, side).run

    def writing(statement, **options):
        next(iter(statement.start.values()))[...] = 0
        return run(statement, **options)

    with pytest.raises(ValueError, match="read-only"):
        judge(with_side(pair, side, writing))
