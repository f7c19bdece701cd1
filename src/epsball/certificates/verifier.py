"""`Verifier`: a captured network, its weights fixed as they are, and the claim that is made about it."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from epsball.certificates.arithmetic import Arithmetic
from epsball.certificates.deployment import assumptions_of, check_deployment
from epsball.certificates.masked_classes import FiniteClasses, without_masked_classes
from epsball.certificates.replay.export import not_replayable
from epsball.classifier import Classifier
from epsball.errors import ModelError
from epsball.graph import Graph, capture
from epsball.graph.wrappers import unwrapped


@dataclass(frozen=True, kw_only=True, eq=False)
class Verifier:
    """A captured network and what is claimed about it.

    Parameters
    ----------
    graph
        The network.
    arithmetic
        The claim.
    finite
        Where logits of classes are -infinity at every input, the network without them.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Linear(2, 3))
    >>> eb.certificates.Verifier.of(classifier, (2,), eb.certificates.REAL).graph.classes
    3
    """

    graph: Graph
    arithmetic: Arithmetic
    finite: FiniteClasses | None = None

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
        return cls(graph=graph, arithmetic=arithmetic, finite=without_masked_classes(graph))

    @property
    def bounded(self) -> Graph:
        """The network that is bounded: without the classes that are masked at every input."""
        return self.graph if self.finite is None else self.finite.graph

    def places(self, classes: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the places of classes among the logits that are bounded."""
        return classes if self.finite is None else torch.searchsorted(torch.tensor(self.finite.classes), classes)

    @property
    def not_replayable(self) -> str | None:
        """Why the independent checker cannot replay certificates of this network, or None if it can."""
        if self.finite is None:
            return not_replayable(self.graph)
        return f"the logits of classes {', '.join(map(str, self.finite.masked))} are -inf at every input"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the claim assumes."""
        return assumptions_of(self.arithmetic)


def with_fixed_weights(network: nn.Module) -> nn.Module:
    """Return the network with its parametrised weights as they are now, which is what it computes with."""
    if not any(parametrize.is_parametrized(part) or weight_hooks(part) for part in network.modules()):
        return network
    with unwrapped(network) as bare:
        # Weights that a hook computes are not parameters, and copying one fails while it has a gradient's history.
        computed = [vars(part).get(hook.name) for part in bare.modules() for hook in weight_hooks(part)]
        plain = copy.deepcopy(bare, {id(weight): weight.detach() for weight in computed if weight is not None}).eval()
    for part in list(plain.modules()):
        if parametrize.is_parametrized(part):
            _fix_weights(part)
        for hook in weight_hooks(part):
            remove = remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm
            remove(part, hook.name)
    return plain


def weight_hooks(part: nn.Module) -> list[WeightNorm | SpectralNorm]:
    """Return the hooks by which the older weight and spectral normalisation set weights before each call."""
    return [hook for hook in part._forward_pre_hooks.values() if isinstance(hook, WeightNorm | SpectralNorm)]


def _fix_weights(part: nn.Module) -> None:
    """Replace a module's parametrised tensors by their values; its class is shared with the original and stays."""
    names = list(part.parametrizations)  # pyright: ignore[reportArgumentType]
    values = {name: getattr(part, name).detach() for name in names}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part._modules["parametrizations"]
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))
