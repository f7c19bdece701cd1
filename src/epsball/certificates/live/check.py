"""A check of live parameters: the graph must have the gradients of the module."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from epsball.deployed_state import DeployedState
from epsball.errors import ModelError
from epsball.generator_state import preserved
from epsball.graph import Graph
from epsball.graph.kinds import Parameters
from epsball.module_state import evaluating

_ROWS = 2
_TOLERANCE = 1e-2
"""Of a gradient's length: rounding is far below, a path that is missing or doubled far above."""


def check_gradients(
    module: nn.Module, graph: Graph, parameters: Callable[[], Parameters], classes: Tensor | None
) -> None:
    """Raise ModelError if a trained parameter has another gradient through the graph than through the module.

    It does where the weight of a layer is computed from other parameters in the module's own code: the graph holds the
    result as a number. Compared is the gradient of a random function of the logits of finite classes at two inputs, in
    evaluation mode.
    """
    trained = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    if not trained:
        return
    state = DeployedState(module)
    try:
        with preserved(0), evaluating(module), torch.enable_grad():
            like = next(iter(trained.values()))
            x = torch.rand(_ROWS, *graph.input.shape, dtype=like.dtype, device=like.device)
            weights = torch.randn(_ROWS, graph.classes, dtype=like.dtype, device=like.device)
            chosen = slice(None) if classes is None else classes
            own, other = (
                torch.autograd.grad(
                    (weights * z)[:, chosen].sum(), list(trained.values()), allow_unused=True, retain_graph=True
                )
                for z in (module(x), graph(x, parameters()))
            )
    finally:
        state.restore()
    for name, a, b in zip(trained, own, other, strict=True):
        a, b = (torch.zeros_like(trained[name]) if g is None else g for g in (a, b))
        if float((a - b).norm()) > _TOLERANCE * float(a.norm() + b.norm()):
            raise ModelError(
                f"bounds cannot train '{name}': its gradient does not reach it through the captured network, because "
                "the module's code computes weights from it. Use torch.nn.utils.parametrize for such weights, or train "
                "it with another objective."
            )
