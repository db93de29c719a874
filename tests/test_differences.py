"""The yardstick: what an ULP is here, where it is measured, and what cannot be measured at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compare.differences import LIMIT, between

floats = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
)
finite = hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e100, 1e100))
STEPS = np.array([10, 20, 30])


def measure(left, right, **options):
    dtype = str(left.dtype)
    return between("q", {"x": left}, {"x": right}, dtype=dtype, judged=True, **options)


@given(floats)
def test_what_is_equal_bit_for_bit_is_no_difference_whatever_it_holds(array):
    difference = measure(array, array.copy())
    assert (difference.absolute, difference.relative, difference.ulps) == (0, 0, 0)
    assert difference.agrees


@given(finite, finite)
def test_the_two_sides_may_be_exchanged(left, right):
    here, there = measure(left, right, steps=STEPS), measure(right, left, steps=STEPS)
    assert (here.absolute, here.relative, here.ulps) == (there.absolute, there.relative, there.ulps)
    assert (here.where, here.first_unequal_step) == (there.where, there.first_unequal_step)


@given(finite, finite, st.integers(-60, 60))
def test_ulps_do_not_depend_on_the_unit(left, right, power):
    here, there = measure(left, right), measure(left * 2.0**power, right * 2.0**power)
    if max(np.abs(left).max(), np.abs(right).max()) > 1e-200:
        assert here.ulps == pytest.approx(there.ulps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_next_number_is_one_ulp_away(dtype):
    one = np.ones(1, dtype)
    assert measure(one, np.nextafter(one, dtype(2))).ulps == 1


@pytest.mark.parametrize(("ulps", "agrees"), [(LIMIT, True), (LIMIT + 1, False)])
def test_the_limit_is_the_last_difference_that_agrees(ulps, agrees):
    assert measure(np.ones(1), np.ones(1) + ulps * np.spacing(1.0)).agrees is agrees


def test_a_large_difference_that_is_not_judged_is_measured_and_left_open():
    difference = between("q", {"x": np.zeros(1)}, {"x": np.ones(1)}, dtype="float64", judged=False)
    assert difference.agrees is None
    assert difference.absolute == 1


def test_an_entry_of_pure_cancellation_is_measured_against_the_whole_tree():
    left = {"a": np.array([200.0]), "b": np.array([1e-15])}
    right = {"a": np.array([200.0]), "b": np.array([-1e-15])}
    assert between("q", left, right, dtype="float64", judged=True).ulps < 1


def test_a_loss_near_zero_is_measured_against_what_it_has_been():
    left, right = np.array(1e-12), np.array(2e-12)
    assert not measure(left, right).agrees
    assert measure(left, right, scale=256.0).agrees


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_equal_infinities_and_nans_in_the_same_place_are_no_difference(value):
    array = np.array([1.0, value])
    assert measure(array, array.copy()).ulps == 0


@pytest.mark.parametrize(
    ("left", "right"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (np.nan, np.inf)]
)
def test_a_nan_or_infinity_on_one_side_is_infinitely_far_away(left, right):
    difference = measure(np.array([left]), np.array([right]))
    assert difference.absolute == np.inf
    assert difference.ulps == np.inf
    assert not difference.agrees


def test_the_place_is_that_of_the_largest_difference_and_its_step():
    left = np.zeros((3, 2, 2))
    right = left.copy()
    right[0, 0, 0], right[1, 1, 0] = 1.0, -5.0
    difference = measure(left, right, steps=STEPS)
    assert difference.where == "x[1, 0] at step 20"
    assert difference.first_unequal_step == 10
    np.testing.assert_array_equal(difference.curve, [1, 1, 0])


def test_zeros_of_opposite_sign_part_in_a_bit_but_not_in_value():
    difference = measure(np.array([[0.0]]), np.array([[-0.0]]), steps=np.array([1]))
    assert difference.first_unequal_step == 1
    assert difference.ulps == 0


def test_an_entry_that_one_side_lacks_cannot_agree():
    difference = between(
        "q", {"x": np.ones(1)}, {"x": np.ones(1), "y": np.ones(1)}, dtype="float64", judged=False
    )
    assert difference.agrees is False
    assert difference.note == "only the functional side has y"


def test_another_shape_cannot_agree_even_if_it_would_broadcast():
    difference = measure(np.ones((3, 1)), np.ones(3))
    assert difference.agrees is False
    assert difference.note == "x has shape (3, 1) on the imperative side and (3,) on the functional"


def test_another_dtype_cannot_agree_even_if_every_value_is_the_same():
    difference = measure(np.ones(1, np.float32), np.ones(1))
    assert difference.agrees is False
    assert difference.note == "x is float64 on the functional side, in a float32 run"


def test_a_dtype_that_both_sides_share_but_nobody_asked_for_cannot_agree():
    leak = {"x": np.ones(1, np.float32)}
    difference = between("q", leak, leak, dtype="float64", judged=True)
    assert difference.agrees is False
    assert difference.note == "x is float32 on the imperative side, in a float64 run"


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.complex128])
def test_what_is_no_real_number_is_refused_and_not_compared(kind):
    assert (
        between("q", {"x": np.ones(1, kind)}, {"x": np.ones(1, kind)}, dtype="float64", judged=True).agrees
        is False
    )


def test_nothing_on_either_side_cannot_agree():
    assert between("q", {}, {}, dtype="float64", judged=True).note == "neither side has any"


@pytest.mark.parametrize("shape", [(0,), (0, 2), (3, 0)])
@pytest.mark.parametrize("steps", [None, STEPS])
def test_empty_arrays_have_no_entry_that_could_differ(shape, steps):
    array = np.ones(shape if steps is None else (3, *shape))
    assert measure(array, array.copy(), steps=steps).ulps == 0


def test_no_steps_at_all_have_no_entry_that_could_differ():
    assert measure(np.ones((0, 2)), np.ones((0, 2)), steps=np.zeros(0, int)).ulps == 0
