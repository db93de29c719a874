"""The twins against the truth: each side by itself, before anyone asks whether they agree."""

import importlib
from dataclasses import replace

import jax
import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

import scenarios
from scenarios import UnavailableError

SIDES = ("imperative", "functional")
DTYPES = ("float32", "float64")
ALL = [statement.name for statement in scenarios.ALL]
TRAINED = [statement.name for statement in scenarios.ALL if statement.training]

both_sides = pytest.mark.parametrize("side", SIDES)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def twin(side, name):
    return importlib.import_module(f"{side}.{name}")


def shortened(name, steps):
    statement = scenarios.get(name)
    return replace(statement, training=replace(statement.training, steps=steps))


def arrays_of(result):
    for group in ("values", "gradients", "converged", "outcome"):
        yield from getattr(result, group).values()
    if result.history is not None:
        yield result.history.losses
        yield from result.history.gradients.values()
        yield from result.history.parameters.values()


@both_sides
@both_dtypes
def test_leaves_knows_who_asks_for_a_gradient_and_who_is_a_leaf(side, dtype):
    facts = twin(side, "leaves").run(dtype=dtype).facts
    assert [facts[f"{name}.requires_grad"] for name in "abcd"] == [True, True, False, False]
    assert [facts[f"{name}.is_leaf"] for name in "abcd"] == [True, False, True, True]


def test_the_functional_leaves_follow_from_what_is_differentiated():
    statement = scenarios.get("leaves")
    turned = replace(statement, start={"c": statement.data["c"]}, data={"a": statement.start["a"]})
    facts = twin("functional", "leaves").run(turned).facts
    assert [facts[f"{name}.requires_grad"] for name in "abcd"] == [False, False, True, True]
    assert [facts[f"{name}.is_leaf"] for name in "abcd"] == [True, True, True, False]


@both_sides
@both_dtypes
def test_graph_walk_goes_from_q_back_to_a_and_b(side, dtype):
    result = twin(side, "graph_walk").run(dtype=dtype)
    assert result.facts == {
        "Q.requires_grad": True,
        "a.grad is None before backward": True,
        "b.grad is None before backward": True,
        "walk": "sub(pow(a), mul(b))",
        "branch 0 ends at": "a",
        "branch 1 ends at": "b",
    }
    assert (result.values["Q"], result.gradients["a"], result.gradients["b"]) == (319, 147, -3)


def test_each_side_walks_in_its_own_words_too():
    assert twin("imperative", "graph_walk").run().native["walk"] == (
        "SubBackward0 → PowBackward0, MulBackward0; "
        "PowBackward0 → AccumulateGrad; MulBackward0 → AccumulateGrad"
    )
    assert twin("functional", "graph_walk").run().native["walk"] == (
        "sub → integer_pow, mul; integer_pow → a; mul → b"
    )


@both_sides
@both_dtypes
def test_chain_rule_keeps_the_intermediate_gradient_only_when_asked_and_accumulates_to_twice_the_value(
    side, dtype
):
    result = twin(side, "chain_rule").run(dtype=dtype)
    assert {name: g.item() for name, g in result.gradients.items()} == {"a": -384, "b": 96, "Q": -32}
    assert (result.values["accumulated a"], result.values["accumulated b"]) == (-768, 192)
    assert result.facts == {"gradients after backward": "a, b", "gradients after retain_grad": "a, b, Q"}


@both_sides
def test_root_finding_follows_adam_in_fifty_digits(side):
    with mp.workdps(50):
        a, b = mp.mpf(2), mp.mpf(8)
        m, v = [mp.mpf(0)] * 2, [mp.mpf(0)] * 2
        beta1, beta2, epsilon, rate = map(mp.mpf, (0.9, 0.999, 1e-8, 0.02))
        path = []
        for n in range(1, 201):
            Q = a**3 - 3 * b
            gradient = (6 * a**2 * Q, -6 * Q)
            m = [beta1 * mi + (1 - beta1) * g for mi, g in zip(m, gradient, strict=True)]
            v = [beta2 * vi + (1 - beta2) * g**2 for vi, g in zip(v, gradient, strict=True)]
            a, b = (
                p - rate * mi / (1 - beta1**n) / (mp.sqrt(vi / (1 - beta2**n)) + epsilon)
                for p, mi, vi in zip((a, b), m, v, strict=True)
            )
            path.append((float(a), float(b)))
    history = twin(side, "root_finding").run(dtype="float64").history
    computed = np.concatenate([history.parameters["a"], history.parameters["b"]], axis=1)
    np.testing.assert_allclose(computed, path, rtol=1e-14)


@both_sides
def test_the_polynomial_converges_as_its_linear_recurrence_says(side):
    statement = scenarios.get("sine_polynomial")
    with mp.workdps(50):
        x = [mp.mpf(v) for v in statement.data["x"].tolist()]
        y = [mp.mpf(v) for v in statement.data["y"].tolist()]
        powers = mp.matrix([[xi, xi**2, xi**3] for xi in x])
        rate = mp.mpf(statement.training.learning_rate)
        shrink = mp.eye(3) - 2 * rate * powers.T * powers
        limit = mp.lu_solve(powers.T * powers, powers.T * mp.matrix(y))
        converged = limit - shrink**4000 * limit
    result = twin(side, "sine_polynomial").run(dtype="float64")
    for i, name in enumerate("abc"):
        assert abs(result.converged[name] - float(converged[i])) < 1e-14


@both_sides
def test_three_neurons_are_the_layers_of_the_corrected_equations(side):
    statement = scenarios.get("three_neurons")
    w, b = (
        [statement.start[f"{layer}.{kind}"] for layer in ("input", "hidden1", "hidden2")]
        for kind in ("weight", "bias")
    )
    x = statement.data["x"][:, 0]
    first = [[max(0.0, w[0][j, 0] * xi + b[0][j]) for j in range(3)] for xi in x]
    second = [[max(0.0, sum(w[1][j, i] * a[i] for i in range(3)) + b[1][j]) for j in range(3)] for a in first]
    output = [[sum(w[2][0, i] * a[i] for i in range(3)) + b[2][0]] for a in second]
    result = twin(side, "three_neurons").run(dtype="float64")
    np.testing.assert_allclose(result.values["neurons"], output, rtol=0, atol=2e-15)
    np.testing.assert_allclose(result.values["matrix form"], output, rtol=0, atol=2e-15)


@both_sides
@both_dtypes
def test_relus_derivative_at_zero_is_zero(side, dtype):
    result = twin(side, "activations").run(dtype=dtype)
    at_zero = scenarios.get("activations").start["x"] == 0
    assert result.gradients["relu"][at_zero].tolist() == [0.0]
    assert result.gradients["tanh"][at_zero].tolist() == [1.0]
    assert result.gradients["sigmoid"][at_zero].tolist() == [0.25]


@both_sides
def test_the_line_networks_table_of_shapes_is_the_notes(side):
    statement = scenarios.get("line_network")
    assert dict(twin(side, "line_network").run(every=None).facts) == dict(statement.facts)


@both_sides
@both_dtypes
@pytest.mark.parametrize("name", ALL)
def test_a_run_computes_everything_in_the_dtype_it_was_asked_for(side, dtype, name):
    assert {str(array.dtype) for array in arrays_of(twin(side, name).run(dtype=dtype))} == {dtype}


@both_sides
@pytest.mark.parametrize("name", ALL)
def test_a_run_draws_nothing_and_leaves_no_global_setting_behind(side, name):
    before = (
        torch.get_rng_state(),
        torch.get_default_dtype(),
        jax.config.jax_enable_x64,
        np.random.get_state()[1],
    )
    twin(side, name).run(dtype="float64")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:3] == (torch.get_default_dtype(), jax.config.jax_enable_x64)
    np.testing.assert_array_equal(before[3], np.random.get_state()[1])


@both_sides
@pytest.mark.parametrize("name", ALL)
def test_results_are_copies_that_their_owner_may_write_to(side, name):
    result, again = (twin(side, name).run(dtype="float64") for _ in range(2))
    for array in arrays_of(result):
        array[...] = np.nan
    assert all(np.isfinite(array).all() for array in arrays_of(again))
    for arrays in (scenarios.get(name).start, scenarios.get(name).data):
        assert all(np.isfinite(array).all() for array in arrays.values())


@both_sides
@both_dtypes
@pytest.mark.parametrize("name", TRAINED)
def test_every_step_is_recorded_and_the_last_one_is_where_it_converged(side, dtype, name):
    statement = scenarios.get(name)
    result = twin(side, name).run(dtype=dtype)
    steps = statement.training.steps
    assert result.history.steps.tolist() == list(range(1, steps + 1))
    assert result.history.losses.shape == (steps,)
    for key, start in statement.start.items():
        assert result.history.parameters[key].shape == (steps, *start.shape)
        assert result.history.gradients[key].shape == (steps, *start.shape)
        np.testing.assert_array_equal(result.history.parameters[key][-1], result.converged[key])


@both_sides
@pytest.mark.parametrize("name", TRAINED)
def test_the_first_step_starts_from_the_start(side, name):
    result = twin(side, name).run(shortened(name, 1), dtype="float64")
    (loss,) = (value for value in result.values.values())
    np.testing.assert_allclose(result.history.losses[0], loss, rtol=4e-15)
    for key, gradient in result.gradients.items():
        scale = max(np.abs(g).max() for g in result.gradients.values())
        np.testing.assert_allclose(result.history.gradients[key][0], gradient, rtol=0, atol=4e-15 * scale)


@both_sides
@settings(max_examples=12, deadline=None)
@given(steps=st.integers(0, 12), every=st.one_of(st.none(), st.integers(1, 14)))
def test_recording_every_kth_step_keeps_just_those_and_changes_none(side, steps, every):
    name = "root_finding"
    whole = twin(side, name).run(shortened(name, steps), dtype="float64")
    kept = twin(side, name).run(shortened(name, steps), dtype="float64", every=every)
    for key, value in whole.converged.items():
        np.testing.assert_allclose(kept.converged[key], value, rtol=1e-14)
    due = [] if every is None else list(range(every, steps + 1, every))
    if not due:
        assert kept.history is None
        return
    assert kept.history.steps.tolist() == due
    rows = [step - 1 for step in due]
    np.testing.assert_allclose(kept.history.losses, whole.history.losses[rows], rtol=1e-12)
    for key in whole.history.parameters:
        np.testing.assert_allclose(
            kept.history.parameters[key], whole.history.parameters[key][rows], rtol=1e-14
        )


@both_sides
def test_recording_every_zeroth_step_is_refused(side):
    with pytest.raises(ValueError, match=r"every is 0: keep every 1st, 2nd, … step, or None of them\."):
        twin(side, "root_finding").run(every=0)


@both_sides
def test_asking_for_a_gpu_that_is_not_there_is_one_clear_sentence(side, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(UnavailableError) as error:
        twin(side, "leaves").run(device="gpu")
    framework = {"imperative": "PyTorch", "functional": "JAX"}[side]
    assert str(error.value) == f"{framework} sees no GPU on this machine: ask for the device 'cpu' or 'auto'."


def test_a_tensor_without_a_tape_cannot_be_walked():
    tape = importlib.import_module("imperative.tape")
    with pytest.raises(ValueError, match="this tensor has no grad_fn"):
        tape.walk(torch.ones(1), {})


def test_a_wrong_shape_is_caught_by_the_annotations_under_the_tests():
    flat = torch.ones(3)
    with pytest.raises(TypeCheckError):
        twin("imperative", "sine_network").loss(torch.nn.Identity(), flat, flat)
    with pytest.raises(TypeCheckError), jax.ensure_compile_time_eval():
        twin("functional", "sine_polynomial").loss(
            {"a": jax.numpy.ones(())}, jax.numpy.ones((3, 1)), jax.numpy.ones(3)
        )


def test_a_traced_program_may_return_an_input_or_a_constant_and_use_one_it_closed_over():
    jaxpr = importlib.import_module("functional.jaxpr")
    table = jax.numpy.arange(3.0)
    program = jaxpr.trace(lambda v1, x: {"x": x, "one": 1.0, "sum": v1 + x * table}, v1=table, x=table)
    assert program.outputs["x"] == "x"
    assert program.outputs["one"] == "1.0"
    assert program.walk("sum").startswith("add(v1, mul(x, %")
    assert program.depends_on({"v1"}) == {"v1", program.outputs["sum"]}


def test_what_leaves_the_imperative_side_is_no_longer_its_memory():
    arrays = importlib.import_module("imperative.arrays")
    tensor = torch.zeros(3)
    arrays.leave({"x": tensor})["x"][:] = 1
    given = np.zeros(3, np.float32)
    arrays.enter({"x": given}, "float32", "cpu")["x"].add_(1)
    assert tensor.tolist() == [0, 0, 0]
    assert given.tolist() == [0, 0, 0]


def test_products_keep_full_precision_inside_a_functional_run():
    arrays = importlib.import_module("functional.arrays")
    with arrays.running("float64", "cpu"):
        assert jax.config.jax_default_matmul_precision == "highest"
        assert jax.config.jax_enable_x64


def test_looking_at_the_outcome_leaves_no_tape_behind(monkeypatch):
    twin_module = twin("imperative", "root_finding")
    recorded = []
    unchanged = twin_module.leave
    monkeypatch.setattr(
        twin_module,
        "leave",
        lambda tensors: recorded.append([t.requires_grad for t in tensors.values()]) or unchanged(tensors),
    )
    twin_module.run(shortened("root_finding", 1))
    assert recorded[-1] == [False]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TRAINED)
@both_sides
def test_a_run_goes_on_from_the_state_that_another_left(side, name, dtype):
    statement = scenarios.get(name)

    def part(start, state, steps):
        training = replace(statement.training, steps=steps)
        moved = replace(statement, start=start, state=state, training=training)
        return twin(side, name).run(moved, dtype=dtype, every=None)

    whole = part(statement.start, {}, 40)
    first = part(statement.start, {}, 15)
    second = part(first.converged, first.state, 25)
    for group in ("converged", "state", "outcome"):
        ours, theirs = getattr(second, group), getattr(whole, group)
        assert ours.keys() == theirs.keys()
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key], err_msg=f"{group} {key}")


@pytest.mark.parametrize("name", ["root_finding", "sine_network", "line_network"])
def test_both_sides_leave_the_same_state_under_the_same_names(name):
    left, right = (twin(side, name).run(dtype="float64", every=None).state for side in SIDES)
    assert left.keys() == right.keys()
    assert left["count"] == right["count"] == scenarios.get(name).training.steps
    for key in left:
        np.testing.assert_allclose(left[key], right[key], rtol=1e-9, atol=1e-12)
