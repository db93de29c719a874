"""The statements: immutable, seeded as the note seeds them, and true to independent arithmetic."""

import json
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import scenarios
from compare.judge.truth import differentiated
from scenarios.types import unavailable


def test_the_scenarios_come_in_teaching_order():
    assert [s.name for s in scenarios.ALL] == [
        "leaves",
        "graph_walk",
        "chain_rule",
        "root_finding",
        "sine_polynomial",
        "sine_network",
        "three_neurons",
        "activations",
        "line_network",
    ]


@pytest.mark.parametrize("statement", scenarios.ALL, ids=lambda s: s.name)
def test_nobody_can_change_a_statement(statement):
    for arrays in (statement.start, statement.data, statement.truth, statement.limit):
        for array in arrays.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    with pytest.raises(TypeError):
        statement.start["a"] = np.zeros(1)


def test_an_unknown_scenario_is_answered_with_the_nearest_name():
    with pytest.raises(scenarios.UnavailableError) as error:
        scenarios.get("sine_netwrk")
    assert str(error.value) == "no scenario is called 'sine_netwrk': did you mean 'sine_network'?"


def test_a_name_near_nothing_is_answered_with_all_names():
    assert str(unavailable("dtype", "int8", ["float32", "bfloat16"])) == (
        "no dtype is called 'int8': choose from float32, bfloat16."
    )


def test_a_scenario_without_training_says_so():
    with pytest.raises(ValueError, match=r"scenario 'leaves' trains nothing\."):
        scenarios.get("leaves").require_training()


def _seeded(*sizes):
    torch.manual_seed(42)
    return dict(
        zip(
            ("input", "hidden1", "hidden2"),
            (nn.Linear(*pair) for pair in pairwise(sizes)),
            strict=True,
        )
    )


def _parameters(layers):
    return {
        f"{name}.{kind}": getattr(layer, kind)
        for name, layer in layers.items()
        for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(("name", "width"), [("sine_network", 10), ("three_neurons", 3)])
def test_stored_start_values_are_those_of_the_seeded_layers(name, width):
    drawn = _parameters(_seeded(1, width, width, 1))
    stored = scenarios.get(name).start
    assert set(stored) == set(drawn)
    for key, parameter in drawn.items():
        np.testing.assert_array_equal(stored[key], parameter.detach().numpy().astype(np.float64), strict=True)


def test_the_line_networks_start_values_are_the_notes_normal_draws():
    layers = _seeded(1, 2, 2, 1)
    for layer in layers.values():
        layer.bias.data.normal_(0.0, 1)
        layer.weight.data.normal_(0.0, 1)
    stored = scenarios.get("line_network").start
    for key, parameter in _parameters(layers).items():
        np.testing.assert_array_equal(stored[key], parameter.detach().numpy().astype(np.float64), strict=True)


@pytest.mark.parametrize("name", ["sine_network", "three_neurons", "line_network"])
def test_stored_start_values_name_the_commands_that_drew_them(name):
    stored = json.loads(files("scenarios").joinpath("start", f"{name}.json").read_text("utf-8"))
    assert stored["made_by"][0] == "torch.manual_seed(42)"
    assert all(np.float32(v) == v for values in stored["values"].values() for v in np.ravel(values))


def _slopes(function, point):
    """Gradient by differentiation in 50 digits."""
    with mp.workdps(50):
        return [
            mp.diff(function, tuple(point), tuple(int(i == j) for j in range(len(point))))
            for i in range(len(point))
        ]


def _q(a, b):
    return a**3 - 3 * b


@pytest.mark.parametrize(
    ("name", "function", "value"),
    [
        ("graph_walk", _q, "values.Q"),
        ("chain_rule", lambda a, b: _q(a, b) ** 2, "values.P"),
        ("root_finding", lambda a, b: _q(a, b) ** 2, "values.P"),
    ],
)
def test_closed_forms_are_those_of_fifty_digits(name, function, value):
    statement = scenarios.get(name)
    point = [float(statement.start[key].item()) for key in "ab"]
    assert statement.truth[value].item() == float(function(*map(mp.mpf, point)))
    for key, slope in zip("ab", _slopes(function, point), strict=True):
        assert statement.truth[f"gradients.{key}"].item() == float(slope)


def test_the_polynomials_start_gradient_is_that_of_fifty_digits():
    statement = scenarios.get("sine_polynomial")
    x = [mp.mpf(float(v)) for v in statement.data["x"]]
    y = [mp.mpf(float(v)) for v in statement.data["y"]]
    for power, key in enumerate("abc", start=1):
        slope = -2 * mp.fsum(xi**power * yi for xi, yi in zip(x, y, strict=True))
        size = mp.fsum(abs(xi**power * yi) for xi, yi in zip(x, y, strict=True))
        assert abs(statement.truth[f"gradients.{key}"].item() - slope) < 1e-15 * size


def test_the_polynomials_limit_solves_the_normal_equations():
    statement = scenarios.get("sine_polynomial")
    x, y = statement.data["x"], statement.data["y"]
    powers = np.stack([x, x**2, x**3], axis=1)
    solution = np.array([statement.limit[f"converged.{key}"] for key in "abc"])
    np.testing.assert_allclose(powers.T @ (powers @ solution - y), 0, atol=1e-11)


def test_activation_derivatives_are_those_of_fifty_digits():
    statement = scenarios.get("activations")
    x = statement.start["x"]
    assert 0.0 in x
    with mp.workdps(50):
        for i, v in enumerate(map(mp.mpf, x.tolist())):
            s = 1 / (1 + mp.exp(-v))
            for name, value, slope in (("tanh", mp.tanh(v), mp.sech(v) ** 2), ("sigmoid", s, s * (1 - s))):
                assert abs(statement.truth[f"values.{name}"][i] - value) <= 9e-16
                assert abs(statement.truth[f"gradients.{name}"][i] - slope) <= 9e-16
    np.testing.assert_array_equal(statement.truth["values.relu"], np.where(x > 0, x, 0))
    np.testing.assert_array_equal(statement.truth["gradients.relu"], np.where(x > 0, 1, 0))


@pytest.mark.parametrize("name", ["root_finding", "sine_polynomial"])
def test_fifty_digits_find_the_closed_form_of_the_gradient(name):
    statement = scenarios.get(name)
    origin, _, gradients = differentiated(statement.objective, statement.start)
    assert origin == "fifty digits"
    for key, gradient in gradients.items():
        # The closed form is itself a sum in float64.
        np.testing.assert_allclose(gradient, statement.truth[f"gradients.{key}"], rtol=1e-14, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_complex_steps_find_the_gradient_of_a_network_entry_by_entry(seed):
    generator = np.random.default_rng(seed)
    statement = scenarios.get("three_neurons")
    at = {key: generator.normal(size=array.shape) for key, array in statement.start.items()}
    origin, value, gradients = differentiated(statement.objective, at)
    assert origin == "complex step"
    assert value == statement.objective(at)
    direction = {key: generator.normal(size=array.shape) for key, array in at.items()}
    slope = sum(np.sum(gradients[key] * direction[key]) for key in at)
    width = 1e-7
    ends = [statement.objective({k: a + s * width * direction[k] for k, a in at.items()}) for s in (-1, 1)]
    # A central difference, unless a kink is within its width.
    bend = abs(ends[0] + ends[1] - 2 * value) / width
    assert abs((ends[1] - ends[0]) / (2 * width) - slope) <= bend + 1e-6 * (1 + abs(value))


def test_differentiating_leaves_the_point_as_it_was():
    point = {"x": np.array([1.0, 2.0])}
    differentiated(lambda p: np.sum(p["x"] ** 2), point)
    np.testing.assert_array_equal(point["x"], [1.0, 2.0])


def test_every_printed_figure_is_a_plain_number():
    for statement in scenarios.ALL:
        for figure in statement.published:
            assert Decimal(figure.printed).is_finite()
