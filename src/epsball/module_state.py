"""Using a module and restoring its state."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch import nn

from epsball.deployed_state import DeployedState
from epsball.errors import ModelError
from epsball.generator_state import preserved


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode inside the block; every submodule's mode is restored.

    The flags are set directly: ``eval`` may run the caller's code, and exported programs refuse it.
    Frozen TorchScript modules have no mode to set.
    """
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def untouched(module: nn.Module, parameters: frozenset[str] | None = None) -> Iterator[DeployedState]:
    """Switch `module` to evaluation mode with frozen parameters; restore everything afterwards.

    Every submodule's mode, every parameter's ``requires_grad``, the global generators and whatever
    `DeployedState` sees are restored, also after an exception. Two threads must not enter the block
    for one module at once.

    Parameters
    ----------
    module, parameters
        As for `DeployedState`.

    Raises
    ------
    ModelError
        If the module changed something that cannot be restored.
    """
    # What was made in inference mode has no gradients, and flags that cannot be put back.
    trainable = [parameter for parameter in module.parameters() if not parameter.is_inference()]
    flags = [(parameter, parameter.requires_grad) for parameter in trainable]
    with preserved(), evaluating(module):
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            with _restored(DeployedState(module, parameters)) as state:
                yield state
        finally:
            for parameter, needed in flags:
                if parameter.requires_grad != needed:
                    parameter.requires_grad_(needed)


@contextmanager
def _restored(state: DeployedState) -> Iterator[DeployedState]:
    """Restore the state of a module after the block; an exception of the block goes first."""
    try:
        yield state
    except BaseException:
        with suppress(ModelError):
            state.restore()
        raise
    state.restore()
