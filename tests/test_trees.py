"""The measure of two trees: what whole arrays say, read in chunks."""

import tracemalloc
from unittest.mock import patch

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compare.judge import trees
from compare.judge.trees import Gap, gap, gaps

FLOATS = ["float16", "float32", "float64", ml_dtypes.bfloat16, "complex64", "complex128"]
INTEGERS = ["int8", "uint8", "int32", "uint32", "int64", "uint64"]
dtypes = st.sampled_from([np.dtype(name) for name in [*FLOATS, *INTEGERS, "bool"]])
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@st.composite
def arrays(draw, dtype, shape):
    """Any bits at all, with a bias to the values that are easy to get wrong."""
    if dtype.kind not in "iub":
        real = np.zeros(1, dtype).real.dtype
        word = np.dtype(f"u{real.itemsize}")
        awkward = np.array([0, -0.0, 1, -1, np.nan, np.inf, -np.inf, 3e38], np.float64)
        with np.errstate(over="ignore"):
            awkward = awkward.astype(real).view(word).tolist()
        bits = st.sampled_from(awkward) | st.integers(0, 2 ** (8 * word.itemsize) - 1)
        parts = dtype.itemsize // real.itemsize
        return draw(hnp.arrays(word, (*shape, parts), elements=bits)).view(dtype).reshape(shape)
    return draw(hnp.arrays(dtype, shape))


@st.composite
def pairs(draw, dtypes=dtypes):
    """Two arrays of one dtype that share most entries, seen through one stride or another."""
    dtype, shape = draw(dtypes), draw(shapes)
    left, other = draw(arrays(dtype, shape)), draw(arrays(dtype, shape))
    right = np.where(draw(hnp.arrays(bool, shape)), other, left)
    if shape:
        stride = draw(st.sampled_from([1, 2, -1, -2]))
        left, right = left[::stride], right[::stride]
    if draw(st.booleans()):
        left, right = left.T, right.T
    return left, right.copy(draw(st.sampled_from("CFK")))


def in_whole(left, right):
    """The same figures from whole arrays, integers as Python's own."""
    kinds = {left.dtype.kind, right.dtype.kind}
    wide = np.complex128 if "c" in kinds else np.float64
    if kinds <= set("biu") and np.result_type(left, right).kind in "biu":
        wide = object
    x, y = (side.flatten().astype(wide) for side in (left, right))
    nan, finite = np.zeros((2, x.size), bool), np.ones((2, x.size), bool)
    if wide is not object:
        nan, finite = np.isnan([x, y]), np.isfinite([x, y])
    alike = (x == y) | nan.all(axis=0)
    apart = np.where(alike, 0, abs(x - y))
    apart[np.isnan(apart.astype(np.float64))] = np.inf
    sizes = abs(np.array([x, y]))[finite]
    differs = x != y
    if left.dtype == right.dtype:
        bits = [
            np.frombuffer(side.tobytes(), np.uint8).reshape(x.size, side.itemsize) for side in (left, right)
        ]
        differs = (bits[0] != bits[1]).any(axis=1)
    where = np.unravel_index(apart.argmax(), left.shape) if x.size else ()
    return Gap(
        absolute=float(max(apart, default=0)),
        scale=float(max(sizes[sizes < np.inf], default=0)),
        where=tuple(map(int, where)),
        unequal=int((differs & ~nan.all(axis=0)).sum()),
        blank=int((alike & ~finite[0]).sum()),
        size=x.size,
    )


def check(left, right):
    with np.errstate(all="ignore"):
        expected = in_whole(left, right)
    assert gap(left, right) == expected


@settings(max_examples=300)
@given(pairs())
def test_chunks_of_any_dtype_and_stride_say_what_the_whole_says(pair):
    with patch.object(trees, "CHUNK", 64):
        check(*pair)


@settings(max_examples=300)
@given(pairs(), dtypes)
def test_two_dtypes_are_compared_in_what_holds_both(pair, dtype):
    left, right = pair
    with np.errstate(all="ignore"):
        right = right.astype(np.result_type(right, np.float64)).real.astype(dtype)
    with patch.object(trees, "CHUNK", 64):
        check(left, right)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_no_entry_is_lost_at_the_border_of_a_chunk(dtype, chunks, offset):
    border = chunks * trees.CHUNK // np.dtype(dtype).itemsize
    left = np.random.default_rng(0).integers(-1000, 1000, border + offset).astype(dtype)
    for worst in {0, border - 1, border, len(left) - 1} & set(range(len(left))):
        right = left.copy()
        right[worst] += 5000
        check(left, right)
        assert gap(left, right).where == (worst,)


def test_of_equally_wide_gaps_in_several_chunks_the_first_is_named():
    left = np.zeros(trees.CHUNK, np.float32)
    right = left.copy()
    right[[-1, 100_000, 777]] = 3, -3, 2
    assert gap(left, right).where == (100_000,)


def test_of_gaps_that_float32_cannot_tell_apart_the_widest_is_named():
    left, right = np.ones(3, np.float32), np.array([2**-30, 2**-31, 2**-30], np.float32)
    assert gap(left, right) == Gap(1 - 2**-31, 1, (1,), 3, 0, 3)


def test_a_gap_that_float32_cannot_tell_from_one_in_an_earlier_chunk_is_named_if_it_is_wider():
    left, right = np.ones((2, trees.CHUNK), np.float32)
    right[[0, -1]] = -(2.0**-30), -(2.0**-26)
    assert gap(left, right).where == (trees.CHUNK - 1,)
    assert gap(left, right).absolute == 1 + 2**-26


def test_the_largest_magnitude_may_stand_on_either_side_of_any_chunk():
    left = np.random.default_rng(0).standard_normal(64, np.float32)
    for sign, at in ((1, 0), (-1, 0), (1, -1), (-1, -1)):
        for right in (left.copy(), -left):
            right[at] = sign * 4
            with patch.object(trees, "CHUNK", 64):
                check(left, right)
                check(right, left)


def test_a_gap_may_be_wider_than_the_largest_float32():
    left = np.array([3e38], np.float32)
    assert gap(left, -left).absolute == 2 * float(left[0])


def test_a_gap_wider_than_the_largest_float64_is_infinite_and_gives_no_warning():
    assert gap(np.array([1.0, 1e308]), np.array([3.0, -1e308])) == Gap(np.inf, 1e308, (1,), 2, 0, 2)


@pytest.mark.parametrize(
    ("dtype", "left", "right", "apart"),
    [
        ("int64", 2**62 + 1, 2**62, 1),
        ("int64", -(2**63), 2**63 - 1, 2**64 - 1),
        ("uint64", 0, 2**64 - 1, 2**64 - 1),
        ("int8", -128, 127, 255),
    ],
)
def test_integers_neither_round_to_equality_nor_overflow(dtype, left, right, apart):
    assert gap(np.array(left, dtype), np.array(right, dtype)).absolute == float(apart)


def test_integers_of_different_width_are_compared_exactly():
    assert gap(np.array(2**31 + 1), np.array(2**31, np.uint32)).absolute == 1
    assert gap(np.array(2**62 + 1), np.array(1, np.int8)).absolute == 2.0**62


def test_zeros_of_opposite_sign_differ_in_a_bit_but_not_in_value():
    assert gap(np.array([0.0, 0.0]), np.array([0.0, -0.0])) == Gap(0, 0, (0,), 1, 0, 2)
    assert gap(np.array([0.0], np.float32), np.array([-0.0])).unequal == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, complex(np.nan, 1)])
def test_what_is_not_finite_on_both_sides_alike_is_blank_and_no_gap(value):
    array = np.array([[2.0, value]])
    assert gap(array, array.copy()) == Gap(0, 2, (0, 0), 0, 1, 2)


def test_what_is_blank_adds_up_over_chunks():
    nowhere = np.full(trees.CHUNK, np.nan)
    assert gap(nowhere, nowhere) == Gap(0, 0, (0,), 0, trees.CHUNK, trees.CHUNK)


def test_nans_are_equal_whatever_their_bits():
    left = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)
    assert gap(left, left[::-1]) == Gap(0, 0, (0,), 0, 2, 2)


@pytest.mark.parametrize(
    ("left", "right"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (np.nan, np.inf)]
)
def test_what_is_not_finite_is_infinitely_far_from_anything_else(left, right):
    assert gap(np.array([0.0, left]), np.array([4.0, right])).where == (1,)
    assert gap(np.array([0.0, left]), np.array([4.0, right])).absolute == np.inf


def test_complex_numbers_are_apart_and_large_by_their_modulus():
    left, right = np.array([3 + 4j, 1j]), np.array([0j, 1j])
    assert gap(left, right) == gap(right, left) == Gap(5, 5, (0,), 1, 0, 2)


def test_complex_numbers_differ_if_one_part_does():
    left, right = np.array([1 + 1j, 0j]), np.array([1 + 2j, complex(0, -0.0)])
    assert gap(left, right).unequal == 2
    assert gap(left, right.astype(np.complex64)).unequal == 1


def test_complex_numbers_may_be_strided():
    array = np.arange(6) * (1 + 1j)
    check(array[::2], array[::-2])


def test_a_finite_complex_number_whose_modulus_is_not_is_no_blank_and_sets_no_scale():
    huge = np.array([1.5e308 + 1.5e308j, 2])
    assert gap(huge, huge) == Gap(0, 2, (0,), 0, 0, 2)


def test_a_signalling_nan_gives_no_warning():
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)
    assert gap(signalling, np.array([np.nan])).blank == 1


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_what_has_no_axis_to_point_along_has_no_index(shape):
    assert gap(np.zeros(shape), np.ones(shape)).where == ()


def test_a_strided_array_is_never_copied_as_a_whole():
    left = np.zeros((1000, 1000), np.float32)
    right = left.T.copy().T
    tracemalloc.start()
    gap(left, right)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < left.nbytes / 2


def test_a_tree_is_measured_leaf_by_leaf():
    left = {"weight": np.ones(2), "bias": np.zeros(())}
    assert gaps(left, {"bias": np.ones(()), "weight": np.ones(2)}) == {
        "weight": Gap(0, 1, (0,), 0, 0, 2),
        "bias": Gap(1, 1, (), 1, 0, 1),
    }


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0}, "only the left tree has b, c"),
        ({}, {"a": 1.0}, "only the right tree has a"),
        ({"a": [1.0]}, {"a": 1.0}, "a: the shape is (1,) on the left and () on the right"),
        ({"a": "x"}, {"a": 1.0}, "a: cannot compare <U1 with float64"),
    ],
)
def test_what_cannot_be_compared_is_named_in_a_sentence(left, right, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the message is compared whole
        gaps(*({name: np.array(value) for name, value in side.items()} for side in (left, right)))
    assert str(caught.value) == sentence
