"""The twins away from their start: where no symmetry, zero or idle neuron could hide a wrong formula."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scenarios
from compare.judge.truth import differentiated

SIDES = ("imperative", "functional")
MEASURED = [statement.name for statement in scenarios.ALL if statement.objective]

both_sides = pytest.mark.parametrize("side", SIDES)
seeds = st.integers(0, 2**32 - 1)


def run(side, statement):
    return importlib.import_module(f"{side}.{statement.name}").run(statement, dtype="float64")


def elsewhere(name, seed):
    """The statement with other start values, and without a step of training."""
    statement, generator = scenarios.get(name), np.random.default_rng(seed)
    start = {key: generator.normal(size=array.shape) for key, array in statement.start.items()}
    training = statement.training and replace(statement.training, steps=0)
    return replace(statement, start=start, training=training)


@both_sides
@pytest.mark.parametrize("name", MEASURED)
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_loss_and_gradients_are_those_of_the_objective_wherever_one_starts(side, name, seed):
    statement = elsewhere(name, seed)
    result = run(side, statement)
    (loss,) = (value for key, value in result.values.items() if key in {"loss", "P"})
    np.testing.assert_allclose(loss, statement.objective(statement.start), rtol=1e-12)
    _, _, gradients = differentiated(statement.objective, statement.start)
    size = max(np.abs(gradient).max() for gradient in gradients.values())
    for key, gradient in gradients.items():
        np.testing.assert_allclose(result.gradients[key], gradient, rtol=0, atol=1e-13 * size, err_msg=key)


@both_sides
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_the_polynomial_has_its_three_powers_on_points_without_symmetry(side, seed):
    generator = np.random.default_rng(seed)
    x, y, (a, b, c) = generator.normal(size=7), generator.normal(size=7), generator.normal(size=3)
    statement = replace(
        elsewhere("sine_polynomial", 0),
        start={"a": np.array(a), "b": np.array(b), "c": np.array(c)},
        data={"x": x, "y": y},
    )
    result = run(side, statement)
    residual = a * x + b * x**2 + c * x**3 - y
    np.testing.assert_allclose(result.outcome["prediction"], residual + y, rtol=0, atol=1e-12)
    for power, key in enumerate("abc", start=1):
        np.testing.assert_allclose(result.gradients[key], 2 * np.sum(residual * x**power), rtol=0, atol=1e-9)


@both_sides
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_the_neurons_are_the_matrix_form_whichever_of_them_are_off(side, seed):
    result = run(side, elsewhere("three_neurons", seed))
    np.testing.assert_allclose(result.values["neurons"], result.values["matrix form"], rtol=0, atol=1e-13)


@both_sides
def test_leaves_squares_what_it_is_given(side):
    statement = scenarios.get("leaves")
    moved = replace(statement, start={"a": np.array([2.5])}, data={"c": np.array([-1.5])})
    values = run(side, moved).values
    assert (values["b"].item(), values["d"].item()) == (6.25, 2.25)


@both_sides
@pytest.mark.parametrize(("name", "power"), [("graph_walk", 1), ("chain_rule", 2)])
@settings(max_examples=10, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_the_derivatives_of_q_and_p_hold_at_every_point(side, name, power, a, b):
    moved = replace(scenarios.get(name), start={"a": np.array([a]), "b": np.array([b])})
    gradients = run(side, moved).gradients
    outer = 1 if power == 1 else 2 * (a**3 - 3 * b)
    np.testing.assert_allclose(gradients["a"], outer * 3 * a**2, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradients["b"], outer * -3, rtol=1e-12, atol=1e-12)
