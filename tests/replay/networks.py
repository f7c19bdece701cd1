"""Small networks as graphs and certificates of them, for the checker's tests."""

from pathlib import Path

import torch
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.certificates.replay.files import Certificate, box_of, write_model
from epsball.graph import Graph, Node, kinds

ULPS = {"ulps": {"sigmoid": 4, "tanh": 4}}


def _kind(module: nn.Module, at: str, shape: tuple[int, ...]) -> kinds.Kind:
    match module:
        case nn.Linear():
            return kinds.Linear(weight=f"{at}.weight", bias=f"{at}.bias")
        case nn.Conv2d() | nn.ConvTranspose2d():
            return kinds.Convolution(
                weight=f"{at}.weight",
                bias=f"{at}.bias",
                stride=module.stride,
                padding=module.padding,  # pyright: ignore[reportArgumentType]
                dilation=module.dilation,
                groups=module.groups,
                transposed=isinstance(module, nn.ConvTranspose2d),
                output_padding=module.output_padding if isinstance(module, nn.ConvTranspose2d) else (),
            )
        case nn.BatchNorm2d():
            names = {"mean": "running_mean", "variance": "running_var", "weight": "weight", "bias": "bias"}
            return kinds.BatchNorm(**{key: f"{at}.{name}" for key, name in names.items()}, eps=module.eps)
        case nn.MaxPool2d():
            return kinds.MaxPool(kernel=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1))
        case nn.AvgPool2d():
            return kinds.AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0))
        case nn.Flatten():
            return kinds.Reshape(shape=shape)
        case nn.LeakyReLU():
            return kinds.Elementwise(function="leaky_relu", arguments=(module.negative_slope,))
        case nn.ReLU6():
            return kinds.Elementwise(function="clamp", arguments=(0.0, 6.0))
        case nn.PReLU():
            return kinds.PReLU(slope=f"{at}.weight")
        case _:
            return kinds.Elementwise(function=type(module).__name__.lower())


def graph_of(shape: tuple[int, ...], *modules: nn.Module) -> Graph:
    """Return a chain of modules as a graph; its nodes are x, n0, n1, ..."""
    nodes, parameters, value = [Node(name="x", kind=kinds.Input(), shape=shape)], {}, torch.zeros(1, *shape)
    for number, module in enumerate(modules):
        value = module.eval()(value)
        tensors = (*module.named_parameters(), *module.named_buffers())
        parameters |= {f"{number}.{name}": tensor.detach() for name, tensor in tensors if tensor.is_floating_point()}
        after = tuple(value.shape[1:])
        kind = _kind(module, str(number), after)
        nodes.append(Node(name=f"n{number}", kind=kind, inputs=(nodes[-1].name,), shape=after))
    return Graph(nodes=tuple(nodes), output=nodes[-1].name, parameters=parameters)


def certificate(
    folder: Path,
    graph: Graph,
    x: Tensor,
    ball: Ball,
    *,
    semantics: str = "float32",
    claim: float = -1e9,
    slopes: dict[str, tuple[Tensor, Tensor]] | None = None,
    final: dict[str, tuple[Tensor, Tensor]] | None = None,
    logits: Tensor | None = None,
) -> Path:
    """Write a certificate that claims `claim` for every margin, with every node refined.

    `slopes` are for the bounds of nodes, `final` for those of the margins.

    The predicted class is the one of x, or the one of the logits given, for graphs that do not run.
    """
    if logits is None:
        logits = graph(x[None])[0]
    predicted = int(logits.argmax())
    path = folder / "certificate.json.gz"
    written = Certificate(
        model=write_model(graph, folder),
        semantics=semantics,
        assumptions=ULPS,
        norm=ball.norm,
        radius=ball.radius,
        x=x,
        box=box_of(ball),
        predicted=predicted,
        claims={j: claim for j in range(len(logits)) if j != predicted},
        refined=tuple(node.name for node in graph.nodes if node.inputs),
        bounds={},
        slopes=[slopes or {}],
        own_slopes=[],
        final_slopes={name: (low[None], high[None]) for name, (low, high) in (final or {}).items()},
    )
    path.write_bytes(written.to_bytes())
    return path
