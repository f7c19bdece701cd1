"""Captures in threads of one process: each gets its own network, and passes beside them are as ever."""

from collections.abc import Callable
from threading import Thread

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.graph.capture import capture

COUNT = 2


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2 + seed, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (2 + seed), 3)).eval()


def at_once(*works: Callable[[], object]) -> list[object]:
    """Return what works in threads of their own return or raise."""
    found: list[object] = [None] * len(works)

    def do(place: int) -> None:
        try:
            found[place] = [works[place]() for _ in range(COUNT)]
        except Exception as error:
            found[place] = error

    threads = [Thread(target=do, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_captures_in_two_threads_are_those_of_one() -> None:
    networks = [network(0), network(1)]

    def nodes(module: nn.Module) -> list[str]:
        return [node.name for node in capture(module, (1, 6, 6)).nodes]

    expected = [nodes(module) for module in networks]
    found = at_once(*(lambda module=module: nodes(module) for module in networks))
    assert found == [[nodes] * COUNT for nodes in expected]


def test_certificates_in_two_threads_are_those_of_one() -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    networks = [network(0), network(1)]

    def margins(module: nn.Module) -> list[float]:
        y = torch.zeros(len(x), dtype=torch.int64)
        return eb.certify(eb.Classifier(module), x, y, eb.Ball("linf", "0.01"), method="interval").margin.tolist()

    expected = [margins(module) for module in networks]
    found = at_once(*(lambda module=module: margins(module) for module in networks))
    assert found == [[margins] * COUNT for margins in expected]


@pytest.mark.slow
def test_gates_in_two_threads_answer_as_one() -> None:
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)) for _ in range(2)]
    x = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))

    def answer(module: nn.Module) -> str:
        with torch.no_grad():
            y = module(x).argmax(1)
        return eb.gate(eb.Classifier(module), (x, y), eb.Ball("linf", "0.0001"), min_robust="0.5").answer

    assert at_once(*(lambda module=module: answer(module) for module in networks)) == [["pass"] * COUNT] * 2
