"""`Verifier`: a captured network, its weights fixed as they are, and the claim that is made about it."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from epsball.certificates.arithmetic import Arithmetic
from epsball.certificates.deployment import assumptions_of, check_deployment
from epsball.classifier import Classifier
from epsball.errors import ModelError
from epsball.graph import Graph, capture


@dataclass(frozen=True, kw_only=True, eq=False)
class Verifier:
    """A captured network and what is claimed about it.

    Parameters
    ----------
    graph
        The network.
    arithmetic
        The claim.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Linear(2, 3))
    >>> eb.certificates.Verifier.of(classifier, (2,), eb.certificates.REAL).graph.classes
    3
    """

    graph: Graph
    arithmetic: Arithmetic

    @classmethod
    def of(cls, classifier: Classifier, shape: tuple[int, ...], arithmetic: Arithmetic) -> "Verifier":
        """Capture a classifier's network for inputs of a shape; check that the claim can be made of it.

        Raises
        ------
        ModelError
            If the model is stochastic, or not float32 under a float32 claim.
        """
        if classifier.stochastic:
            raise ModelError("the model draws random numbers; certificates are about one function. Fix its draws.")
        # Autocast would be captured with the network; the check says that it is on.
        with torch.autocast(classifier.device.type, enabled=False):
            graph = capture(with_fixed_weights(classifier.network), shape)
        if arithmetic.deployed is not None:
            check_deployment(graph, classifier.network)
        return cls(graph=graph, arithmetic=arithmetic)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the claim assumes."""
        return assumptions_of(self.arithmetic)


def with_fixed_weights(network: nn.Module) -> nn.Module:
    """Return the network with its parametrised weights as they are now, which is what it computes with."""
    if not any(parametrize.is_parametrized(part) for part in network.modules()):
        return network
    plain = copy.deepcopy(network).eval()
    for part in list(plain.modules()):
        if parametrize.is_parametrized(part):
            _fix_weights(part)
    return plain


def _fix_weights(part: nn.Module) -> None:
    """Replace a module's parametrised tensors by their values; its class is shared with the original and stays."""
    names = list(part.parametrizations)  # pyright: ignore[reportArgumentType]
    values = {name: getattr(part, name).detach() for name in names}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part._modules["parametrizations"]
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))
