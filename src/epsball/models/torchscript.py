"""``torchscript:FILE``: a program of ``torch.jit.save``, run as it is."""

from pathlib import Path

import torch
from torch import Tensor, nn

from epsball.errors import InputError, ModelError, first_line
from epsball.models.file_kind import file_kind, is_torchscript
from epsball.models.loaded_model import Known, LoadedModel, refuse_more
from epsball.models.model_text import ModelText


class TorchScriptProgram(nn.Module):
    """A TorchScript program as a module, interpreted without optimisation.

    The optimising executor changes how a program is computed after its first runs, and with it the rounding.

    Parameters
    ----------
    program
        What ``torch.jit.load`` returned.
    """

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            return self.program(x)


def torchscript(request: ModelText, known: Known) -> LoadedModel:
    """Load a TorchScript archive. Its code may call any operator of PyTorch, those that write files included.

    Raises
    ------
    InputError
        If the file is not a TorchScript archive.
    ModelError
        If PyTorch cannot load it.
    """
    refuse_more(request, "a TorchScript archive is a whole model", ("mean", "std", "shape", "classes"))
    path = Path(request.name.removeprefix("torchscript:")).expanduser()
    kind = file_kind(path)
    if not is_torchscript(path):
        raise InputError(f"{path} is not a TorchScript archive ({kind} content); those are written by torch.jit.save.")
    try:
        program = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise ModelError(f"PyTorch cannot load the program in {path}: {first_line(error, 300)}.") from error
    return LoadedModel(
        module=TorchScriptProgram(program),
        mean=request.mean,
        std=request.std,
        shape=known["shape"],
        classes=known["classes"],
        text=request.text,
        name=request.name,
        architecture=request.architecture,
        weights=path,
        notes=(f"{path.name} is a TorchScript program: it is run, and attacked; certificates cannot be made of it.",),
    )
