"""Reading a file of weights without running anything in it."""

import pickle
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from epsball.errors import InputError
from epsball.models.file_kind import archive_members, file_kind, is_torchscript

_SAVE = "Save the state dict alone: torch.save(model.state_dict(), FILE), or as safetensors."


def read_checkpoint(path: Path) -> object:
    """Return what a file of weights holds: tensors in mappings and lists, on the CPU.

    Safetensors files hold numbers only. Files of ``torch.save`` are read with
    ``weights_only=True``, which builds tensors and plain containers and refuses to call
    anything else; what it refuses is refused here, whoever wrote the file.

    Parameters
    ----------
    path
        A ``.safetensors`` file, or one written by ``torch.save`` (under any name).

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, or needs code to be run.
    """
    kind = file_kind(path)
    if (kind == "safetensors") != (path.suffix == ".safetensors"):
        seen = "no safetensors file" if path.suffix == ".safetensors" else "a safetensors file"
        raise InputError(f"{path} is {seen} by its content ({kind}). Give it the name of what it is.")
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "zip":
        _check_torch_archive(path)
    elif kind == "pickle":
        raise InputError(f"{path} is a plain pickle, which can run code when it is read. {_SAVE}")
    elif kind != "torch-legacy":
        raise InputError(f"{path} is not a file of weights ({kind} content). {_SAVE}")
    return read_torch(path, str(path))


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is a damaged safetensors file ({error}). Download or save it again.") from error


def _check_torch_archive(path: Path) -> None:
    if is_torchscript(path):
        raise InputError(
            f"{path} is a TorchScript archive, which holds code. If you trust it, run it as the model, "
            f"torchscript:{path}. {_SAVE}"
        )
    members = archive_members(path)
    files = {Path(name).name for name in members}
    if any(name.endswith(".npy") for name in members):
        raise InputError(f"{path} is an archive of numpy arrays, not a state dict. {_SAVE}")
    if "archive_format" in files:
        raise InputError(f"{path} is an exported program, which is a whole model: give it as NAME, named .pt2.")
    if "data.pkl" not in files:
        raise InputError(f"{path} is a zip archive that torch.save did not write. {_SAVE}")


def read_torch(source: Path | BytesIO, name: str) -> Any:
    """Return what ``torch.save`` wrote, if it is tensors in plain containers.

    Raises
    ------
    InputError
        If it is anything else, or damaged; `name` says of what.
    """
    try:
        with warnings.catch_warnings():
            # The error below says it too.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = (
            f"it names {named[1]}, so reading it could run code"
            if named
            else "it holds more than tensors, or was saved with a pickle protocol above 2"
        )
        raise InputError(f"{name} was not read: {why}. {_SAVE}") from error
    except Exception as error:
        # The bytes are anyone's: whatever they make the reader trip over, the file is at fault.
        raise InputError(
            f"{name} is cut off or damaged ({type(error).__name__}: {_first_line(error)}). Download or save it again."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
