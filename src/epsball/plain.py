"""Tensors and modules as PyTorch makes them outside inference mode and without detours: what models can be given."""

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from epsball.errors import ModelError


def plain(tensor: Tensor) -> Tensor:
    """Return a tensor laid out like ``torch.rand`` of its shape, of use for gradients; itself if it is so already.

    Examples
    --------
    >>> plain(torch.rand(2, 5, 5, 1).permute(0, 3, 1, 2)).stride()
    (25, 25, 5, 1)
    """
    if tensor.layout != torch.strided or (_has_plain_strides(tensor) and not tensor.is_inference()):
        return tensor
    with torch.inference_mode(False):
        return tensor.clone(memory_format=torch.contiguous_format)


def _has_plain_strides(tensor: Tensor) -> bool:
    """Return whether strides are those of a new tensor; `is_contiguous` ignores axes of length 1, kernels do not."""
    expected = 1
    for length, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != expected:
            return False
        expected *= max(1, length)
    return True


def plain_module(module: nn.Module) -> nn.Module:
    """Return a module whose tensors were not made in inference mode: itself, or a copy.

    Raises
    ------
    ModelError
        If it would have to be copied and cannot be.
    """
    named = chain(module.named_parameters(), module.named_buffers())
    name = next((name for name, tensor in named if tensor.is_inference()), None)
    if name is None:
        return module
    try:
        with torch.inference_mode(False):
            return copy.deepcopy(module)
    except Exception as error:
        raise ModelError(
            f"'{name}' of the model was made under torch.inference_mode, through which no gradient passes, and the "
            f"model cannot be copied ({type(error).__name__}: {error}). Build it outside that mode."
        ) from error
