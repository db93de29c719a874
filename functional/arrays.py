"""The border: NumPy in, NumPy out, always a copy; and the context that fixes a run's precision and device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from scenarios.types import Arrays, Device, Dtype, UnavailableError

try:
    from jax import enable_x64
except ImportError:  # its public name is younger than the oldest jax that is supported
    from jax.experimental import enable_x64  # type: ignore[attr-defined,no-redef]

Pytree = dict[str, jax.Array]


def select(device: Device = "auto") -> jax.Device:
    """The jax device called ``auto``, ``cpu`` or ``gpu``; ``auto`` is the GPU where there is one.

    Raises:
        UnavailableError: a GPU is asked for and JAX sees none.
    """
    if device == "cpu" or (device == "auto" and jax.default_backend() != "gpu"):
        return jax.devices("cpu")[0]
    if jax.default_backend() != "gpu":
        raise UnavailableError("JAX sees no GPU on this machine: ask for the device 'cpu' or 'auto'.")
    return jax.devices("gpu")[0]


@contextmanager
def running(dtype: Dtype = "float32", device: Device = "auto") -> Iterator[None]:
    """Run in ``dtype`` on ``device``: 64-bit types exist only inside it, and products keep full precision."""
    with (
        enable_x64(dtype == "float64"),
        jax.default_device(select(device)),
        jax.default_matmul_precision("highest"),
    ):
        yield


def enter(arrays: Arrays, dtype: Dtype = "float32") -> Pytree:
    """Copy NumPy arrays into a pytree of the run's dtype; call it inside :func:`running`."""
    return {name: jnp.array(array, dtype=dtype) for name, array in arrays.items()}


def leave(tree: Mapping[str, jax.Array]) -> Arrays:
    """Copy a flat pytree out to NumPy; reading it waits until the device has finished."""
    return {name: np.array(array) for name, array in tree.items()}


def environment(device: Device = "auto") -> dict[str, str]:
    """Version and device of this side, for the saved run."""
    place = select(device)
    return {
        "jax": jax.__version__,
        "device": place.device_kind,
        "float32 matmul precision": "highest",
    }
