"""Ports of the kind that people write: honest ones are judged so, and what is planted in them is found."""

import functools

import pytest

import pairs
from compare.port.check import Pair
from pairs.faults import FAULTS


def made(name, *faults, by=None):
    module = pairs.load(name, *faults)
    function, tree = module.functional()
    losses = (module.imperative_loss, module.functional_loss) if hasattr(module, "imperative_loss") else None
    return Pair(module.imperative(), function, None, module.args(), pytree=tree, loss=losses, map=by)


@functools.cache
def honest(name):
    return made(name)


@pytest.mark.parametrize("name", pairs.NAMES)
def test_an_honest_port_is_judged_to_differ_by_rounding_alone_in_either_precision(name):
    pair = honest(name)
    assert {pair.verdict(dtype).word for dtype in ("float64", "float32")} <= {"identical", "rounding"}


# By pair and line: faults of different kinds.
PLANTED = [
    fault
    for fault in FAULTS
    if (fault.pair, fault.side, pairs.line(fault))
    in {
        ("mlp_plain", "functional", 39),
        ("mlp_plain", "functional", 43),
        ("mlp_linen", "functional", 65),
        ("mlp_linen", "imperative", 34),
        ("mlp_equinox", "functional", 58),
        ("mlp_equinox", "functional", 60),
        ("mlp_haiku", "functional", 40),
        ("mlp_haiku", "functional", 42),
        ("mdn_nnx", "functional", 66),
    }
]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: f"{fault.pair}:{pairs.line(fault)}")
def test_a_planted_fault_is_found_at_its_line_and_no_wrong_cause_is_named(fault):
    verdict = made(fault.pair, fault, by=honest(fault.pair).map).verdict("float64")
    assert verdict.word == "different"
    first = verdict.first_difference
    site = first.functional if fault.side == "functional" else first.imperative
    assert (site.source.file.rpartition("/")[2], site.source.line) == (f"{fault.pair}.py", pairs.line(fault))
    assert first.cause in {fault.cause or "", ""}
