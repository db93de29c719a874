"""The hand-written C that marks the floor of the machine computes what the twins compute."""

import pytest

import scenarios
from compare.timing.judging import judged
from floor.variants import LAYOUT, variants
from scenarios.sizes import scaled


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYOUT)
def test_the_floor_trains_as_the_twins_do(name, dtype):
    assert judged(scenarios.get(name), "floor.variants", "C", dtype, "cpu") == ""


@pytest.mark.parametrize("sizes", [{"width": 3, "points": 7}, {"width": 16}, {"width": 33, "points": 50}])
def test_the_floor_trains_networks_of_any_size(sizes):
    statement = scaled(scenarios.get("sine_network"), steps=20, **sizes)
    assert judged(statement, "floor.variants", "C", "float64", "cpu") == ""


def test_the_floor_has_nothing_for_what_is_not_written_in_c():
    assert variants(scenarios.get("line_network")) == ()
    assert variants(scenarios.get("sine_network"), "gpu") == ()
