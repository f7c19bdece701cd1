"""What an attack is: its base class, attacks made of stages, and objects of other packages taken as attacks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from epsball.attacks.engine.evaluator import Evaluator
from epsball.attacks.engine.query import Query
from epsball.ball import Ball, NormName
from epsball.errors import InputError
from epsball.randomness import Keys

Domain = Literal["ball", "box"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What an attack may look at before a search begins: all examples of a call, and the model.

    Parameters
    ----------
    evaluator
        Runs the model; its passes are counted.
    x, y
        Examples and labels.
    keys
        One key per example.
    ball
        The perturbation set.
    classes
        Number of classes.
    """

    evaluator: Evaluator
    x: Tensor
    y: Tensor
    keys: Keys
    ball: Ball
    classes: int


NORMS: tuple[NormName, ...] = get_args(NormName)


class Attack(ABC):
    """A search for adversarial points: a frozen dataclass of options, called once per chunk of examples.

    Attributes
    ----------
    name
        The name under which the ledger counts it; a property where it depends on the options.
    domain
        Where its points are candidates: ``"ball"`` (ball and box), or ``"box"`` for minimum-norm attacks,
        whose nearest adversarial point counts outside the ball too.
    norms
        The norms it is defined for.
    tolerance
        By what share, on a linear model, it may miss the least radius at which an example breaks; None
        promises nothing. The contract tests hold it to that.
    gradient_free
        Whether it takes no gradient of the model under test.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> class Brighter(eb.attacks.Attack):
    ...     name = "brighter"
    ...     def __call__(self, query, ball, *, keys):
    ...         query.logits(query.neighbourhood.project(query.x + 1))
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.1), method=Brighter()).ledger.summary()["brighter"]
    (1, 1, 0)
    """

    name: ClassVar[str]
    domain: ClassVar[Domain] = "ball"
    norms: ClassVar[tuple[NormName, ...]] = NORMS
    tolerance: ClassVar[float | None] = None
    gradient_free: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search through `query`; what it finds is what the query sees.

        ``keys`` holds one key per example of the call, indexed by ``query.index``.
        """

    def prepared(self, lesson: Lesson) -> "Attack":
        """Return the attack that searches; one that learns from all examples first returns another than itself.

        What that costs stands in the ledger under the attack's name, in a row that belongs to no example.
        """
        return self

    def check_norm(self, ball: Ball) -> None:
        """Raise InputError if the attack is not defined for the ball's norm."""
        if ball.norm not in self.norms:
            raise InputError(
                f"the attack '{self.name}' is defined for {', '.join(self.norms)}; the ball is in {ball.norm}. "
                "Take another attack, or a ball of its norm."
            )


class StagedAttack(Attack):
    """An attack made of attacks: each stage works on the examples that the ones before it left unbroken."""

    @abstractmethod
    def stages(self, ball: Ball) -> Sequence[Attack]:
        """Return the attacks it is made of, in order."""

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages, each counted under its own name and with draws of its own."""
        for number, stage in enumerate(self.stages(ball)):
            query.begin_stage(stage.name)
            stage(query, ball, keys=keys.derive(number, stage.name))


@dataclass(frozen=True, kw_only=True, eq=False)
class ThirdPartyAttack(Attack):
    """An object of another package with a name and a call, taken as an attack.

    Its `domain`, `norms`, `tolerance` and `gradient_free` count where it has them; else the defaults of `Attack`.

    Parameters
    ----------
    attack
        The object.
    """

    attack: Any

    def __post_init__(self) -> None:
        for attribute in ("name", "domain", "norms", "tolerance", "gradient_free"):
            if hasattr(self.attack, attribute):
                object.__setattr__(self, attribute, getattr(self.attack, attribute))

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run it."""
        self.attack(query, ball, keys=keys)


def as_attack(method: object) -> Attack | None:
    """Return an attack as it is, an object with a name and a call as an attack, and None for anything else."""
    if isinstance(method, Attack):
        return method
    if isinstance(method, type) or not (callable(method) and hasattr(method, "name")):
        return None
    return ThirdPartyAttack(attack=method)
