"""Are predictions on published network files those of the source's own pipeline? One table row per file.

Each file is loaded by one text, as the command line takes it, and compared on the same inputs with what is
independent of epsball: onnxruntime for ``.onnx``, PyTorch's interpreter for TorchScript, and for weights of
plain networks ``torch.load`` and torch.nn.functional, layer by layer.
"""

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import epsball as eb
from epsball.models.loaded_model import LoadedModel

Logits = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="texts of models")
    parser.add_argument("--data", help="text of the data; without it, inputs are drawn uniformly from the box")
    parser.add_argument("--count", type=int, default=200, help="inputs")
    parser.add_argument("--stride", type=int, default=2, help="of the convolutions of plain networks")
    parser.add_argument("--padding", type=int, default=1, help="of the convolutions of plain networks")
    parser.add_argument("--activation", choices=["relu", "sigmoid"], default="relu", help="of plain networks")
    arguments = parser.parse_args()
    print("| model | commands | same predictions | largest difference | accuracy |\n| --- | --- | --- | --- | --- |")
    for text in arguments.models:
        print(row(text, arguments), flush=True)


def row(text: str, arguments: argparse.Namespace) -> str:
    """Return a model's row; a model that cannot be loaded says why."""
    shown = "/".join(text.split("/")[-2:]).partition(",mean")[0]
    try:
        data = None if arguments.data is None else eb.data.load(f"{arguments.data},first={arguments.count}")
        loaded = eb.models.load(text) if data is None else eb.models.load(text, shape=data.shape, classes=data.classes)
        x, y = inputs(loaded, data, arguments.count)
        with torch.no_grad():
            ours = loaded.classifier().network(x)
            theirs = reference(loaded, arguments)(x)
    except eb.errors.EpsballError as error:
        return f"| {shown} | none | {error} | | |"
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    accuracy = "" if y is None else f"{float((ours.argmax(1) == y).double().mean()):.3f}"
    return f"| {shown} | 1 | {same} of {len(x)} | {float((ours - theirs).abs().max()):.1e} | {accuracy} |"


def inputs(loaded: LoadedModel, data: eb.data.Dataset | None, count: int) -> tuple[Tensor, Tensor | None]:
    """Return the first examples of the data, or inputs drawn uniformly from the box."""
    if data is not None:
        x, y = data[:]
        return eb.data.as_pixels(x), y
    return torch.rand(count, *(loaded.shape or ()), generator=torch.Generator().manual_seed(0)), None


def reference(loaded: LoadedModel, arguments: argparse.Namespace) -> Logits:
    """Return the source's own pipeline."""
    path = str(loaded.weights)
    if path.endswith(".onnx"):
        return normalised(loaded, onnx(path))
    if loaded.name.startswith("torchscript:"):
        return normalised(loaded, torch.jit.load(path).eval())
    return normalised(loaded, plain(Path(path), arguments.stride, arguments.padding, arguments.activation))


def onnx(path: str) -> Logits:
    """Return onnxruntime's function of a file, fed in the shape and as many rows at a time as the file says."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    rows, *rest = (size if isinstance(size, int) else None for size in entry.shape)

    def logits(x: Tensor) -> Tensor:
        if len(rest) == 3 and rest[-1] == x.shape[1] != rest[0]:
            x = x.movedim(1, -1).contiguous()
        shape = list(x.shape[1:]) if None in rest else rest
        parts = x.split(rows or len(x))
        results = [session.run(None, {entry.name: part.reshape(-1, *shape).numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(result).flatten(1) for result in results])

    return logits


def plain(path: Path, stride: int, padding: int, activation: str) -> Logits:
    """Return the network of a file of weights: convolutions, then dense layers, an activation between any two."""
    state = state_dict(torch.load(path, map_location="cpu", weights_only=True))
    layers = [(w, b) for w, b in pairwise(state.values()) if w.ndim > 1 and b.ndim == 1]
    between = getattr(torch, activation)

    def logits(x: Tensor) -> Tensor:
        for number, (weight, bias) in enumerate(layers):
            x = between(x) if number else x
            if weight.ndim == 4:
                x = functional.conv2d(x, weight, bias, stride=stride, padding=padding)
            else:
                x = functional.linear(x.flatten(1), weight, bias)
        return x

    return logits


def state_dict(content: Any) -> dict[str, Tensor]:
    """Return the first mapping of tensors in what a file holds."""
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        return content
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else []
    return next((found for value in inner if (found := state_dict(value))), {})


def normalised(loaded: LoadedModel, network: Logits) -> Logits:
    """Return a network behind its normalisation."""
    if loaded.mean is None or loaded.std is None:
        return network
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (loaded.mean, loaded.std))
    return lambda x: network((x - mean) / std)


if __name__ == "__main__":
    main()
