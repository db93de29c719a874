"""The border: NumPy in, NumPy out, always a copy (``from_numpy`` and ``.numpy()`` alias memory)."""

from collections.abc import Mapping

import numpy as np
import torch

from scenarios.types import Arrays, Device, Dtype, UnavailableError


def select(device: Device = "auto") -> torch.device:
    """The torch device called ``auto``, ``cpu`` or ``gpu``; ``auto`` is the GPU where there is one.

    Raises:
        UnavailableError: a GPU is asked for and PyTorch sees none.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UnavailableError("PyTorch sees no GPU on this machine: ask for the device 'cpu' or 'auto'.")
    return torch.device("cuda")


def enter(arrays: Arrays, dtype: Dtype = "float32", device: Device = "auto") -> dict[str, torch.Tensor]:
    """Copy NumPy arrays into fresh tensors of the run's dtype on the run's device."""
    place = select(device)
    return {
        name: torch.tensor(np.asarray(array, dtype=dtype), device=place) for name, array in arrays.items()
    }


def leave(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Copy tensors out to NumPy; reading them waits until the device has finished."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def environment(device: Device = "auto") -> dict[str, str]:
    """Version, threads, device and matrix-multiplication precision of this side, for the saved run."""
    place = select(device)
    return {
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "float32 matmul precision": torch.get_float32_matmul_precision(),
    }
