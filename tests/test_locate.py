"""The localiser on small ports: what is put where, what is told once, and what stands for infinity."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.lax import stop_gradient  # under a name of its own nobody sees that it is called

import pairs
from compare.port import locate
from compare.port.check import check
from compare.port.layout import apart
from pairs.faults import FAULTS
from scenarios.trace import fingerprint


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def found(imperative, functional, params, *args):
    return check(imperative, functional, params, args).faults


def lines(fault):
    return tuple(site.source.line for site in (fault.imperative, fault.functional))


def line(function, text):
    """The number of the line of a function that holds ``text``."""
    source, first = inspect.getsourcelines(function)
    [place] = [k for k, row in enumerate(source) if text in row]
    return first + place


WEIGHTS = {"w": drawn(4, 4, seed=1), "v": drawn(4, 4, seed=2)}


def left_with_a_skip(p, x):
    h = torch.tanh(x @ p["w"])
    h = h + torch.sin(h @ p["v"])
    return h * h


def right_without(p, x):
    h = jnp.tanh(x @ p["w"])
    h = jnp.sin(h @ p["v"])
    return h * h


def test_a_skip_connection_that_is_missing_is_one_fault_and_what_is_differentiated_wrongly_for_it_none():
    [fault] = found(left_with_a_skip, right_without, WEIGHTS, drawn(3, 4))
    assert (fault.kind, fault.phase) == ("missing", "forward")
    assert lines(fault)[0] == line(left_with_a_skip, "h = h + torch.sin")


def left_gated(p, x):
    h = torch.nn.functional.gelu(x @ p["w"])
    return torch.tanh(h @ p["v"])


def right_gated(p, x):
    h = jax.nn.relu(x @ p["w"])
    return jnp.tanh(h @ p["v"])


def test_what_is_differentiated_at_a_wrong_line_is_put_right_without_a_search_for_it(monkeypatch):
    searched = []
    search = locate.first_fault

    def noted(state):
        searched.append(state.phase)
        return search(state)

    monkeypatch.setattr(locate, "first_fault", noted)
    [fault] = found(left_gated, right_gated, WEIGHTS, drawn(3, 4))
    assert lines(fault) == (line(left_gated, "gelu"), line(right_gated, "relu"))
    assert set(searched) == {"forward"}


def right_with_two_faults(p, x):
    h = jnp.tanh(x @ p["w"])
    h = jax.lax.stop_gradient(h) + jnp.sin(h @ p["v"])
    return 1.5 * h * h


def test_a_gradient_that_is_stopped_is_told_after_a_fault_of_the_forward():
    first, second = found(left_with_a_skip, right_with_two_faults, WEIGHTS, drawn(3, 4))
    assert (first.phase, first.cause) == ("forward", "constant factor")
    assert lines(first)[1] == line(right_with_two_faults, "return 1.5")
    assert (second.kind, second.cause) == ("stopped", "gradient stopped")
    assert lines(second) == (
        line(left_with_a_skip, "h = h + torch.sin"),
        line(right_with_two_faults, "stop_gradient"),
    )


def burgers(p, x, stop):
    x = x.clone().requires_grad_()
    u = torch.tanh(torch.tanh(x @ p["w"]) @ p["v"])
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return stop(u) * slope


def left_held(p, x):
    with torch.enable_grad():  # nothing but a detached tensor becomes an array, and it cannot be let through
        return burgers(p, x, lambda u: torch.tensor(u.detach().numpy()))


def left_whole(p, x):
    with torch.enable_grad():
        return burgers(p, x, torch.clone)


def solution(p, x):
    return jnp.tanh(jnp.tanh(x @ p["w"]) @ p["v"])


def right_whole(p, x):
    u, pull = jax.vjp(lambda x: solution(p, x), x)
    return u * pull(jnp.ones_like(u))[0]


def right_held(p, x):
    u, pull = jax.vjp(lambda x: solution(p, x), x)
    return stop_gradient(u) * pull(jnp.ones_like(u))[0]


@pytest.mark.parametrize(
    ("imperative", "functional", "kind", "where"),
    [
        (left_held, right_whole, "extra", line(right_whole, "return u")),
        (left_whole, right_held, "missing", line(right_held, "return stop")),
    ],
)
def test_a_share_of_the_gradients_that_one_side_lacks_is_found_wherever_the_other_adds_it(
    imperative, functional, kind, where
):
    [fault] = found(imperative, functional, WEIGHTS, drawn(3, 4))
    assert (fault.kind, fault.phase, fault.cause) == (kind, "backward", "")
    assert lines(fault) == (line(burgers, "return stop"), where)


SKIPPED = ["gradients.w", "gradients.args[0]"]
ALL = ["gradients.w", "gradients.v", "gradients.args[0]"]


def left_detached(p, x):
    h = torch.tanh(x @ p["w"])
    h = torch.detach(h) + torch.sin(h @ p["v"])
    return h * h


def left_of_data(p, x):
    h = torch.tanh(x @ p["w"])
    h = h.data + torch.sin(h @ p["v"])
    return h * h


def left_untaped(p, x):
    h = torch.tanh(x @ p["w"])
    with torch.no_grad():
        skipped = h.clone()
    h = skipped + torch.sin(h @ p["v"])
    return h * h


def right_with_a_skip(p, x):
    h = jnp.tanh(x @ p["w"])
    h = h + jnp.sin(h @ p["v"])
    return h * h


def right_stopped(p, x):
    h = jnp.tanh(x @ p["w"])
    h = jax.lax.stop_gradient(h) + jnp.sin(h @ p["v"])
    return h * h


@jax.jit
def jitted(p, x):
    h = jnp.tanh(x @ p["w"])
    return jax.lax.stop_gradient(h) + jnp.sin(h @ p["v"])


def right_of_jitted(p, x):
    h = jitted(p, x)
    return h * h


def right_scanned(p, x):
    def step(h, _):
        return jax.lax.stop_gradient(h) + jnp.sin(h @ p["v"]), None

    h, _ = jax.lax.scan(step, jnp.tanh(x @ p["w"]), length=3)
    return h * h


def left_repeated(p, x):
    h = torch.tanh(x @ p["w"])
    for _ in range(3):
        h = h + torch.sin(h @ p["v"])
    return h * h


@pytest.mark.parametrize(
    ("imperative", "functional", "side", "word", "where", "mended"),
    [
        (left_detached, right_with_a_skip, 0, "detach", line(left_detached, "torch.detach"), SKIPPED),
        (left_of_data, right_with_a_skip, 0, "data", line(left_of_data, "h.data"), SKIPPED),
        (left_untaped, right_with_a_skip, 0, "no_grad", line(left_untaped, "no_grad"), SKIPPED),
        (left_with_a_skip, right_stopped, 1, "stop_gradient", line(right_stopped, "stop_gradient"), SKIPPED),
        (
            left_with_a_skip,
            right_of_jitted,
            1,
            "stop_gradient",
            line(jitted.__wrapped__, "stop_gradient"),
            SKIPPED,
        ),
        (left_repeated, right_scanned, 1, "stop_gradient", line(right_scanned, "stop_gradient"), ALL),
    ],
)
def test_a_line_that_stops_a_gradient_on_one_side_is_the_fault_and_the_cause(
    imperative, functional, side, word, where, mended
):
    jitted(WEIGHTS, drawn(3, 4))  # what is known of a jitted function is not asked
    [fault] = found(imperative, functional, WEIGHTS, drawn(3, 4))
    assert (fault.kind, fault.phase, fault.cause) == ("stopped", "backward", "gradient stopped")
    assert (fault.imperative, fault.functional)[side].operation == word
    assert lines(fault)[side] == where
    assert fault.local > 1e-3
    assert fault.evidence == f"without {word} there, {', '.join(mended)} agree"


def right_stopped_within(p, x):
    u, pull = jax.vjp(lambda x: jnp.tanh(jax.lax.stop_gradient(jnp.tanh(x @ p["w"])) @ p["v"] + x), x)
    return u * pull(jnp.ones_like(u))[0]


def left_through(p, x):
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        u = torch.tanh(torch.tanh(x @ p["w"]) @ p["v"] + x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return u * slope


def test_a_gradient_that_is_stopped_within_the_forward_is_found_there():
    [fault] = found(left_through, right_stopped_within, WEIGHTS, drawn(3, 4))
    assert (fault.kind, fault.phase, fault.cause) == ("stopped", "forward", "gradient stopped")
    assert lines(fault)[1] == line(right_stopped_within, "stop_gradient")
    assert fault.evidence == "without stop_gradient there, output agrees"


def right_stopped_within_and_after(p, x):
    u, pull = jax.vjp(lambda x: jnp.tanh(jax.lax.stop_gradient(jnp.tanh(x @ p["w"])) @ p["v"] + x), x)
    slope = pull(jnp.ones_like(u))[0]
    return u * jax.lax.stop_gradient(slope)


def test_a_stop_within_the_forward_is_told_before_one_that_the_backward_alone_shows():
    first, second = found(left_through, right_stopped_within_and_after, WEIGHTS, drawn(3, 4))
    assert {first.kind, second.kind} == {"stopped"}
    assert (first.phase, second.phase) == ("forward", "backward")
    assert lines(first)[1] == line(right_stopped_within_and_after, "u, pull")
    assert lines(second)[1] == line(right_stopped_within_and_after, "return u")


def right_of_two_stops(p, x):
    h = jnp.tanh(x @ p["w"])
    skipped = jax.lax.stop_gradient(h)
    h = jax.lax.stop_gradient(skipped) + jnp.sin(h @ p["v"])
    return h * h * jax.lax.stop_gradient(jnp.ones_like(h))


def right_stopped_once(p, x):
    h = jnp.tanh(x @ p["w"])
    h = 1.0 * jax.lax.stop_gradient(h) + jnp.sin(h @ p["v"])
    return jnp.tanh(h) * jax.lax.stop_gradient(h)


def left_detached_once(p, x):
    h = torch.tanh(x @ p["w"])
    h = h + torch.sin(h @ p["v"])
    return torch.tanh(h) * h.detach()


def test_what_both_sides_stop_is_no_fault():
    [fault] = found(left_detached_once, right_stopped_once, WEIGHTS, drawn(3, 4))
    assert lines(fault)[1] == line(right_stopped_once, "1.0 * jax")


def test_two_stops_of_which_one_hides_the_other_are_told_and_one_that_stops_nothing_is_not():
    faults = found(left_with_a_skip, right_of_two_stops, WEIGHTS, drawn(3, 4))
    assert {fault.kind for fault in faults} == {"stopped"}
    assert [lines(fault)[1] for fault in faults] == [
        line(right_of_two_stops, "skipped = "),
        line(right_of_two_stops, "h = jax.lax"),
    ]


def left_that_needs_its_stop(p, x):
    h = torch.tanh(x @ p["w"])
    h = torch.tensor(h.detach().numpy()) + torch.sin(h @ p["v"])
    return h * h


def test_a_side_that_cannot_run_without_what_it_stops_keeps_it():
    [fault] = found(left_that_needs_its_stop, right_with_a_skip, WEIGHTS, drawn(3, 4))
    assert (fault.kind, fault.phase, fault.cause) == ("extra", "backward", "")
    assert lines(fault)[1] == line(right_with_a_skip, "h = h +")


def left_attending(p, x):
    scores = x @ p["w"] / 2
    return torch.softmax(scores, dim=-1) @ p["v"]


def left_unscaled(p, x):
    scores = x @ p["w"]
    return torch.softmax(scores, dim=-1) @ p["v"]


def right_attending(p, x):
    scores = x @ p["w"] / 2
    return jax.nn.softmax(scores, axis=-1) @ p["v"]


def right_unscaled(p, x):
    scores = x @ p["w"]
    return jax.nn.softmax(scores, axis=-1) @ p["v"]


def right_along_rows(p, x):
    scores = x @ p["w"] / 2
    return jax.nn.softmax(scores, axis=0) @ p["v"]


@pytest.mark.parametrize(
    ("imperative", "functional", "kind"),
    [(left_attending, right_unscaled, "missing"), (left_unscaled, right_attending, "extra")],
)
def test_a_scale_is_missed_where_it_belongs_although_a_softmax_takes_away_the_largest_score(
    imperative, functional, kind
):
    [fault] = found(imperative, functional, WEIGHTS, drawn(4, 4))
    assert (fault.kind, fault.cause) == (kind, "constant factor")
    assert lines(fault) == (line(imperative, "scores = "), line(functional, "scores = "))


def test_an_operation_with_a_cause_is_not_given_up_for_a_step_of_it_without_one():
    [fault] = found(left_attending, right_along_rows, WEIGHTS, drawn(4, 4))
    assert fault.cause == "softmax axis"
    assert lines(fault) == (line(left_attending, "softmax"), line(right_along_rows, "softmax"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_of_every_precision_are_laid_side_by_side(dtype):
    here, there = np.array([1, 2, np.inf], dtype), np.array([1, 2.5, np.inf], dtype)
    assert apart(here, here) == 0
    assert apart(here, there) == 0.5


def test_where_there_is_no_room_for_values_they_are_recorded_for_again_and_few_times(monkeypatch):
    recorded, asked = [], locate.Sides.values
    monkeypatch.setattr(locate.Sides, "values", lambda self, *a: recorded.append(a[0]) or asked(self, *a))
    kept = found(left_attending, right_unscaled, WEIGHTS, drawn(4, 4))
    assert not recorded
    for module in (locate.sides, locate.state):
        monkeypatch.setattr(module, "AT_HAND", 1000)  # of some 10,000 bytes
    [fault] = found(left_attending, right_unscaled, WEIGHTS, drawn(4, 4))
    assert [lines(fault)] == [lines(one) for one in kept]
    assert 0 < len(recorded) < 20


def test_where_there_is_some_room_what_is_needed_for_many_tries_is_recorded_at_once(monkeypatch):
    recorded, asked = [], locate.Sides.values
    monkeypatch.setattr(locate.Sides, "values", lambda self, *a: recorded.append(a[0]) or asked(self, *a))
    for module in (locate.sides, locate.state):
        monkeypatch.setattr(module, "AT_HAND", 1500)
    [fault] = found(left_attending, right_unscaled, WEIGHTS, drawn(4, 4))
    assert fault.cause == "constant factor"
    assert 0 < len(recorded) < 8  # else 11


def left_of_the_kept(p, x):
    losses = (x @ p["w"]) ** 2
    keep = (x > 0).to(losses.dtype)
    return (losses * keep).sum() / keep.sum()


def right_of_all(p, x):
    losses = (x @ p["w"]) ** 2
    keep = (x > -100).astype(losses.dtype)
    return jnp.sum(losses * keep) / jnp.sum(keep)


def test_a_mask_that_masks_nothing_is_found_where_it_is_made():
    [fault] = found(left_of_the_kept, right_of_all, WEIGHTS, drawn(3, 4))
    assert lines(fault) == (line(left_of_the_kept, "keep = "), line(right_of_all, "keep = "))


def left_normed(p, x):
    h = x @ p["w"]
    var = h.var(dim=-1, keepdim=True, unbiased=False)
    return (h - h.mean(dim=-1, keepdim=True)) / (torch.sqrt(var) + 1e-2) @ p["v"]


def right_normed(p, x):
    h = x @ p["w"]
    var = jnp.var(h, axis=-1, keepdims=True)
    return (h - jnp.mean(h, axis=-1, keepdims=True)) / jnp.sqrt(var + 1e-2) @ p["v"]


def test_two_ways_of_which_each_does_something_first_are_one_fault():
    [fault] = found(left_normed, right_normed, WEIGHTS, drawn(5, 4))
    assert (fault.kind, fault.cause) == ("another value", "epsilon place")


def left_masked(p, x):
    scores = x @ p["w"]
    later = torch.ones(4, 4, dtype=torch.bool).triu(2)
    scores = scores.masked_fill(later, -torch.inf)
    return torch.softmax(scores, dim=-1) @ p["v"]


def right_masked(p, x):
    scores = x @ p["w"]
    kept = jnp.tril(jnp.ones((4, 4), bool))
    scores = jnp.where(kept, scores, jnp.finfo(x.dtype).min)
    return jax.nn.softmax(scores, axis=-1) @ p["v"]


def test_a_mask_is_compared_with_what_the_other_side_keeps_and_found_where_it_is_made():
    [fault] = found(left_masked, right_masked, WEIGHTS, drawn(4, 4))
    assert lines(fault) == (line(left_masked, "triu"), line(right_masked, "tril"))


def left_turned(p, x):
    def turn(a):
        return torch.cos(a[:, :2]) - torch.sin(a[:, 2:])

    return torch.tanh(turn(x @ p["w"]) @ turn(x @ p["v"]).T)


def right_turned(p, x):
    def turn(a):
        return jnp.cos(a[:, :2]) + jnp.sin(a[:, 2:])

    return jnp.tanh(turn(x @ p["w"]) @ turn(x @ p["v"]).T)


def test_a_line_that_made_both_factors_of_a_product_is_found_though_mending_one_of_them_is_not_enough():
    [fault] = found(left_turned, right_turned, WEIGHTS, drawn(3, 4))
    assert lines(fault) == (line(left_turned, "torch.cos"), line(right_turned, "jnp.cos"))
    assert fault.places == 2


def left_repeated(p, x):
    for _ in range(3):
        x = torch.tanh(x @ p["w"] + 1)
    return x


def right_repeated(p, x):
    return jax.lax.fori_loop(0, 3, lambda _, x: jnp.tanh(x @ p["w"] + 2), x)


def test_a_line_that_ran_several_times_is_mended_at_all_of_them_at_once():
    [fault] = found(left_repeated, right_repeated, {"w": WEIGHTS["w"]}, drawn(3, 4))
    assert fault.places == 3
    assert lines(fault) == (line(left_repeated, "torch.tanh"), line(right_repeated, "fori_loop"))


def left_kinked(p, x):
    h = x @ p["w"]
    return h + torch.relu(h) @ p["v"]


def right_kinked(p, x):
    h = x @ p["w"]
    return h + jnp.maximum(h, 0) @ p["v"]


def test_a_value_that_is_right_for_one_taker_is_not_put_right_for_another():
    x = drawn(4, 4)
    x[0] = 0
    [fault] = found(left_kinked, right_kinked, WEIGHTS, x)
    assert (fault.phase, fault.cause) == ("backward", "relu at zero")
    assert lines(fault) == (line(left_kinked, "relu"), line(right_kinked, "maximum"))


def right_coarse(p, x):
    h = jnp.tanh(x @ p["w"]).astype(jnp.bfloat16)
    return jnp.sum(h, axis=0).astype(x.dtype)


def left_fine(p, x):
    return torch.tanh(x @ p["w"]).sum(dim=0)


def test_what_is_computed_in_fewer_digits_is_called_so_though_no_value_is_the_other_rounded():
    [fault] = found(left_fine, right_coarse, {"w": WEIGHTS["w"]}, drawn(5, 4))
    assert fault.cause == "precision"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_number_that_there_is_stands_for_infinity(dtype):
    plain = np.array([[1.5, -2, 3], [0, 4, 5]], dtype)
    filled = {
        fill: fingerprint(np.append(plain.ravel(), np.array(fill, dtype)))
        for fill in (-np.inf, np.finfo(dtype).min)
    }
    one, other = filled.values()
    assert one.infinite == other.infinite == (0, 1 / 7, 0)
    np.testing.assert_array_equal(one.numbers, other.numbers)
    assert fingerprint(np.full(3, np.finfo(dtype).min)).constant


def left_in_order(p, x):
    h = torch.tanh(x @ p["w"])
    return (h.reshape(-1) * torch.arange(1.0, 17.0, dtype=x.dtype)).sum()


def right_transposed(p, x):
    h = jnp.tanh(x @ p["w"])
    h = h.T
    return jnp.sum(h.reshape(-1) * jnp.arange(1.0, 17.0, dtype=x.dtype))


def test_what_was_computed_right_is_not_told_for_where_it_is_transposed_later():
    fault = found(left_in_order, right_transposed, WEIGHTS, drawn(4, 4))[0]
    assert fault.kind == "another order"
    assert lines(fault)[1] == line(right_transposed, "h = h.T")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cnn_nnx", "x = jnp.max(x, axis=(1, 2))"),  # its ties are none of the mean, and are differentiated
        ("unet_linen", "jnp.concatenate([coarse, h]"),  # padded and convolved, before the difference is seen
    ],
)
def test_a_planted_fault_is_told_at_its_line_and_not_where_it_is_seen_first(name, text):
    [fault] = [fault for fault in FAULTS if (fault.pair, fault.new) == (name, text)]
    assert lines(pairs.made(name, fault).faults[0])[1] == pairs.line(fault)
