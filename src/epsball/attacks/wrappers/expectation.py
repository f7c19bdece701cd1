"""Expectation over transformation: any gradient attack on the mean gradient of a random model."""

from dataclasses import dataclass, field

from epsball.attacks import registry
from epsball.attacks.engine.evaluator import GradientNoise
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpectationOverTransformation(Attack):
    """An attack whose every gradient is a mean over evaluations of a random model.

    Parameters
    ----------
    method
        The attack.
    samples
        Evaluations per gradient.
    noise
        Filled by the search: the standard errors of the mean gradients, relative to their length.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.ExpectationOverTransformation(method=eb.attacks.PGD(steps=5), samples=3)
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=method).ledger.summary()["pgd-5 x3"]
    (1, 6, 6)
    """

    method: Attack
    samples: int
    noise: GradientNoise = field(default_factory=GradientNoise)

    def __post_init__(self) -> None:
        check_count("samples", self.samples)
        object.__setattr__(self, "method", registry.resolve(self.method))
        if self.method.gradient_free:
            raise InputError(
                f"the attack '{self.method.name}' takes no gradient, so there is nothing to average. Take a gradient "
                "attack; Classifier(stochastic=True, repetitions=...) says how often a witness is judged."
            )

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"{self.method.name} x{self.samples}"

    @property
    def domain(self) -> Domain:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The attack's domain."""
        return self.method.domain

    @property
    def norms(self) -> tuple[NormName, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The norms for which the attack is defined."""
        return self.method.norms

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        self.method(query.averaged(self.samples, self.noise), ball, keys=keys)


def expectation_over_transformation(attack: str | Attack, samples: int) -> ExpectationOverTransformation:
    """Return an attack with each gradient the mean over `samples` evaluations of a random model.

    For classifiers with ``stochastic=True``: random transformations, dropout, noise. Gradients are
    averaged, not logits: E grad l(f(t(x))) is the gradient of the expected loss.
    After a search, ``print(attack.noise)`` says how far the means can be trusted.

    Parameters
    ----------
    attack
        A gradient attack, or the text of a registered one.
    samples
        Evaluations per gradient, at least 1; a standard error needs 2.

    References
    ----------
    Athalye, Engstrom, Ilyas and Kwok, "Synthesizing robust adversarial examples", ICML 2018.
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.attacks.expectation_over_transformation("pgd,steps=50", samples=20).name
    'pgd-50 x20'
    """
    return ExpectationOverTransformation(method=registry.resolve(attack), samples=samples)
