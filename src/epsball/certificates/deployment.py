"""Whether a claim about the deployed float32 network can be made: of this module, on this machine."""

import operator
from collections.abc import Collection

import torch
from torch import nn

from epsball.certificates.arithmetic import Arithmetic
from epsball.errors import AssumptionError, ModelError
from epsball.graph import Graph
from epsball.graph.kinds import Convolution

ASSUMPTIONS = (
    "sums in any order, with or without fused multiply-add; no Winograd or FFT convolution",
    "exp, tanh, erf and functions built on them within the units stated for each curve",
    "the deployed kernels compute what the graph says, node by node",
)
"""What a float32 claim assumes besides the checks, as recorded in certificates."""

_PRECISIONS = {"cpu": ("mkldnn.conv", "mkldnn.matmul"), "cuda": ("cudnn.conv", "cuda.matmul")}
"""The settings, within torch.backends, of how float32 products are computed; 'none' is the default, 'ieee'."""


def assumptions_of(arithmetic: Arithmetic) -> tuple[str, ...]:
    """Return what a claim assumes, as recorded in certificates: nothing about the real-valued network."""
    return ASSUMPTIONS if arithmetic.deployed is not None else ()


def check_deployment(graph: Graph, module: nn.Module | None = None) -> None:
    """Raise unless a float32 claim about the network holds for the kernels that PyTorch would run now.

    Raises
    ------
    ModelError
        If a parameter is not float32: a float64 network gets `real` claims only, and lower precisions none.
    AssumptionError
        If TF32, autocast or another reduced precision is on, convolutions on the CPU can reach NNPACK, or an
        operation of the source is several nodes of the graph: its own kernel rounds otherwise.

    Examples
    --------
    >>> import torch
    >>> from epsball.graph import capture
    >>> check_deployment(capture(torch.nn.Linear(2, 2).double(), (2,)))
    Traceback (most recent call last):
        ...
    epsball.errors.ModelError: parameter 'weight' is torch.float64; a float32 claim is about a float32 network. ...
    """
    tensors = (
        dict(graph.parameters)
        if module is None
        else {**dict(module.named_parameters()), **dict(module.named_buffers())}
    )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ModelError(
                f"parameter '{name}' is {tensor.dtype}; a float32 claim is about a float32 network. "
                "For a float64 network claim semantics='real'; for lower precision convert it with module.float()."
            )
    if graph.rewritten:
        raise AssumptionError(
            f"{', '.join(graph.rewritten[:3])}{' ...' if len(graph.rewritten) > 3 else ''}: PyTorch's own kernel "
            "rounds otherwise than the elementary operations a float32 claim is about. Claim semantics='real', or "
            "write it with elementary operations."
        )
    devices = {tensor.device.type for tensor in tensors.values()} or {"cpu"}
    _check_precision(devices)
    if "cpu" in devices and any(isinstance(node.kind, Convolution) for node in graph.nodes):
        _check_nnpack()


def _check_precision(devices: Collection[str]) -> None:
    for device in devices:
        if torch.is_autocast_enabled(device):
            raise AssumptionError(
                f"autocast is on for {device}; a float32 claim needs every operation in float32. Leave the context."
            )
        for name in _PRECISIONS.get(device, ()):
            precision = operator.attrgetter(name)(torch.backends).fp32_precision
            if precision not in ("none", "ieee"):
                raise AssumptionError(
                    f"torch.backends.{name}.fp32_precision is '{precision}'; a float32 claim needs 'ieee'. TF32 "
                    "and bfloat16 products are not float32: set it, and torch.set_float32_matmul_precision('highest')."
                )


def _check_nnpack() -> None:
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    if not onednn and torch.backends.nnpack.is_available() and torch._C._get_nnpack_enabled():
        raise AssumptionError(
            "convolutions can reach NNPACK, whose Winograd and FFT kernels break the error bound of a float32 claim; "
            "set torch.backends.mkldnn.enabled = True or torch.backends.nnpack.set_flags(False)."
        )
