"""The rounding budget: what shrinks with the precision passes, and what stays does not."""

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.judge import examine
from compare.judge.precision import unit_roundoff
from compare.judge.rounding import CONFIRMED, POINTS
from functional.arrays import running

LOW = ("float32", "bfloat16", "float16")


def numpy_function(compute):
    """A side that computes in NumPy, in the dtype that it is asked for."""

    def call(inputs, dtype):
        return {"y": np.asarray(compute(inputs["x"].astype(dtype)))}

    return call


def torch_function(compute):
    def call(inputs, dtype):
        return {"y": compute(torch.tensor(inputs["x"]).to(getattr(torch, dtype))).numpy()}

    return call


def jax_function(compute):
    def call(inputs, dtype):
        with running(dtype, "cpu"):
            return {"y": np.array(compute(jnp.array(inputs["x"], dtype=dtype)))}

    return call


def judged(left, right, x, **options):
    """What is said of ``y`` in the higher and in the lower precision."""
    found = examine(numpy_function(left), numpy_function(right), {"x": np.asarray(x)}, **options)
    return found.higher[0], (found.lower or (None,))[0]


def points(n=50, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(size=n) * scale


def plain_variance(x):
    return np.mean((x - np.mean(x)) ** 2)


def textbook_variance(x):
    return np.mean(x * x) - np.mean(x) ** 2


def test_the_same_function_is_identical_in_both_precisions():
    higher, lower = judged(np.sin, np.sin, points())
    assert (higher.word, lower.word) == ("identical", "identical")
    assert higher.absolute == higher.share == 0


def test_another_order_of_summation_is_rounding():
    higher, lower = judged(np.sum, lambda x: np.sum(x[::-1].copy()), points(1001))
    assert {higher.word, lower.word} <= {"identical", "rounding"}
    assert higher.share < 1


def test_cancellation_that_amplifies_rounding_a_millionfold_is_rounding():
    x = 1e3 + points(100, scale=1e-2)
    higher, lower = judged(plain_variance, textbook_variance, x)
    assert higher.word == "rounding"
    assert higher.ulps > 1e4
    assert lower.lost_bits["functional"] > lower.lost_bits["imperative"] + 10


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("defect", [1e-6, 1e-9, 1e-12])
def test_a_relative_error_of_any_size_above_rounding_is_a_different_function(seed, defect):
    higher, lower = judged(np.tanh, lambda x: np.tanh(x) * (1 + x.dtype.type(defect)), points(seed=seed))
    assert higher.word == "different"
    assert lower.word == "different"
    assert higher.share > 1


def test_the_smallest_error_that_is_noticed_is_the_one_stated():
    x = points()
    notices = judged(np.exp, lambda x: np.exp2(x / np.log(2)), x)[0].notices
    for factor, word in ((0.5, "rounding"), (2.0, "different")):
        defect = 1 + factor * notices
        assert judged(np.exp, lambda x, d=defect: np.exp(x) * x.dtype.type(d), x)[0].word == word


def test_an_error_in_the_smallest_leaf_of_a_tree_is_not_hidden_by_the_largest():
    def leaves(defect):
        def call(inputs, dtype):
            x = inputs["x"].astype(dtype)
            return {"large": x * 1e9, "small": np.sin(x) * dtype_of(x, 1e-9) * dtype_of(x, 1 + defect)}

        return call

    found = examine(leaves(0.0), leaves(1e-10), {"x": points()}).higher
    assert {f.quantity: f.word for f in found} == {"large": "identical", "small": "different"}


def dtype_of(x, value):
    return x.dtype.type(value)


def test_what_is_zero_in_both_is_vacuous():
    higher, _ = judged(lambda x: 0 * x, lambda x: 0 * x, points())
    assert (higher.word, higher.reason) == ("vacuous", "all zero")


def test_what_is_zero_up_to_rounding_is_vacuous_and_not_different():
    x = np.linspace(-1, 1, 101) * np.pi

    def odd_moment(order):
        return lambda x: np.sum((np.sin(x) * x**2)[order])

    shuffled = np.random.default_rng(0).permutation(len(x))
    higher, _ = judged(odd_moment(slice(None)), odd_moment(shuffled), x)
    assert (higher.word, higher.reason) == ("vacuous", "zero up to rounding")


def test_what_one_side_flushes_to_zero_at_the_edge_of_the_format_is_no_difference():
    x = np.abs(points()) * 1e-300

    def flushing(x):
        y = x * x.dtype.type(1e-8)
        return np.where(np.abs(y) < np.finfo(x.dtype).smallest_normal, x.dtype.type(0), y)

    with np.errstate(under="ignore"):
        higher, _ = judged(lambda x: x * x.dtype.type(1e-8), flushing, x)
    assert higher.word == "vacuous"


def test_zero_on_one_side_and_a_number_on_the_other_differ():
    assert judged(lambda x: 0 * x, lambda x: x, points())[0].word == "different"


def test_zeros_of_opposite_sign_differ_in_a_bit_and_not_in_value():
    higher, _ = judged(lambda x: np.append(x, 0.0 * x[:1]), lambda x: np.append(x, -0.0 * x[:1]), [1.0, 2.0])
    assert (higher.word, higher.absolute) == ("rounding", 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_on_one_side_differs(value):
    left = lambda x: x  # noqa: E731
    higher, _ = judged(left, lambda x: np.where(np.arange(x.size) == 3, x.dtype.type(value), x), points())
    assert higher.word == "different"
    assert higher.absolute == np.inf
    assert higher.where == (3,)


def test_equal_patterns_of_nan_and_infinity_leave_the_rest_to_be_compared():
    def partly(defect):
        return lambda x: np.where(x > 0, np.sin(x) * x.dtype.type(1 + defect), x.dtype.type(np.nan))

    assert judged(partly(0), partly(0), points())[0].word == "identical"
    assert judged(partly(0), partly(1e-10), points())[0].word == "different"


def test_nothing_but_nan_on_both_sides_is_vacuous():
    higher, _ = judged(lambda x: x * np.nan, lambda x: x * np.nan, points())
    assert (higher.word, higher.reason) == ("vacuous", "nothing finite")


def test_overflow_of_one_side_in_float32_alone_differs_there_alone():
    def stable(x):
        top = x.max()
        return top + np.log(np.sum(np.exp(x - top)))

    def naive(x):
        with np.errstate(over="ignore"):
            return np.log(np.sum(np.exp(x)))

    higher, lower = judged(stable, naive, [100.0, 99.0, 98.0])
    assert higher.word in {"rounding", "identical"}
    assert (lower.word, lower.reason) == ("different", "not finite on one side")


@pytest.mark.parametrize("kind", [np.int64, np.bool_])
def test_integers_and_booleans_must_be_equal(kind):
    def counts(offset):
        return lambda inputs, dtype: {"y": np.array([3, 0, 1 + offset]).astype(kind)}

    at = {"x": points()}
    assert examine(counts(0), counts(0), at).higher[0].word == "identical"
    assert examine(counts(0), counts(-1), at).higher[0].word == "different"


def test_an_integer_that_hangs_on_the_last_bit_is_undecided():
    x = points(4000)

    def last_digit(order):
        return lambda x: (np.abs(np.sum(x[order])) * 1e15).astype(np.int64) % 7

    higher, _ = judged(last_digit(slice(None)), last_digit(np.arange(4000)[::-1]), x)
    assert (higher.word, higher.reason) == ("undecided", "the last bit decides")


def relu_slope(at_zero):
    return lambda x: np.where(x > 0, 1, np.where(x == 0, at_zero, 0)).astype(x.dtype) * 2


def test_two_conventions_for_a_kink_differ_at_the_kink():
    higher, _ = judged(relu_slope(0), relu_slope(0.5), [1.0, 0.0, -1.0])
    assert (higher.word, higher.where) == ("different", (1,))


def test_two_conventions_for_a_tie_differ_although_every_neighbour_agrees():
    def share_of_maximum(split):
        def slope(x):
            top = x == x.max()
            return (top / top.sum() if split else np.eye(x.size)[top.argmax()]).astype(x.dtype)

        return slope

    higher, _ = judged(share_of_maximum(True), share_of_maximum(False), [1.5, 2.5, 2.5])
    assert (higher.word, higher.reason) == ("different", "a convention at a kink")


def test_a_branch_that_rounding_decided_is_no_convention():
    # Summed from the left this is 1.1e-16 in float64, from the right nothing.
    x = [0.1, 0.2, 0.3, -0.6]
    left, right = (
        (lambda x: np.sign(x[0] + x[1] + x[2] + x[3])),
        (lambda x: np.sign(x[2] + x[1] + x[0] + x[3])),
    )
    higher, _ = judged(left, right, x)
    assert (higher.word, higher.reason) == ("undecided", "a jump at this very point")


def test_a_branch_that_falls_the_other_way_in_float32_does_not_hide_a_defect():
    x = points(200, seed=3)
    edge = x[17] * (1 + 2e-9)  # float32 cannot tell x[17] from the edge

    def kinked(defect):
        return lambda x: np.where(x > x.dtype.type(edge), x * 3, x) * x.dtype.type(1 + defect)

    assert judged(kinked(0), kinked(0), x)[0].word == "identical"
    assert judged(kinked(0), kinked(1e-7), x)[0].word == "different"


def chaos(steps, start=slice(None)):
    def iterate(x):
        four, one = x.dtype.type(4), x.dtype.type(1)
        for _ in range(steps):
            x = four * x * (one - x)
        return x

    def rewritten(x):
        four = x.dtype.type(4)
        for _ in range(steps):
            x = four * x - four * (x * x)
        return x

    return iterate, rewritten


@pytest.mark.parametrize("steps", [5, 20, 30, 40])
def test_chaos_is_rounding_as_long_as_it_has_bits_left(steps):
    higher, _ = judged(*chaos(steps), np.random.default_rng(1).uniform(0.2, 0.8, 20))
    assert higher.word == "rounding"


@pytest.mark.parametrize("steps", [70, 200])
def test_chaos_without_bits_left_is_undecided_and_says_what_would_settle_it(steps):
    higher, _ = judged(*chaos(steps), np.random.default_rng(1).uniform(0.2, 0.8, 20))
    assert (higher.word, higher.reason) == ("undecided", "the last bit decides")


def test_one_side_wholly_in_float32_is_a_precision_leak_of_that_side():
    def leaking(x):
        return np.tanh(x.astype(np.float32) * np.float32(0.3)).astype(x.dtype)

    higher, _ = judged(lambda x: np.tanh(x * x.dtype.type(0.3)), leaking, points())
    assert (higher.word, higher.reason, higher.side) == ("different", "precision leak", "functional")


@pytest.mark.parametrize("culprit", ["imperative", "functional"])
def test_one_intermediate_in_float32_is_a_precision_leak_of_its_side(culprit):
    def clean(x):
        return np.sum(np.sin(x) * np.exp(x)) + x**2

    def leaking(x):
        return np.sum(np.sin(x).astype(np.float32).astype(x.dtype) * np.exp(x)) + x**2

    sides = (clean, leaking) if culprit == "functional" else (leaking, clean)
    higher, _ = judged(*sides, points())
    assert (higher.word, higher.reason, higher.side) == ("different", "precision leak", culprit)


@pytest.mark.parametrize(("offset", "reason"), [(100, "precision leak"), (10_000, "")])
def test_a_leak_that_absorbs_its_input_may_lose_its_name_and_is_different_all_the_same(offset, reason):
    def clean(x):
        return x + x.dtype.type(offset)

    higher, _ = judged(clean, lambda x: clean(x).astype(np.float32).astype(x.dtype), points())
    assert (higher.word, higher.reason) == ("different", reason)


def test_an_array_of_float32_in_a_float64_run_is_a_precision_leak_even_if_both_sides_have_it():
    def narrow(inputs, dtype):
        return {"y": inputs["x"].astype(np.float32)}

    (finding,) = examine(narrow, narrow, {"x": points()}).higher
    assert (finding.word, finding.reason) == ("different", "precision leak")
    assert "it is float32 on the imperative side" in finding.note


def test_a_defect_of_the_size_of_a_float32_error_is_no_precision_leak():
    higher, _ = judged(np.sin, lambda x: np.sin(x) * x.dtype.type(1 + 2**-24), points())
    assert (higher.word, higher.reason) == ("different", "")


def test_bits_lost_in_float32_by_one_side_are_counted_against_it():
    _, lower = judged(np.expm1, lambda x: np.exp(x) - x.dtype.type(1), points(scale=1e-3))
    assert lower.word == "rounding"
    assert lower.lost_bits["imperative"] < 2
    assert 7 < lower.lost_bits["functional"] < 12


@pytest.mark.parametrize("scale", [1e-4, 1e-6])
def test_noise_that_float32_is_blind_to_is_rounding(scale):
    # In float32 x + 1e6 is 1e6: the error of the difference is x itself, however much float64 keeps of it.
    def offset(x):
        return np.tanh((x + x.dtype.type(1e6)) - x.dtype.type(1e6))

    higher, _ = judged(offset, np.tanh, points(20, scale=scale))
    assert (higher.word, higher.reason) == ("rounding", "noise that the lower precision hides")


def test_noise_of_what_cancels_exactly_in_float32_alone_is_no_difference():
    # The weights of a softmax over nearly equal values sum to one exactly in float32, and not in float64.
    def slope(order):
        def compute(x):
            weights = np.exp(x) / np.sum(np.exp(x)[order])
            quarter = weights / x.dtype.type(4)
            residual = quarter - weights * np.sum(quarter[order])
            return np.sum(residual[order] * (x.dtype.type(1) + x))

        return compute

    x = np.arange(1, 5) * 1e-10
    higher, _ = judged(slope(slice(None)), slope(np.array([2, 0, 3, 1])), x)
    assert higher.word != "different"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("period", [3.0, 10.0, 60.0, 1000.0])
def test_an_oscillation_too_fast_for_float32_is_no_noise(period, seed):
    x = 1.7e9 + np.arange(20) * 3600.3

    def wave(function):
        return lambda x: function(x * x.dtype.type(2 * np.pi / period))

    higher, _ = judged(wave(np.sin), wave(np.cos), x, seed=seed)
    assert higher.word == "different"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scale", [1e-8, 3e-8, 1e-7, 1e-5, 1e-4])
def test_noise_beside_a_trend_is_no_oscillation(scale, seed):
    def offset(x):
        return np.sin((x + x.dtype.type(1e6)) - x.dtype.type(1e6))

    higher, _ = judged(offset, np.sin, points(20, seed=seed, scale=scale), seed=seed)
    assert higher.word in {"rounding", "undecided", "vacuous"}


def test_a_side_that_overflows_in_float32_is_rounding_in_float64_and_no_precision_leak():
    def naive(x):
        with np.errstate(divide="ignore", over="ignore"):
            return np.mean(-np.log(1 - 1 / (1 + np.exp(-x))))

    def stable(x):
        return np.mean(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))

    higher, lower = judged(naive, stable, np.append(points(20), 20.123))
    assert higher.reason != "precision leak"
    assert (lower.word, lower.reason) == ("different", "not finite on one side") or higher.word == "different"


def test_noise_that_is_larger_than_rounding_can_be_is_undecided():
    noise = np.random.default_rng(0)
    higher, _ = judged(np.var, lambda x: np.var(x) * x.dtype.type(1 + 1e-3 * noise.normal()), points())
    assert (higher.word, higher.reason) == ("undecided", "not deterministic")


@pytest.mark.parametrize(("scale", "reason"), [(1e-50, "all zero"), (1e50, "nothing finite")])
def test_what_float32_cannot_hold_is_vacuous_there(scale, reason):
    with np.errstate(over="ignore", under="ignore"):
        _, lower = judged(lambda x: np.sum(x / 3), lambda x: np.sum(x[::-1]) / 3, np.abs(points(30)) * scale)
    assert (lower.word, lower.reason) == ("vacuous", reason)


def test_optax_loses_the_bits_of_adams_bias_correction_in_float32_and_is_named():
    def imperative(inputs, dtype):
        p = torch.zeros(1, dtype=getattr(torch, dtype), requires_grad=True)
        optimizer = torch.optim.Adam([p], lr=1.0)
        p.grad = torch.tensor(inputs["x"]).to(p.dtype)
        optimizer.step()
        return {"y": p.detach().numpy()}

    def functional(inputs, dtype):
        with running(dtype, "cpu"):
            gradient, optimizer = jnp.array(inputs["x"], dtype=dtype), optax.adam(1.0)
            updates, _ = optimizer.update(gradient, optimizer.init(gradient))
            return {"y": np.array(updates)}

    found = examine(imperative, functional, {"x": np.ones(1)})
    assert found.higher[0].word in {"identical", "rounding"}
    assert found.lower[0].word == "rounding"
    assert found.lower[0].lost_bits["imperative"] < 2
    assert 6 < found.lower[0].lost_bits["functional"] < 12


def test_every_bit_that_an_unstable_side_loses_in_float32_is_rounding_as_float64_shows():
    # 1 - cos x is zero in float32 for a small x, and keeps half its bits in float64.
    x = points(30, scale=1e-5)
    _, lower = judged(lambda x: 2 * np.sin(x / 2) ** 2, lambda x: x.dtype.type(1) - np.cos(x), x)
    assert lower.word == "rounding"
    assert lower.lost_bits["functional"] > 23


def test_every_bit_lost_in_float32_by_one_side_alone_is_no_pass_there():
    def broken(x):
        return np.sin(x) if x.dtype == np.float64 else -np.sin(x)

    higher, lower = judged(np.sin, broken, points())
    assert higher.word == "identical"
    assert (lower.word, lower.reason, lower.side) == (
        "undecided",
        "no bit left in the lower precision",
        "functional",
    )


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_float32_can_be_the_higher_precision(low):
    x = points(200).astype(np.float32)

    def mean_square(order):
        def compute(x):
            wide = np.square(x[order].astype(np.float32))
            return np.mean(wide).astype(x.dtype)

        return compute

    honest, _ = judged(
        mean_square(slice(None)), mean_square(np.arange(200)[::-1]), x, higher="float32", lower=low
    )
    assert honest.word in {"identical", "rounding"}
    wrong, _ = judged(
        mean_square(slice(None)),
        lambda x: np.var(x.astype(np.float32), ddof=1).astype(x.dtype),
        x,
        higher="float32",
        lower=low,
    )
    assert wrong.word == "different"


def test_sixteen_bits_that_accumulate_in_thirty_two_do_not_make_float32_look_different():
    x = points(4000, seed=5).astype(np.float32)

    def dot(reverse):
        def compute(x):
            wide = x.astype(np.float32)[::-1] if reverse else x.astype(np.float32)
            total = np.float32(0)
            for value in wide * wide:
                total += value
            return np.asarray(total).astype(x.dtype)

        return compute

    higher, _ = judged(dot(False), dot(True), x, higher="float32", lower="bfloat16")
    assert higher.word in {"identical", "rounding"}


def test_without_a_lower_precision_perturbations_decide_and_the_finding_says_so():
    x = points(300)
    honest, _ = judged(np.sum, lambda x: np.sum(x[::-1].copy()), x, lower=None)
    assert honest.word in {"identical", "rounding"}
    wrong, _ = judged(np.sin, lambda x: np.sin(x) * (1 + 1e-10), x, lower=None)
    assert (wrong.word, wrong.evidence) == ("different", "perturbations")


def test_a_dot_product_of_a_million_terms_is_rounding_and_a_defect_of_1e_9_is_not():
    generator = np.random.default_rng(0)
    at = {"x": generator.normal(size=10**6), "w": generator.normal(size=10**6)}

    def dot(defect):
        def left(inputs, dtype):
            x, w = (torch.tensor(inputs[k]).to(getattr(torch, dtype)) for k in "xw")
            return {"y": (x @ w).numpy() * np.dtype(dtype).type(1 + defect)}

        return left

    def sequential(inputs, dtype):
        x, w = (inputs[k].astype(dtype) for k in "xw")
        return {"y": np.cumsum(x * w)[-1]}

    assert examine(dot(0), sequential, at).higher[0].word == "rounding"
    size = abs(examine(dot(0), sequential, at).higher[0].scale)
    assert size > 1
    assert examine(dot(1e-7), sequential, at).higher[0].word == "different"


def test_a_side_that_answers_otherwise_each_time_widens_its_own_budget():
    noise = np.random.default_rng(0)

    def atomic(x):
        return np.sum(x) * x.dtype.type(1 + 1e-13 * noise.normal())

    higher, _ = judged(np.sum, atomic, points(100))
    assert (higher.word, higher.reason, higher.side) == ("rounding", "not deterministic", "functional")


def test_a_quantity_on_one_side_only_differs_and_names_the_side():
    found = examine(
        lambda inputs, dtype: {"y": inputs["x"].astype(dtype), "z": inputs["x"].astype(dtype)},
        lambda inputs, dtype: {"y": inputs["x"].astype(dtype)},
        {"x": points()},
    ).higher
    words = {f.quantity: (f.word, f.reason, f.side) for f in found}
    assert words["z"] == ("different", "missing on one side", "functional")
    assert words["y"][0] == "identical"


@pytest.mark.parametrize("shape", [(5, 1), (1, 5), (6,)])
def test_another_shape_differs_even_if_it_would_broadcast(shape):
    higher, _ = judged(lambda x: x, lambda x: np.resize(x, shape), points(5))
    assert (higher.word, higher.reason) == ("different", "another shape")


def test_complex_numbers_are_compared_in_modulus():
    left = lambda x: np.exp(1j * x).astype(f"c{2 * x.itemsize}")  # noqa: E731
    assert judged(left, left, points())[0].word == "identical"
    assert judged(left, lambda x: np.conj(left(x)), points())[0].word == "different"


@pytest.mark.parametrize(
    ("name", "defect"),
    [("gelu", 0.0), ("softplus", 0.0), ("log_softmax", 0.0), ("gelu", 1e-12), ("silu", 1e-12)],
)
def test_the_libraries_own_functions_agree_and_a_relative_error_of_1e_12_in_one_does_not(name, defect):
    right = {
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "softplus": jax.nn.softplus,
        "silu": jax.nn.silu,
        "log_softmax": jax.nn.log_softmax,
    }[name]
    left = {"log_softmax": lambda x: torch.log_softmax(x, 0)}.get(name) or getattr(torch.nn.functional, name)
    found = examine(torch_function(left), jax_function(lambda x: right(x) * (1 + defect)), {"x": points()})
    agree = {"identical", "rounding"}
    assert (found.higher[0].word in agree) is (defect == 0)


def test_gelu_by_tanh_is_not_gelu():
    found = examine(torch_function(torch.nn.functional.gelu), jax_function(jax.nn.gelu), {"x": points()})
    assert (found.higher[0].word, found.lower[0].word) == ("different", "different")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([1e-8, 1.0, 1e8]))
def test_sums_in_any_order_and_scale_are_never_different(seed, n, scale):
    generator = np.random.default_rng(seed)
    x, order = generator.normal(size=n) * scale, generator.permutation(n)
    higher, lower = judged(np.sum, lambda x: np.sum(x[order]), x, seed=seed)
    assert "different" not in {higher.word, lower.word}


def test_evidence_is_gathered_only_while_something_is_in_doubt():
    calls = []

    def counting(inputs, dtype):
        calls.append(dtype)
        return {"y": np.sin(inputs["x"].astype(dtype))}

    examine(counting, counting, {"x": points()})
    assert len(calls) == 2 * (2 + 2 + 2)
    calls.clear()
    examine(counting, numpy_function(lambda x: np.sin(x) + x.dtype.type(1)), {"x": points()})
    few = len(calls)
    calls.clear()
    examine(counting, numpy_function(lambda x: np.sin(x) * x.dtype.type(1 + 1e-13)), {"x": points()})
    assert few < len(calls) <= 2 + 2 * (POINTS + 1) + 3 * CONFIRMED + 17 * 16 + 2 * 16


@pytest.mark.parametrize(
    ("dtype", "unit"), [("float64", 2**-53), ("float32", 2**-24), ("float16", 2**-11), ("bfloat16", 2**-8)]
)
def test_units_roundoff_are_those_of_the_formats(dtype, unit):
    assert unit_roundoff(dtype) == unit
    one = np.ones((), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    assert (one + one.dtype.type(2 * unit)) != one


def test_a_kink_at_an_input_that_is_exactly_zero_is_a_convention():
    higher, _ = judged(relu_slope(0), relu_slope(0.5), [1.0, 0.0, -1.0])
    assert (higher.word, higher.reason, higher.where) == ("different", "a convention at a kink", (1,))


def test_a_kink_where_all_inputs_are_zero_is_a_convention():
    higher, _ = judged(relu_slope(0), relu_slope(0.5), np.zeros(3))
    assert (higher.word, higher.reason) == ("different", "a convention at a kink")


def only_at(x, found="raises"):
    """A function of one point, which raises elsewhere, or returns another shape."""

    def call(value):
        if not np.array_equal(value, np.asarray(x, value.dtype)):
            if found == "raises":
                raise ValueError("no such point")
            return np.append(value, 0)
        return np.sin(value)

    return call


@pytest.mark.parametrize("found", ["raises", "another shape"])
def test_a_side_that_cannot_be_evaluated_at_any_neighbour_is_not_judged_by_them(found):
    x = [0.5, 1.5]
    higher, _ = judged(only_at(x, found), np.cos, x)
    assert (higher.word, higher.reason) == ("undecided", "no neighbour")
    assert ("ValueError: no such point" if found == "raises" else "shapes") in higher.note
    assert judged(only_at(x, found), np.sin, x)[0].word == "identical"


def test_a_side_that_raises_at_some_neighbours_is_judged_by_the_others():
    def careful(x):
        if x[0] > 1.5:
            raise ValueError("outside")
        return np.sin(x)

    assert judged(careful, np.cos, [1.5])[0].word == "different"
    assert judged(careful, np.sin, [1.5])[0].word == "identical"


@pytest.mark.parametrize("refused", ["float64", "float32"])
def test_a_function_that_cannot_run_in_one_precision_is_judged_by_perturbations_in_the_other(refused):
    def picky(defect):
        def call(x):
            if x.dtype == refused:
                raise NotImplementedError(f"no {refused} here")
            return np.sin(x) * x.dtype.type(1 + defect)

        return call

    other = "lower" if refused == "float64" else "higher"
    for defect, word in ((0, "identical"), (1e-3, "different")):
        found = examine(numpy_function(picky(0)), numpy_function(picky(defect)), {"x": points()})
        (finding,) = getattr(found, other)
        assert (finding.word, finding.evidence) == (word, "perturbations")
        assert (found.lower if other == "higher" else found.higher) == ()


def test_what_a_side_raises_everywhere_reaches_the_caller():
    def broken(x):
        raise ZeroDivisionError("its own")

    with pytest.raises(ZeroDivisionError, match="its own"):
        judged(broken, np.sin, points())


@pytest.mark.parametrize("output", [np.array(["a", "b"]), np.array([None, 1]), np.array([1, 2], "M8[s]")])
def test_what_is_no_number_is_another_dtype(output):
    higher, _ = judged(lambda x: output, lambda x: output, [1.0, 2.0])
    assert (higher.word, higher.reason) == ("different", "another dtype")
    assert str(output.dtype) in higher.note


def test_a_side_that_writes_into_its_inputs_harms_nobody():
    def destructive(inputs, dtype):
        y = np.sin(inputs["x"].astype(dtype))
        inputs["x"][:] = 0
        return {"y": y}

    x = points()
    before = x.copy()
    assert examine(destructive, numpy_function(np.sin), {"x": x}).higher[0].word == "identical"
    assert np.array_equal(x, before)


def test_a_side_that_returns_the_same_buffer_each_time_is_read_before_it_changes():
    buffers = {dtype: np.zeros(50, dtype) for dtype in ("float64", "float32")}

    def reusing(inputs, dtype):
        np.sin(inputs["x"].astype(dtype), out=buffers[dtype])
        return {"y": buffers[dtype]}

    assert examine(reusing, numpy_function(np.sin), {"x": points()}).higher[0].word == "identical"
    wrong = numpy_function(lambda x: np.sin(x) * x.dtype.type(1 + 1e-9))
    assert examine(reusing, wrong, {"x": points()}).higher[0].word == "different"


def test_a_wrong_factor_is_found_although_the_data_are_far_from_zero():
    x = 1e6 + points(100)

    def textbook(x):
        return np.mean(x * x) - np.mean(x) ** 2

    assert judged(textbook, np.var, x)[0].word == "rounding"
    assert judged(textbook, lambda x: np.var(x) * x.dtype.type(1.03), x)[0].word == "different"


def test_bits_that_float32_need_not_lose_are_remarked():
    def careless(x):
        return np.sin(x) if x.dtype == np.float64 else np.sin(x) * np.float32(1.01)

    higher, lower = judged(np.sin, careless, points())
    assert higher.word == "identical"
    assert (lower.word, lower.reason, lower.side) == ("rounding", "bits lost without need", "functional")


def test_a_branch_that_float32_takes_the_other_way_at_some_neighbours_loses_no_bits_without_need():
    # Rounding decides on which side of zero x - 0.1 is: one side alone falls into the steep branch.
    x = np.array([0.1, 1.0])

    def steep(early):
        def compute(x):
            moved = (
                x - x.dtype.type(0.1)
                if early
                else (x * x.dtype.type(3) - x.dtype.type(0.3)) / x.dtype.type(3)
            )
            return np.where(moved > x.dtype.type(1e-9), x * x.dtype.type(1e6), x)

        return compute

    for seed in range(20):
        _, lower = judged(steep(True), steep(False), x, seed=seed)
        assert lower.reason != "no bit left in the lower precision"


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_a_component_that_float32_loses_wholly_is_not_called_different(seed):
    # Float32 loses x + 1e6 - 1e6 and keeps the sine, so its error is the size of the lost component.
    def sides(kept):
        def compute(x):
            lost = (x + x.dtype.type(1e6)) - x.dtype.type(1e6) if kept else x
            return np.sin(x * x.dtype.type(1e3)) * x.dtype.type(1e-4) + lost * x

        return compute

    higher, _ = judged(sides(True), sides(False), points(20, seed=seed, scale=1e-7), seed=seed)
    assert higher.word != "different"


def test_a_tail_that_one_side_rounds_to_zero_and_float32_cannot_hold_is_undecided():
    def erf(function):
        return lambda x: np.array([float(function(mpmath.mpf(float(v)))) for v in x], x.dtype)

    rounded, exact = (lambda x: 1 - erf(mpmath.erf)(x)), erf(mpmath.erfc)
    higher, _ = judged(rounded, exact, np.array([21.3, 22.5]))
    assert (higher.word, higher.reason) == ("undecided", "in the higher precision alone")


def test_a_difference_that_float32_would_show_and_does_not_is_undecided():
    def broken(x):
        return np.sin(x) * (x.dtype.type(1.01) if x.dtype == np.float64 else x.dtype.type(1))

    higher, _ = judged(np.sin, broken, points())
    assert (higher.word, higher.reason) == ("undecided", "in the higher precision alone")


@pytest.mark.parametrize("defect", [1e-10, 1e-8, 1e-6, 1e-4, 1e-2])
def test_a_difference_that_float32_cannot_show_or_does_show_is_different(defect):
    higher, _ = judged(np.sin, lambda x: np.sin(x) * x.dtype.type(1 + defect), points())
    assert higher.word == "different"


def test_a_constant_that_is_another_one_is_different():
    higher, _ = judged(lambda x: 0 * x + x.dtype.type(2), lambda x: 0 * x + x.dtype.type(3), points())
    assert higher.word == "different"


def test_a_rounding_that_is_the_same_at_all_neighbours_is_one_draw_and_may_be_a_lucky_one():
    # In float32 1e6 + 0.99999 is 1e6 + 1, a lucky rounding, and no neighbour of x changes the sum at all.
    def total(kept):
        def compute(x):
            constant = x.dtype.type(0.99999) + x * x * x.dtype.type(1e-30)
            million = x.dtype.type(1e6)
            return np.sum(constant if kept else (constant + million) - million)

        return compute

    higher, _ = judged(total(True), total(False), points(256, scale=1e-3))
    assert (higher.word, higher.reason) == ("undecided", "one draw")


@pytest.mark.parametrize("defect", [1e-9, 1e-3])
def test_a_constant_with_a_defect_that_no_lucky_rounding_explains_is_different(defect):
    constant = lambda x: x[:1] * 0 + x.dtype.type(3)  # noqa: E731
    higher, _ = judged(constant, lambda x: constant(x) * x.dtype.type(1 + defect), points(4))
    assert higher.word == "different"


def test_a_side_that_writes_into_its_inputs_changes_nothing_that_the_other_is_given():
    def writing(inputs, dtype):
        value = inputs["x"].astype(dtype) ** 2
        inputs["x"][:] = 0
        return {"y": value}

    at = {"x": np.array([1.5, 2.5])}
    examination = examine(writing, lambda inputs, dtype: {"y": inputs["x"].astype(dtype) ** 2}, at)
    assert {finding.word for finding in (*examination.higher, *examination.lower)} == {"identical"}
    assert at["x"].tolist() == [1.5, 2.5]
