"""Ports of the kind that people write: honest ones are judged so, and what is planted in them is found."""

import functools

import jax
import numpy as np
import pytest
import torch
from torch import nn

import pairs
from compare.port.check import check
from pairs.faults import FAULTS


@functools.cache
def honest(name):
    return pairs.made(name)


@pytest.mark.parametrize("name", pairs.NAMES)
def test_an_honest_port_is_judged_to_differ_by_rounding_alone_in_either_precision(name):
    pair = honest(name)
    assert {pair.verdict(dtype).word for dtype in ("float64", "float32")} <= {"identical", "rounding"}


# By pair, side and line: faults of different kinds, with the cause that a probe confirms.
PLANTED = {
    ("mlp_plain", "functional", 39): "transposed weight",
    ("mlp_plain", "functional", 41): "gelu",
    ("mlp_plain", "functional", 43): "",
    ("mlp_linen", "functional", 65): "constant factor",
    ("mlp_linen", "imperative", 34): "constant factor",
    ("mlp_equinox", "functional", 58): "ddof",
    ("mlp_equinox", "functional", 60): "",
    ("mlp_haiku", "functional", 40): "epsilon value",
    ("mlp_haiku", "functional", 42): "softmax axis",
    ("mdn_nnx", "functional", 66): "softmax axis",
    ("mlp_train_plain", "functional", 60): "transposed weight",
}


@pytest.mark.parametrize("place", PLANTED, ids=lambda place: ":".join(map(str, place)))
def test_a_planted_fault_is_found_at_its_line_and_its_cause_is_named(place):
    fault = next(f for f in FAULTS if (f.pair, f.side, pairs.line(f)) == place)
    verdict = pairs.made(fault.pair, fault, by=honest(fault.pair).map).verdict("float64")
    assert verdict.word == "different"
    first = verdict.first_difference
    site = first.functional if fault.side == "functional" else first.imperative
    assert (site.source.file.rpartition("/")[2], site.source.line) == (f"{fault.pair}.py", pairs.line(fault))
    assert first.cause == PLANTED[place]


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


TREE = {n: np.zeros(shape, np.float32) for n, shape in (("w", (3, 5)), ("b", 5), ("v", (5, 2)), ("c", 2))}
POINTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def port(p, x):
    return jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"] + p["c"]


def test_a_factor_of_two_is_no_variance_whatever_shapes_are_two():
    verdict = check(network(), lambda p, x: 2 * port(p, x), args=(POINTS,), pytree=TREE)
    first = verdict.first_difference
    assert (first.kind, first.cause) == ("extra", "constant factor")
    assert "2 times" in first.evidence


@pytest.mark.parametrize(
    "wrong", [lambda p, x: port(p, x).T, lambda p, x: (port(p, x), x)], ids=["transposed", "more outputs"]
)
def test_outputs_that_cannot_be_compared_are_told_of_and_nothing_else_is_blamed(wrong):
    verdict = check(network(), wrong, args=(POINTS,), pytree=TREE)
    assert (verdict.word, verdict.faults) == ("different", ())
    assert "No operation was found" in str(verdict)
    assert "output" in str(verdict)
