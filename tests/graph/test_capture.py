import pytest
import torch

from epsball.graph import Graph, capture
from graph.gauntlet import GAUNTLET


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {}


@pytest.mark.parametrize("name", GAUNTLET)
def test_the_gauntlet_is_captured(name: str) -> None:
    build, shape = GAUNTLET[name]
    module = build()
    graph = capture(module, shape)
    x = torch.rand(7, *shape)
    with torch.no_grad():
        assert torch.allclose(graph(x), module(x), rtol=1e-4, atol=1e-5)
    assert graph.classes == module(x).shape[1]
