"""Whether a module is one function of its input: not of the gradient mode, nor of the calls before."""

import copy
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.graph.agreement import compare

_MODES = (torch.is_grad_enabled, torch.is_inference_mode_enabled)
_TORCH = str(Path(str(torch.__file__)).parent)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))

State = dict[tuple[int, str], Any]
"""Attributes that hold numbers and text, by the submodule's place and the attribute's name."""


class Again(NamedTuple):
    """What a second call returned, and whether the module's own code asked for the gradient mode."""

    result: Any
    asks_for_mode: bool


def called_again(module: nn.Module, x: Tensor) -> Again:
    """Call a module that was called before, and return what happened.

    Raises
    ------
    ModelError
        If numbers in its attributes go on changing from call to call.
    """
    before = _plain_state(module)
    asks = False

    def record(frame: Any, event: str, function: Any) -> None:
        nonlocal asks
        if event == "c_call" and function in _MODES and not frame.f_code.co_filename.startswith(_TORCH):
            asks = True

    profile = sys.getprofile()
    sys.setprofile(record)
    try:
        result = module(x.clone())
    finally:
        sys.setprofile(profile)
    moved = [name for _, name in _changed(before, _plain_state(module))]
    if moved:
        raise _moving(module, f"writes to its attribute '{moved[0]}' in every call, in evaluation too")
    return Again(result, asks)


def check_calls(module: nn.Module, first: Any, second: Any) -> None:
    """Raise a `ModelError` if a module returned something else in its second call."""
    if isinstance(first, Tensor) and isinstance(second, Tensor) and not _agree(first, second, module):
        raise _moving(module, "returns other logits in its second call, of the same inputs, than in its first")


def check_gradient_mode(
    module: nn.Module, x: Tensor, without: Any, *, asks: bool, same_program: Callable[[], bool]
) -> None:
    """Raise a `ModelError` if a module computes something else with gradients on, as attacks use it.

    Parameters
    ----------
    module, x, without
        The module, and what it returns for x without gradients.
    asks
        Whether the module's own code asks for the mode.
    same_program
        Whether it is the same program with gradients on; called where it asks.
    """
    found = None
    with torch.enable_grad(), suppress(RuntimeError):
        found = module(x.clone().requires_grad_().clone())
    if isinstance(found, Tensor) and isinstance(without, Tensor) and not _agree(found.detach(), without, module):
        raise _depends(module)
    if asks and not same_program():
        raise _depends(module)


def _agree(found: Tensor, expected: Tensor, module: nn.Module) -> bool:
    try:
        compare(found, expected, type(module).__name__)
    except ModelError:
        return False
    return True


def _moving(module: nn.Module, what: str) -> ModelError:
    return ModelError(
        f"{type(module).__name__} {what}, so that its logits may change from call to call. Write to its attributes "
        "only where self.training."
    )


def _depends(module: nn.Module) -> ModelError:
    return ModelError(
        f"{type(module).__name__} computes something else with gradients on than under torch.no_grad(), as it is "
        "deployed: attacks and certificates would be about two functions. Remove the branch on the gradient mode."
    )


def _plain_state(module: nn.Module) -> State:
    return {
        (number, name): copy.deepcopy(value)
        for number, part in enumerate(module.modules())
        for name, value in vars(part).items()
        if name != "training" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _changed(before: State, after: State) -> State:
    """Return what of a state differs afterwards, as it was before."""
    return {key: value for key, value in before.items() if repr(after.get(key)) != repr(value)}
