"""What a recording of either side of a pair notes, and what it leaves behind."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import functional.port
from imperative.port import Port
from scenarios.port import Arguments

POINTS = np.random.default_rng(0).standard_normal((4, 3))
IMAGES = np.random.default_rng(1).standard_normal((2, 3, 6, 6))


def recorded(target, *arrays, opened=(), dtype="float64"):
    port = Port(target, Arguments.of(arrays))
    given = port.arguments.arrays
    trace, _ = port.record(dict(port.parameters), given, dtype, opened=opened)
    return trace


def test_a_recording_keeps_no_tensor_alive_though_nothing_is_collected():
    made = []

    def function(x):
        hidden = torch.tanh(x)
        made.append(weakref.ref(hidden))
        return (hidden * hidden).sum()

    recorded(function, POINTS)  # what torch imports when it is first needed stays for longer
    gc.disable()
    try:
        recorded(function, POINTS)
        assert made[-1]() is None
    finally:
        gc.enable()


def test_a_tensor_is_not_taken_for_one_that_lay_at_its_address_before():
    def function(x):
        for k in range(20):
            x.detach().add(torch.from_numpy(np.full((4, 3), float(k))))
        return x.sum()

    trace = recorded(function, POINTS)
    taken = [trace.values[o.inputs[0]] for o in trace.operations if o.name == "lift_fresh"]
    assert [value.print.numbers[0] for value in taken] == list(range(20))
    assert all(value.operation is None for value in taken)


def test_batch_normalisation_in_training_is_opened_into_its_statistics_and_changes_them_once():
    module = nn.BatchNorm2d(3).train()
    closed, opened = (recorded(module, IMAGES, opened=o) for o in ((), {"native_batch_norm"}))
    assert len(opened.operations) > len(closed.operations)
    names = ["output", "updates.running_mean", "updates.running_var"]
    told = [[t.values[t.outputs[name]].print.numbers for name in names] for t in (closed, opened)]
    np.testing.assert_array_equal(told[0], told[1])
    mean = IMAGES.mean((0, 2, 3))
    assert any(np.allclose(v.print.numbers[0], mean.mean()) and v.print.size == 3 for v in opened.values)


def test_a_convolution_is_opened_into_one_without_bias_and_its_bias():
    module = nn.Conv2d(3, 2, 3)
    trace = recorded(module, IMAGES, opened={"convolution"})
    forward = [o for o in trace.operations if o.name in {"convolution", "add"}]
    assert [o.name for o in forward] == ["convolution", "add", "convolution"]
    plain, added, whole = (trace.values[o.outputs[0]].print for o in forward)
    assert not np.allclose(plain.numbers, whole.numbers)
    np.testing.assert_allclose(added.numbers, whole.numbers, rtol=1e-13)


def test_memory_that_nothing_was_written_to_yet_is_no_value():
    def function(x):
        held = torch.empty_like(x)
        held.copy_(x)
        return held * 2

    torch.use_deterministic_algorithms(True)  # it fills such memory with NaN
    try:
        trace = recorded(function, POINTS)
    finally:
        torch.use_deterministic_algorithms(False)
    empty = next(o for o in trace.operations if o.name == "empty_like")
    assert trace.values[empty.outputs[0]].print.constant


def test_a_coarse_recording_takes_the_same_way_and_is_off_by_the_roundoff_of_float32():
    def function(x):
        return jnp.where(x > 0, jnp.sin(x), -1e300) * (x + 1j)

    port = functional.port.Port(function, Arguments.of((POINTS,)))
    fine, coarse = (port.record({}, {"args[0]": POINTS}, "float64", coarse=c)[0] for c in (False, True))
    assert [o.name for o in fine.operations] == [o.name for o in coarse.operations]
    assert [v.dtype for v in fine.values] == [v.dtype for v in coarse.values]
    [sine, rounded] = (
        next(t.values[o.outputs[0]].print.numbers for o in t.operations if o.name == "sin")
        for t in (fine, coarse)
    )
    assert 2.0**-30 < np.abs(sine - rounded).max() < 2.0**-22
    assert not any(any(v.print.infinite) for t in (fine, coarse) for v in t.values[:-1])


def test_a_line_of_what_was_traced_before_it_ran_is_known_with_the_line_that_ran_it():
    def step(carry, x):
        return jnp.sin(carry) * x, carry

    def function(x):
        return jax.lax.scan(step, x[0], x)[0]

    port = functional.port.Port(function, Arguments.of((POINTS,)))
    trace, _ = port.record({}, port.arguments.arrays, "float64")
    sine = next(o for o in trace.operations if o.name == "sin")
    assert sine.source.line == step.__code__.co_firstlineno + 1
    assert sine.source.callers[0].line == function.__code__.co_firstlineno + 1


def test_a_line_is_known_with_the_lines_that_called_it():
    def inner(x):
        return torch.sin(x)

    def outer(x):
        return inner(x) * 2

    sine = next(o for o in recorded(outer, POINTS).operations if o.name == "sin")
    line = inner.__code__.co_firstlineno + 1
    assert (sine.source.file, sine.source.line) == (__file__, line)
    assert sine.source.callers[0].line == outer.__code__.co_firstlineno + 1
