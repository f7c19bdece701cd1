"""The statistics of a batch that a network's batch normalisations use in training mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.graph import Graph
from epsball.graph.kinds import BatchNorm

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def batch_norms(graph: Graph, owners: Mapping[str, nn.Module]) -> dict[BatchNorm, nn.Module]:
    """Return the modules behind the batch normalisations of a graph.

    Parameters
    ----------
    graph
        The captured network.
    owners
        The module that holds each parameter of the graph, where one does.

    Raises
    ------
    ModelError
        If the statistics of a batch could not be seen: the normalisation is not a module of PyTorch, is used twice, or
        is shared by several processes.
    """
    found: dict[BatchNorm, nn.Module] = {}
    for node in graph.nodes:
        kind = node.kind
        if not isinstance(kind, BatchNorm):
            continue
        module = owners.get(kind.mean)
        where = node.origin or node.name
        if not isinstance(module, _BATCH_NORM):
            raise ModelError(
                f"the batch normalisation in {where} is not a torch.nn.BatchNorm layer: the statistics of a batch, "
                "with which training bounds the network, cannot be seen there. Use such a layer."
            )
        if module in found.values():
            raise ModelError(
                f"the batch normalisation in {where} is used twice in one pass: it has two means and variances per "
                "batch, and bounds would need both. Give each use a layer of its own."
            )
        if isinstance(module, nn.SyncBatchNorm) and torch.distributed.is_initialized():
            raise ModelError(
                f"the batch normalisation in {where} is synchronised over processes: bounds see the statistics of one. "
                "Use torch.nn.BatchNorm layers, or one process."
            )
        found[kind] = module
    return found


@contextmanager
def seen_statistics(norms: Mapping[BatchNorm, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that gets mean and variance of what each layer in training mode normalises, by their names.

    They are functions of the parameters of the layers before, and have their gradients.
    """
    statistics: dict[str, Tensor] = {}

    def watch(kind: BatchNorm) -> Any:
        def seen(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            axes = [axis for axis in range(given[0].ndim) if axis != 1]
            variance, mean = torch.var_mean(given[0].to(layer.get_buffer("running_mean").dtype), axes, correction=0)
            statistics[kind.mean], statistics[kind.variance] = mean, variance

        return seen

    handles = [module.register_forward_pre_hook(watch(kind)) for kind, module in norms.items() if module.training]
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()
