"""Any attack on a model, with the gradients of another network."""

from dataclasses import dataclass

from torch import nn

from epsball.attacks import registry
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.ball import Ball
from epsball.errors import ModelError
from epsball.module_state import untouched
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class BorrowedGradients(Attack):
    """An attack on the model under test whose losses and gradients are those of another network.

    For a defence without useful gradients, the same network with stand-ins in place of what has none
    (`epsball.attacks.bpda`). Verdicts are the model's own: points that break the other network only do not count.

    Parameters
    ----------
    network
        Maps raw inputs to logits, as the model does.
    method
        The attack.

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, section 4.1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from torch import nn
    >>> classifier = eb.Classifier(nn.Sequential(nn.Threshold(2.0, 0.5), nn.Linear(3, 2)))
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.BorrowedGradients(network=classifier.module[1], method="pgd,steps=10")
    >>> method.name
    'pgd-10 with borrowed gradients'
    """

    network: nn.Module
    method: str | Attack = "ensemble"

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            raise ModelError(f"the network is a {type(self.network).__name__}; give a torch.nn.Module.")
        object.__setattr__(self, "method", registry.resolve(self.method))

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"{self._attack.name} with borrowed gradients"

    @property
    def domain(self) -> Domain:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The attack's domain."""
        return self._attack.domain

    @property
    def norms(self) -> tuple[NormName, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The norms for which the attack is defined."""
        return self._attack.norms

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        with untouched(self.network):
            self._attack(query.borrowing(self.network), ball, keys=keys)

    @property
    def _attack(self) -> Attack:
        return registry.resolve(self.method)
