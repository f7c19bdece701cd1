"""`Network`: the module tree that a comparison observes, and the callable that runs it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from epsball.classifier import Classifier
from epsball.classifier.guards import explain_failure
from epsball.deployed_state import DeployedState
from epsball.errors import EpsballError, ModelError
from epsball.module_state import untouched
from epsball.plain import plain

Hook = Callable[[nn.Module, Any, Any], None]


@dataclass(frozen=True)
class Network:
    """The module tree that is observed and the callable that runs it."""

    root: nn.Module
    run: Callable[[Tensor], object]
    _states: list[DeployedState] = field(default_factory=list, init=False, repr=False, compare=False)

    def __call__(self, x: Shaped[Tensor, "n *shape"]) -> object:
        """Return the output on a batch, by the network as it was at the beginning of `in_use`.

        Raises
        ------
        ModelError
            If the model fails on it.
        """
        state = self._states[-1] if self._states else None
        if state is not None:
            state.before_pass()
        try:
            output = self.run(plain(x))
        except EpsballError:
            raise
        except Exception as error:
            raise ModelError(explain_failure(x, error)) from error
        if state is not None:
            state.after_pass()
        return output

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Run the network module by module in evaluation mode and without gradients; restore it after the block.

        Compiled parts run uncompiled and attention runs without its fused path: both would hide layers,
        more or fewer of them depending on which are observed.
        """
        fused = torch.backends.mha.get_fastpath_enabled()
        with untouched(self.root) as state, torch.inference_mode(False), torch.no_grad(), _uncompiled(self.root):
            self._states.append(state)
            try:
                torch.backends.mha.set_fastpath_enabled(False)
                yield
            finally:
                self._states.pop()
                torch.backends.mha.set_fastpath_enabled(fused)

    def to_model(self, x: Tensor) -> Tensor:
        """Return `x` on the network's device and, if `x` is floating, in its floating dtype.

        For a network on several devices: the device of `x` if it is one of them, else that of the first tensor.
        """
        held = [*self.root.parameters(), *self.root.buffers()]
        devices = [t.device for t in held]
        device = x.device if not devices or x.device in devices else devices[0]
        if not x.is_floating_point():
            return x.to(device)
        return x.to(device, next((t.dtype for t in held if t.is_floating_point()), x.dtype))


def network(model: object) -> Network:
    """Return the module tree and the callable of a model.

    A module runs itself; compiled and data-parallel wrappers are removed, since they hide or split
    what runs. Anything else must be callable and hold its module as `.module` (a `Classifier` does:
    its normalisation runs, but is not a layer).

    Raises
    ------
    ModelError
        If the model is neither, or holds a scripted graph (whose modules do not run one by one) or
        lazy parameters.
    """
    if isinstance(model, nn.Module):
        root = _unwrapped(model)
        found = Network(root, root)
    else:
        inner = getattr(model, "module", None)
        if not (callable(model) and isinstance(inner, nn.Module)):
            raise ModelError(
                f"the model is a {type(model).__name__}; give a torch.nn.Module, or a callable "
                "that holds one as `.module` (an epsball Classifier)."
            )
        found = Network(inner, _whole_batches(model) if isinstance(model, Classifier) else model)
    _check_watchable(found.root)
    return found


def _whole_batches(classifier: Classifier) -> Callable[[Tensor], object]:
    """Return the classifier's pass over a batch as one: its `logits` go block by block, which splits layers' rows."""
    return lambda x: classifier.forward(classifier.to_model(x))


def _check_watchable(root: nn.Module) -> None:
    for name, module in root.named_modules():
        where = f"module '{name}'" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"{where} is a scripted graph, whose layers cannot be observed. Pass the Python module.")
        if any(nn.parameter.is_lazy(tensor) for tensor in (*module.parameters(False), *module.buffers(False))):
            raise ModelError(f"{where} has lazy parameters that no input has shaped yet. Run the model once first.")


def _unwrapped(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    original = getattr(module, "_orig_mod", None)
    return _unwrapped(original) if isinstance(original, nn.Module) else module


def _uncompiled(root: nn.Module) -> AbstractContextManager[object]:
    """Return a context in which compiled parts run uncompiled; entered only if there are any, as it costs seconds."""
    compiled = any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in root.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def hooked(before: Mapping[nn.Module, Any], after: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Call ``before[m](m, args, kwargs)`` before and ``after[m](m, args, output)`` after every run of a module m."""
    with ExitStack() as stack:
        for module, hook in before.items():
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module, hook in after.items():
            stack.callback(module.register_forward_hook(hook).remove)
        yield
