"""The random programs: complete, true, and the same on both sides."""

import re
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st

import functional.arrays
import imperative.arrays
from programs import FLAVOURS, NAMES, TABLE, Draft, drafts, programs, write

TAME = ("normal", "positive", "integers", "with zeros")
# Built to lose digits, in float32 perhaps all of them: then the gap between the precisions says little.
LOSSY = ("offset", "difference quotient", "expm1", "1 - cos", "var", "difference of squares")

few = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def primitives(pair):
    return re.findall(r"  # (.*)$", pair.text, re.MULTILINE)


@pytest.mark.parametrize("name", TABLE)
def test_every_primitive_is_generated(name):
    pair = find(programs(names=[name], operations=[1]), lambda _: True, settings=few)
    assert primitives(pair)[0] == name


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_is_generated(flavour):
    pair = find(programs(flavours=[flavour]), lambda _: True, settings=few)
    assert f": {flavour}, " in pair.text


def test_a_stream_is_fixed_by_its_seed_and_does_not_repeat_itself():
    first, again, other = ([pair.text for pair in islice(drafts(seed), 20)] for seed in (1, 1, 2))
    assert first == again
    assert len({*first, *other}) == 40


@settings(few, max_examples=20)
@given(pair=programs())
def test_a_program_has_a_line_for_each_input_and_operation_and_one_for_the_loss(pair):
    assert len(pair.text.splitlines()) == len(pair.inputs) + len(primitives(pair)) + 1
    assert len(primitives(pair)) >= 3


@settings(few, max_examples=4)
@given(pair=programs(), dtype=st.sampled_from(["float64", "float32"]))
def test_both_sides_return_the_same_names_shapes_and_the_dtype_they_are_asked_for(pair, dtype):
    left, right = (side(pair.inputs, dtype) for side in (pair.imperative, pair.functional))
    assert "values.loss" in left
    assert len(left) > 1 + len(pair.inputs)
    assert left.keys() == right.keys()
    assert all(left[name].shape == right[name].shape for name in left)
    assert {array.dtype for array in (*left.values(), *right.values())} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", TABLE)
@settings(few, max_examples=5)
@given(data=st.data())
def test_every_spelling_of_a_primitive_computes_the_same(name, data):
    draft, primitive = Draft(lambda options: data.draw(st.sampled_from(options)), TAME), TABLE[name]
    bound = draft.bind(primitive)
    assume(draft.admits(primitive, bound))

    def values(library, spelling):
        source = write(spelling, {**bound, "m": library})
        draft.lines = {"v0": (source, source, name)}
        if library == "torch":
            return draft.compile("v0", [], 0)(**imperative.arrays.enter(draft.inputs, "float64"))[0].numpy()
        with functional.arrays.running("float64", "cpu"):
            return np.array(draft.compile("v0", [], 1)(**functional.arrays.enter(draft.inputs, "float64"))[0])

    exact = values("torch", primitive.torch[0])
    for library, spellings in (("torch", primitive.torch), ("jnp", primitive.jax)):
        for spelling in spellings:
            value = values(library, spelling)
            assert value.shape == exact.shape, spelling
            # Far above float64's rounding, and below what another convention or a clever threshold changes.
            assert np.abs(value - exact).max() <= 2**-30 * max(1, np.abs(exact).max()), spelling


def slope(objective, start, direction):
    """The derivative of ``objective`` at ``start`` along ``direction``, and how well it is known.

    Central differences at the smallest width whose noise is below 1e-5 of them (a wider one may step over
    oscillations without a trace). The error is at most that noise and what three halvings of the width do.
    """

    def at(t):
        return objective({name: start[name] + t * direction[name] for name in start})

    noise = max(1e-15, *(abs(at(k * 1e-15) - at(0)) for k in (-7, -3, 2, 5)), 1e-15 * abs(at(0)))
    for width in 10.0 ** np.arange(-9, -1):
        differences = [(at(h) - at(-h)) / (2 * h) for h in (width, width / 2, width / 4, width / 8)]
        if 8 * noise / width < 1e-5 * abs(differences[0]):
            return differences[0], np.ptp(differences) + 8 * noise / width
    return 0.0, np.inf


def direction(array):
    """Of every entry's own size, or that of the array where an entry is smaller than 1."""
    size = np.abs(array) + min(1, np.abs(array).max(initial=0))
    return size * np.random.default_rng(0).normal(size=array.shape)


@settings(few, max_examples=40)
@given(pair=programs(names=[name for name in NAMES if name != "offset"], flavours=TAME))  # it is a staircase
def test_the_gradient_of_a_program_is_what_central_differences_say(pair):
    along = {name: direction(array) for name, array in pair.inputs.items()}
    gradients = pair.imperative(pair.inputs, "float64")
    told = sum(np.sum(gradients[f"gradients.{name}"] * along[name]) for name in along)
    truth, uncertainty = slope(
        lambda inputs: pair.imperative(inputs, "float64")["values.loss"].item(), pair.inputs, along
    )
    assume(uncertainty < 1e-3 * abs(truth))
    assert abs(told - truth) <= 2 * uncertainty


def budget(exact, coarse, entries):
    """What rounding may do: float32's error on float64's scale, or a random walk of a rounding per entry."""
    gap = max(np.abs(each - exact).max() for each in coarse)
    return max(2.0**-29 * gap, entries**0.5 * 1.1e-16 * np.abs(exact).max())


@settings(few, max_examples=10)
@given(pair=programs(names=[name for name in NAMES if name not in LOSSY], flavours=TAME))
def test_the_sides_of_a_tame_program_agree_in_float64_as_far_as_float32_foretells(pair):
    left, right = (side(pair.inputs, "float64") for side in (pair.imperative, pair.functional))
    coarse = [side(pair.inputs, "float32") for side in (pair.imperative, pair.functional)]
    entries = sum(array.size for array in pair.inputs.values())
    for name, value in left.items():
        allowed = budget(value, [each[name] for each in coarse], entries)
        assert np.abs(right[name] - value).max() <= 64 * allowed, name
