"""The network as training runs it: memory layout, precision, compilation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks.engine.evaluator import lay_out
from epsball.errors import ModelError
from epsball.module_state import untouched
from epsball.recipe import Recipe


class Network(nn.Module):
    """Raw pixels to logits in the module's dtype, run as the recipe says; what objectives train.

    Images go in channels last where the module takes that: convolutions are then faster on every
    device tried. Under bf16 the forward pass is autocast and the logits come back as float32.

    Parameters
    ----------
    network
        The module behind its `Normalise`; its convolutions' weights are laid out in place.
    example
        A few inputs (n, *shape), on its device, to find out which layout it accepts.
    recipe
        Its `precision` and `compile`.

    Raises
    ------
    ModelError
        If bf16 is asked of a module that is not float32.
    """

    def __init__(self, network: nn.Module, example: Float[Tensor, "n *shape"], recipe: Recipe) -> None:
        super().__init__()
        self.reduced = recipe.precision == "bf16"
        if self.reduced and example.dtype != torch.float32:
            raise ModelError(f"precision 'bf16' is for float32 models; this one is {example.dtype}.")
        self.layout = _layout(network, example)
        self.network = torch.compile(network) if recipe.compile else network

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        # A clone, since one channel is contiguous in either layout and would keep the strides of the plain one.
        x = x.clone(memory_format=self.layout)
        if not self.reduced:
            return self.network(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x).to(x.dtype)


def _layout(network: nn.Module, example: Tensor) -> torch.memory_format:
    """Return channels last for a network of images that runs on it, having laid out its weights."""
    if example.ndim != 4:
        return torch.contiguous_format
    lay_out(network, torch.channels_last)
    try:
        with untouched(network), torch.no_grad():
            network(example.clone(memory_format=torch.channels_last))
    except RuntimeError:  # for instance a view that needs contiguous activations
        lay_out(network, torch.contiguous_format)
        return torch.contiguous_format
    return torch.channels_last
