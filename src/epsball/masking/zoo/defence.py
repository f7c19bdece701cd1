"""What a defence of the zoo is, and what its file holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from epsball.attacks import Attack
from epsball.classifier import Classifier
from epsball.errors import InputError

Masking = Literal["shattered", "stochastic", "vanishing", "wrong", "none"]
"""Why gradients mislead: there are none or steps hide them; they are random; they underflow or are exactly zero;
they are those of something else; or they do not mislead (Athalye, Carlini and Wagner, ICML 2018, section 3)."""


@dataclass(frozen=True, kw_only=True)
class Defence:
    """A defence, and the attack that knows it.

    Parameters
    ----------
    name
        The name under which it is registered.
    paper
        Where it was proposed, and where it was broken.
    does
        What it does to a network, in one sentence.
    masking
        Why its gradients mislead.
    base
        The trained network of the zoo it stands on, by default.
    ball
        The ball in which the table of the documentation attacks it.
    defend
        Puts the defence around a network that maps raw inputs to logits.
    adaptive
        The attack on the classifier that `defend` returns.
    part
        The trained part it needs beside the network, or None.
    published
        The accuracy that Athalye, Carlini and Wagner left on CIFAR-10, in percent, or None.
    """

    name: str
    paper: str
    does: str
    masking: Masking
    base: str
    ball: str
    defend: Callable[..., Classifier]
    adaptive: Callable[[Classifier], Attack]
    part: str | None = None
    published: int | None = None

    def build(self, base: nn.Module | Classifier, part: nn.Module | None = None) -> Classifier:
        """Return the defended classifier.

        Parameters
        ----------
        base
            A network that maps raw inputs to logits, or a classifier; it is shared, not copied, unless the defence
            changes its layers.
        part
            The trained part, where the defence needs one.

        Raises
        ------
        InputError
            If a part is needed and not given, or given and not needed, or the network has not the layers it needs.
        """
        network = base.network if isinstance(base, Classifier) else base
        if (self.part is None) != (part is None):
            needs = f"needs a part, {self.part}" if self.part else "takes no part"
            raise InputError(f"the defence '{self.name}' {needs}; give part={'a module' if self.part else 'None'}.")
        return self.defend(network) if part is None else self.defend(network, part)
