"""A fault as a script: it runs by itself, and shows the difference that was reported."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from compare.port.check import check
from compare.port.export import ExportError, export

POINTS = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
KERNEL = np.random.default_rng(1).standard_normal((4, 3, 3)).astype(np.float32)


def gelu(params, x):
    return nn.functional.gelu(x * params["k"].sum())


def convolution(params, x):
    return nn.functional.conv1d(x, params["k"], padding=1)


def average(params, x):
    return (x * params["k"].sum()).mean(-1)


def convolved(params, x):
    return jax.lax.conv_general_dilated(x, params["k"], (1,), [(2, 0)])


def dropped(params, x):
    mask = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
    return jax.nn.gelu(x * params["k"].sum() * mask, approximate=False)


def first(imperative, functional):
    return check(imperative, functional, {"k": KERNEL}, (POINTS,)).first_difference


@pytest.mark.parametrize(
    ("imperative", "functional"),
    [
        (gelu, lambda params, x: jax.nn.gelu(x * params["k"].sum())),
        (convolution, convolved),
        (average, lambda params, x: (x * params["k"].sum()).sum(-1)),
    ],
    ids=["gelu", "convolution", "average"],
)
def test_the_script_runs_without_us_and_prints_the_reported_difference(imperative, functional, tmp_path):
    fault = first(imperative, functional)
    script = export(fault, tmp_path / "new" / "place")
    alone = [sys.executable, "-W", "error", "-c", ALONE.format(script=str(script))]
    ran = subprocess.run(alone, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    said, _, number = ran.stdout.strip().splitlines()[-1].rpartition(" ")
    assert said == "largest difference"
    assert float(number) == pytest.approx(fault.local, rel=1e-9)
    assert fault.local > 0


# Whoever runs it has none of our packages.
ALONE = """
import runpy, sys
for ours in ("compare", "imperative", "functional", "scenarios"):
    sys.modules[ours] = None
runpy.run_path({script!r}, run_name="__main__")
"""


def test_what_draws_random_numbers_cannot_be_written_and_is_named(tmp_path):
    with pytest.raises(ExportError, match="random_bits, on the functional side, has no public name"):
        export(first(gelu, dropped), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_gradient_that_is_stopped_cannot_be_written(tmp_path):
    verdict = check(lambda x: torch.tanh(x.detach() * x), lambda x: jnp.tanh(x * x), None, (np.ones(3),))
    with pytest.raises(ExportError, match="a gradient is held back, which no operation does"):
        export(verdict.first_difference, tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    fault = first(average, lambda params, x: (x * params["k"].sum()).sum(-1))
    with pytest.raises(ExportError, match="file: cannot be written"):
        export(fault, tmp_path / "file")


def test_the_imperative_value_is_kept_as_it_was(tmp_path):
    fault = first(average, lambda params, x: (x * params["k"].sum()).sum(-1))
    export(fault, tmp_path)
    kept = np.load(tmp_path / "values.npz", allow_pickle=False)["wanted"]
    scaled = torch.tensor(POINTS, dtype=torch.float64) * torch.tensor(KERNEL, dtype=torch.float64).sum()
    assert np.allclose(kept, scaled.mean(-1).numpy(), rtol=1e-12, atol=0)
