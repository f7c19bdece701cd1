"""`Observer`: runs a network on batches and keeps, for every layer, the kernel on the batch's rows.

The kernel is computed inside the forward hook, when a module returns: a later in-place operation
cannot change it, and features are freed as soon as the network frees them.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.full_precision import full_precision
from epsball.similarity.gram import ORDINARY, BlockGram, linear_gram, variation
from epsball.similarity.hsic import Estimator, KernelStack
from epsball.similarity.kernels import Kernel
from epsball.similarity.layers import Layer, Output
from epsball.similarity.network import Network, hooked
from epsball.similarity.probe import tensors, watchable
from epsball.similarity.row_shift import marked_rows


@dataclass(frozen=True)
class _Fixed:
    """What a layer keeps for the whole comparison: the scale of its features and the width of its kernel."""

    scale: float
    width: float


class Observer:
    """One network, the layers observed in it, and what these keep from batch to batch.

    Parameters
    ----------
    network
        The network, in use (`Network.in_use`) while the observer is called.
    layers
        The layers, in the order of the stack.
    kernel, estimator
        What is stored for each layer.

    Attributes
    ----------
    undefined
        For layers that have not varied so far, why their similarity is not defined.
    remarks
        For layers that have, what rounding does to them.
    """

    def __init__(self, network: Network, layers: Sequence[Layer], kernel: Kernel, estimator: Estimator) -> None:
        self.network, self.layers = network, list(layers)
        self.kernel = kernel
        self.estimator: Estimator = estimator
        self._wanted = {layer.output: i for i, layer in enumerate(self.layers)}
        self._fixed: dict[int, _Fixed] = {}
        self.undefined: dict[str, str] = {}
        self.remarks: dict[str, str] = {}

    def __call__(self, x: Shaped[Tensor, "n *shape"], bounds: list[int]) -> KernelStack:
        """Return the kernels of all layers on one batch, followed by that of the marked rows.

        Raises
        ------
        ModelError
            If the model fails, a layer does not run, or its activations are not finite.
        """
        stack = KernelStack(bounds, len(self.layers) + 1, self.estimator, _home(x.device))
        stack.store(len(self.layers), marked_rows(bounds, stack.slabs[0].device))
        missing = set(range(len(self.layers)))

        def store(index: int, value: Tensor) -> None:
            missing.discard(index)
            gram = self._gram(index, value, bounds)
            if gram is not None and self._fixed[index].width > 0.0:
                stack.store(index, self.kernel(gram, self._fixed[index].width))

        self._pass(x, store)
        if missing:
            name = self.layers[min(missing)].name
            raise ModelError(
                f"layer '{name}' did not run on a batch of {len(x)} rows, though it ran on a few: the network "
                "takes different paths for different inputs. Leave this layer out (layers=)."
            )
        return stack

    def fix_width(self, x: Shaped[Tensor, "n *shape"], bounds: list[int]) -> None:
        """Fix, for each layer, the scale of its features and the width of its kernel on a sample of rows.

        A layer that does not vary on them is fixed by the first batch on which it does.

        Raises
        ------
        ModelError
            If the model fails, or the activations of a layer are not finite.
        """
        self._pass(x, lambda index, value: self._gram(index, value, bounds))

    def _pass(self, x: Shaped[Tensor, "n *shape"], seen: Callable[[int, Tensor], object]) -> None:
        """Run the network and call ``seen(index, value)`` when an observed layer returns its value."""
        names = watchable(self.network.root)
        watched = {layer.output.module for layer in self.layers}
        calls: Counter[nn.Module] = Counter()

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            calls[module] += 1
            for path, value in tensors(result):
                index = self._wanted.get(Output(names[module], calls[module], path))
                if index is not None:
                    with full_precision(_home(value.device)):
                        seen(index, value)

        with hooked({}, {module: leave for module, name in names.items() if name in watched}):
            self.network(x)

    def _gram(self, index: int, value: Tensor, bounds: list[int]) -> BlockGram | None:
        """Return the scaled inner products of a layer's centred features; None if it has not varied so far."""
        layer = self.layers[index]
        features = layer.features(value, bounds[-1]).detach()
        features = features.to(_home(features.device))
        fixed = self._fixed.get(index)
        scale = fixed.scale if fixed else self._measured(layer, features)
        if scale == 0.0:
            return None
        gram = linear_gram(features, bounds, scale)
        if not torch.isfinite(gram.diagonal()).all():
            raise ModelError(_not_finite(layer, features))
        if fixed is None:
            self._fixed[index] = _Fixed(scale, self.kernel.width(gram))
        return gram

    def _measured(self, layer: Layer, features: Tensor) -> float:
        """Return the scale of a layer's features, 0 if they do not vary; note why, and what rounding does to them."""
        found = variation(features)
        if not math.isfinite(found.peak):
            raise ModelError(_not_finite(layer, features))
        if found.undefined is not None:
            self.undefined[layer.name] = found.undefined
            return 0.0
        self.undefined.pop(layer.name, None)
        if found.remark is not None:
            self.remarks[layer.name] = found.remark
        return _scale(found.peak)


def _scale(peak: float) -> float:
    """Return 1, or the power of two near 1/peak if fourth powers might overflow or underflow."""
    if 1 / ORDINARY <= peak <= ORDINARY:
        return 1.0
    return 2.0 ** max(-1000, min(1000, -round(math.log2(peak))))


def _not_finite(layer: Layer, features: Tensor) -> str:
    bad = int((~torch.isfinite(features).flatten(1).all(1)).sum())
    seen = f"{bad} of {len(features)} rows hold NaN or infinity" if bad else "they exceed the range of float32"
    return (
        f"the activations of layer '{layer.name}' are not finite: {seen}. "
        "Check the input, the weights and the precision, or leave this layer out (layers=)."
    )


def _home(device: torch.device) -> torch.device:
    """Return the device on which kernels are kept: that of the features, unless it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device
