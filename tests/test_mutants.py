"""The checker, checked: planted defects are found, honest variations pass, a blind judge is noticed."""

import importlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import scenarios
from compare import describe, mutants, twins
from compare.judge import SIDES, Trial, rounding
from compare.mutants import MUTANTS, Mutant, load, save
from compare.record import UnreadableRunError
from compare.twins import Twins

# What no functional program can do, since nothing in it is kept from one gradient to the next.
IMPERATIVE_ALONE = {"gradients never cleared"}
SMALL = ["leaves", "graph_walk", "chain_rule"]
HONEST = {
    "imperative": ["points reordered", "fused optimizer", "foreach optimizer", "optimizer written out"],
    "functional": ["points reordered", "unjitted", "columns", "optimizer written out"],
}


@cache
def planted(name, side, change):
    return twins.changed(name, side, change)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("defect", MUTANTS)
def test_every_defect_has_a_place_in_some_scenario_on_either_side(defect, side):
    if side == "functional" and defect in IMPERATIVE_ALONE:
        assert defect not in twins.changes()[side]
        return
    assert any(planted(statement.name, side, defect) for statement in scenarios.ALL)


@pytest.mark.parametrize("side", SIDES)
def test_what_both_sides_have_beside_a_defect_can_be_planted_wherever_the_defect_can(side):
    for defect, common in MUTANTS.items():
        for statement in scenarios.ALL:
            if defect in twins.changes()[side] and planted(statement.name, side, defect):
                assert all(planted(statement.name, other, common) for other in SIDES)


def test_every_defect_of_the_small_scenarios_is_found_or_changes_nothing():
    found = list(mutants.mutants(SMALL))
    assert {m.fate for m in found} == {"killed", "equivalent"}
    assert all(m.fates["float32"] == m.fates["float64"] for m in found)
    equivalent = {(m.scenario, m.defect) for m in found if m.fate == "equivalent"}
    # One backward has nothing to add up, and small integers are exact in float32.
    assert equivalent == {
        ("graph_walk", "gradients never cleared"),
        *((name, "float32 leak") for name in SMALL),
    }


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("activations", "leaky relu"),
        ("root_finding", "epsilon 1e-7"),
        ("root_finding", "weight decay 1e-8"),
        ("root_finding", "clipped with 1e-6"),
        ("three_neurons", "gradient off by 1e-12"),
        ("sine_polynomial", "mean for sum"),
        ("sine_polynomial", "frozen leaf"),
        ("sine_polynomial", "weight decay 1e-8"),
        ("line_network", "standardised with ddof 1"),
        ("line_network", "leaves of equal shape swapped"),
    ],
)
def test_a_defect_is_found_on_either_side_in_either_precision(name, defect):
    for mutant in mutants.mutants([name], [defect]):
        assert set(mutant.fates.values()) == {"killed"}
        assert mutant.evidence


def test_a_precision_leak_is_named_with_its_side():
    found = list(mutants.mutants(["three_neurons"], ["float32 leak"]))
    assert [m.side for m in found] == list(SIDES)
    for mutant in found:
        assert set(mutant.fates.values()) == {"killed"}
        assert f"a precision leak: the {mutant.side} side" in mutant.evidence


@pytest.mark.parametrize("name", ["three_neurons", "sine_network"])
@pytest.mark.parametrize("side", SIDES)
def test_an_honest_variation_of_a_side_is_rounding(name, side):
    statement = scenarios.get(name)
    training = statement.training and replace(statement.training, optimizer="other", steps=2)
    statement = replace(statement, training=training, published=(), limit={})
    for change in HONEST[side]:
        varied = planted(name, side, change)
        if varied is None:
            continue
        pair = {**{s: planted(name, s, "none") for s in SIDES}, side: varied}
        words = {f.word for f in Trial(Twins(statement, **pair)).findings()}
        assert words <= {"identical", "rounding", "vacuous"}, change


def test_planting_leaves_the_twin_of_everyone_else_as_it_was():
    for side in SIDES:
        module = importlib.import_module(f"{side}.root_finding")
        before = dict(vars(module))
        for change in twins.changes()[side]:
            twins.changed("root_finding", side, change)
        assert dict(vars(module)) == before


def test_a_blind_judge_lets_defects_survive_and_the_table_says_so(monkeypatch):
    monkeypatch.setattr(rounding, "SAFETY", 1e15)
    monkeypatch.setattr("compare.judge.truth.SAFETY", 1e15)
    found = list(mutants.mutants(["graph_walk"], ["gradient off by 1e-9", "scalars swapped"]))
    fates = {(m.defect, m.fate) for m in found}
    assert ("gradient off by 1e-9", "survived") in fates
    assert "and missed 2." in describe.kill_rate(found)
    assert "2 survived" in describe.kills(found).rows[0]


def crafted(**fates):
    return Mutant("leaves", "imperative", "a defect", fates, "evidence", np.float64(np.inf))


@pytest.mark.parametrize(
    ("single", "double", "fate"),
    [
        ("killed", "killed", "killed"),
        ("killed", "survived", "survived"),
        ("survived", "killed", "survived"),
        ("equivalent", "killed", "killed"),
        ("equivalent", "equivalent", "equivalent"),
    ],
)
def test_surviving_in_one_precision_is_surviving(single, double, fate):
    assert crafted(float32=single, float64=double).fate == fate


def test_mutants_are_kept_beside_a_run_and_come_back(tmp_path):
    kept = (crafted(float32="killed", float64="killed"), crafted(float32="equivalent", float64="survived"))
    assert load(tmp_path) == ()
    save(tmp_path, kept)
    assert load(tmp_path) == kept


@pytest.mark.parametrize("damage", [(b"killed", b"bored"), (b'"schema_version":2', b'"schema_version":9')])
def test_a_damaged_file_of_mutants_is_one_clear_sentence(tmp_path, damage):
    save(tmp_path, [crafted(float32="killed", float64="killed")])
    path = tmp_path / "mutants.json"
    path.write_bytes(path.read_bytes().replace(*damage))
    with pytest.raises(UnreadableRunError, match=r"mutants\.json"):
        load(tmp_path)


def test_an_unknown_scenario_is_answered_with_the_nearest_name():
    with pytest.raises(scenarios.UnavailableError, match="did you mean 'leaves'"):
        list(mutants.mutants(["leafs"]))
