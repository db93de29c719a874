"""A bounded sample of the soak: honest programs and honest variations are never called different."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import scenarios
from compare import twins
from compare.judge import SIDES, Trial, examine
from compare.twins import Twins
from programs import programs
from soak import HONEST, elsewhere


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(pair=programs())
def test_random_programs_written_in_both_frameworks_are_never_different(pair):
    found = examine(pair.imperative, pair.functional, pair.inputs)
    assert "different" not in {finding.word for finding in (*found.higher, *found.lower)}, pair.text


@pytest.mark.parametrize("name", ["root_finding", "sine_polynomial", "three_neurons", "activations"])
def test_honest_variations_from_random_starts_are_never_different(name):
    random = np.random.default_rng(2026)
    planted = {
        side: [t for c in HONEST[side] if c != "unjitted" and (t := twins.changed(name, side, c))]
        for side in SIDES
    }
    for _ in range(3):
        sides = [planted[side][random.integers(len(planted[side]))] for side in SIDES]
        trial = Trial(Twins(elsewhere(scenarios.get(name), random), *sides))
        assert "different" not in {finding.word for finding in trial.findings()}
