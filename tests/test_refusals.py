"""What cannot be compared is refused in one sentence that names it and says what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from compare.port.check import check
from scenarios.port import UnusablePortError

POINTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
WEIGHTS = {"w": np.random.default_rng(1).standard_normal((3, 2)).astype(np.float32)}


def left(p, x):
    return torch.tanh(x @ p["w"])


def right(p, x):
    return jnp.tanh(x @ p["w"])


def refused(imperative=left, functional=right, params=WEIGHTS, args=(POINTS,), **options):
    with pytest.raises(UnusablePortError) as caught:
        check(imperative, functional, params, args, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_pair_that_all_of_these_spoil_agrees():
    assert check(left, right, WEIGHTS, (POINTS,)).agrees


@pytest.mark.parametrize("where", ["w", "args[0]"])
def test_nan_in_parameters_or_arguments_is_named(where):
    points, weights = POINTS.copy(), WEIGHTS["w"].copy()
    (weights if where == "w" else points)[0, 0] = np.nan
    assert refused(params={"w": weights}, args=(points,)).startswith(f"{where} holds NaN: ")


def test_integers_where_the_other_side_has_floating_parameters_have_no_counterpart():
    tree = {"w": jax.ShapeDtypeStruct((3, 2), jnp.float32)}
    whole = {"w": np.arange(6).reshape(3, 2)}
    sentence = refused(lambda p, x: x @ p["w"].to(x.dtype), right, whole, pytree=tree)
    assert "w (3, 2) of the functional side has no counterpart" in sentence


def test_shapes_that_cannot_be_matched_are_named_with_what_is_left_on_the_other_side():
    tree = {"v": np.zeros((5, 2), np.float32)}
    sentence = refused(functional=lambda p, x: x @ p["v"][:3], pytree=tree)
    assert sentence.startswith("w (3, 2) of the imperative side has no counterpart on the functional side")
    assert "v (5, 2)" in sentence


def test_a_leaf_that_only_the_functional_side_has_is_named():
    tree = {**WEIGHTS, "bias": np.zeros(2, np.float32)}
    sentence = refused(functional=lambda p, x: right(p, x) + p["bias"], pytree=tree)
    assert "bias (2,) of the functional side has no counterpart on the imperative side" in sentence


def test_a_leaf_that_only_the_imperative_side_has_is_named():
    both = {**WEIGHTS, "bias": np.ones(2, np.float32)}
    sentence = refused(lambda p, x: left(p, x) + p["bias"], right, both, pytree=WEIGHTS)
    assert "bias (2,) of the imperative side has no counterpart on the functional side" in sentence


def test_a_leaf_that_nobody_uses_is_no_reason_to_refuse():
    tree = {**WEIGHTS, "spare": np.zeros(7, np.float32)}
    assert check(left, right, WEIGHTS, (POINTS,), pytree=tree).agrees


@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_a_loss_that_is_no_scalar_is_told_how_to_become_one(side):
    good, bad = (lambda y, _: y.sum()), (lambda y, _: y)
    loss = (bad, good) if side == "imperative" else (good, bad)
    sentence = refused(loss=loss)
    assert sentence.startswith(f"the {side} loss is of shape (4, 2): ")
    assert ".mean()" in sentence


def test_dropout_in_training_mode_is_named_with_its_module():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    tree = {"w": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}
    sentence = refused(module, lambda p, x: x @ p["w"] + p["b"], None, pytree=tree)
    assert "'1' drops out at random (p=0.5): call .eval()" in sentence


def test_random_numbers_are_noticed_since_it_is_run_twice():
    sentence = refused(lambda p, x: left(p, x) * torch.rand(()))
    assert "draws random numbers: output is another one when it is run again" in sentence
    assert "Give masks, noise and keys to both sides as arguments" in sentence


def drawn(p, x):
    return right(p, x) * np.random.default_rng().standard_normal()


@jax.jit
def noise(x):
    return x + np.random.default_rng().standard_normal(x.shape).astype(np.float32)


CALLS = []


def counted(p, x):
    CALLS.append(x)
    return right(p, x) * len(CALLS)


@pytest.mark.parametrize(
    "functional", [drawn, lambda p, x: noise(right(p, x)), counted], ids=["drawn", "within jit", "counted"]
)
def test_random_numbers_and_counters_of_the_functional_side_are_noticed_since_it_is_traced_twice(functional):
    sentence = refused(functional=functional)
    assert "the functional side draws random numbers or counts: output is another one" in sentence
    assert "when it is traced again. Give masks, noise and keys to both sides as arguments." in sentence


def test_a_key_that_is_fixed_is_no_draw():
    def fixed(p, x):
        return right(p, x) + 0 * jax.random.normal(jax.random.key(0), (4, 2), x.dtype)

    assert check(left, fixed, WEIGHTS, (POINTS,)).agrees


def test_an_argument_that_is_changed_in_place_is_named():
    def changing(p, x):
        with torch.no_grad():
            x.mul_(2)
        return left(p, x)

    assert "changes args[0] in place: let it work on a copy (args[0].clone())" in refused(changing)


@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_what_a_side_raises_half_way_is_its_own_exception(side):
    def raising(p, x):
        raise ZeroDivisionError(str((x @ p["w"]).shape))

    pair = (raising, right) if side == "imperative" else (left, raising)
    with pytest.raises(ZeroDivisionError, match="2"):
        check(*pair, WEIGHTS, (POINTS,))


def test_a_decision_on_values_is_told_to_become_a_cond():
    def deciding(p, x):
        return right(p, x) if x.sum() > 0 else x

    sentence = refused(functional=deciding)
    assert "decides in Python on the values of arrays" in sentence
    assert "jax.lax.cond" in sentence


@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_a_side_that_returns_no_array_is_told_to(side):
    pair = {side: lambda p, x: "tanh"}
    assert f"the {side} side returns str: let it return" in refused(**pair)


def test_parameters_of_a_module_go_by_the_names_of_its_state_dict():
    module, tree = nn.Linear(3, 2), {"w": np.zeros((3, 2)), "b": np.zeros(2)}
    sentence = refused(module, lambda p, x: x @ p["w"] + p["b"], {"kernel": WEIGHTS["w"]}, pytree=tree)
    assert "give what state_dict() has" in sentence


def test_a_functional_side_without_a_pytree_is_asked_for_one():
    sentence = refused(nn.Linear(3, 2), lambda x: x, None)
    assert "the functional side none: give its pytree" in sentence
