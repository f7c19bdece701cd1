"""Networks on several devices, without a second device: CPU tensors that report another device.

As on a real machine, tensors of two devices do not meet in one operation, but for copies, scalars and positions.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from epsball.similarity import cka, similarities
from similarity.networks import ResNet, seeded

FIRST, SECOND = torch.device("ipu:0"), torch.device("ipu:1")


class Elsewhere(Tensor):
    """A CPU tensor that reports another device."""

    inner: Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(cls, inner.shape, inner.stride(), 0, dtype=inner.dtype)
        made.inner, made.place = inner, device
        return made

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.place

    def cpu(self) -> Tensor:
        return self.to(torch.device("cpu"))

    def to(self, *wanted: Any) -> Tensor:
        place = next((value for value in wanted if isinstance(value, torch.device)), self.place)
        inner = self.inner.to(next((value for value in wanted if isinstance(value, torch.dtype)), self.dtype))
        return Elsewhere(inner, place) if place.type == FIRST.type else inner

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU and set the device of the result."""
    name = func.overloadpacket.__name__
    given = [value for value in tree_leaves([args, kwargs]) if isinstance(value, Tensor)]
    places = {value.device for value in given if value.ndim} or {value.device for value in given}
    if len(places) > 1 and name not in ("copy_", "_to_copy", "index"):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {places} in {name}")
    place = kwargs.get("device") or (given[0].device if given else torch.device("cpu"))
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda v: v.inner if isinstance(v, Elsewhere) else v, (args, kwargs))
    result = func(*args, **kwargs)
    if name.endswith("_") and not name.endswith("__") and given:
        return given[0]
    there = torch.device(place).type == FIRST.type
    return tree_map(lambda v: Elsewhere(v, torch.device(place)) if there and isinstance(v, Tensor) else v, result)


class Machine(TorchDispatchMode):
    """Also intercepts operations that create tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


@pytest.fixture(autouse=True)
def _few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the number of operations small, as each is intercepted."""
    monkeypatch.setattr("epsball.similarity.measure.GROUPS", 3)


def moved(module: nn.Module, device: torch.device) -> nn.Module:
    """Put the parameters and buffers of a module on a device of the stand-in."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(Elsewhere(parameter.detach(), device), requires_grad=False)
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = Elsewhere(buffer, device)
    return module


class Split(nn.Module):
    """The second half of the network lies on a second device."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        inner = seeded(ResNet, seed=seed)
        self.first = nn.Sequential(inner.stem, inner.layer1)
        self.second = nn.Sequential(inner.layer2, inner.pool, nn.Flatten(), inner.fc)

    def forward(self, x: Tensor) -> Tensor:
        out = self.first(x)
        return self.second(out.to(next(self.second.parameters()).device))


X = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_the_stand_in_refuses_two_devices_in_one_operation():
    with Machine(), pytest.raises(RuntimeError, match="same device"):
        Elsewhere(torch.ones(2), FIRST) + Elsewhere(torch.ones(2), SECOND)


@pytest.mark.parametrize(
    ("kernel", "places"),
    [("linear", (FIRST, SECOND)), ("linear", (torch.device("cpu"), SECOND)), ("rbf", (FIRST, FIRST))],
)
def test_two_networks_on_two_devices(kernel, places):
    networks = [seeded(ResNet), seeded(ResNet, seed=1)]
    expected = cka(*networks, X, layers="stages", kernel=kernel)
    with Machine():
        a, b = (moved(m, place) if place.type != "cpu" else m for m, place in zip(networks, places, strict=True))
        found = cka(a, b, X, layers="stages", kernel=kernel)
    assert found.matrix.device.type == "cpu"
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.error, expected.error)
    torch.testing.assert_close(found.shifted, expected.shifted)


def test_one_network_over_two_devices():
    models, options = [Split(0), Split(1)], {"layers": ["first.?", "second.?"], "batch_size": 20}
    expected = cka(*models, X, **options)
    with Machine():
        for model in models:
            moved(model.first, FIRST)
            moved(model.second, SECOND)
        found = cka(*models, X, **options)
        own = similarities({"a": models[0], "b": models[1]}, Elsewhere(X, FIRST), **options)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(own.pairs["a", "b"].matrix, expected.matrix)
