"""SABR: intervals over a small box inside N(x), chosen by an attack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import step_size as rules
from epsball.certificates import Domain, Propagation
from epsball.errors import InputError
from epsball.training.objectives.certified.batch_bounds import BatchBounds, within
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.inner_search import InnerSearch, StartName, shrunk


@dataclass(frozen=True, kw_only=True)
class SABR(Certified):
    """Minimise CE(z', y), z' the logits of the worst case, by intervals, over a small box at an adversarial point.

    With lambda = `subselection`, projected gradient ascent finds x' within (1 - lambda) radius of x; the box holds the
    points within lambda radius of x' that are in N(x). lambda = 1 is IBP. The search runs in evaluation mode.

    Parameters
    ----------
    subselection
        lambda, in (0, 1].
    steps, step_size, start
        Of the search, as for `PGD`; in ``step_size`` the radius is that of the search.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("sabr,subselection=0.1", ball) == eb.training.SABR(ball=ball, subselection=0.1)
    True

    References
    ----------
    Mueller, Eckert, Fischer and Vechev, "Certified training: small boxes are all you need" (ICLR 2023), section 3.
    """

    name: ClassVar[str] = "sabr"
    certified_end: ClassVar[Mapping[str, str]] = {**Certified.certified_end, "subselection": "high"}

    kappa_start: float = 0.0
    kappa: float = 0.0
    subselection: float = 0.4
    steps: int = 8
    step_size: rules.StepSize = rules.DEFAULT
    start: StartName = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.subselection <= 1:
            raise InputError(
                f"subselection is {self.subselection}; it is the share of the radius that the box has, in (0, 1]. "
                "Without a box that is adversarial training: use the objective 'pgd'."
            )
        if self.subselection < 1:
            self._search()

    def _search(self) -> InnerSearch:
        ball = shrunk(self.ball, 1.0 - self.subselection)
        return InnerSearch(ball=ball, steps=self.steps, step_size=self.step_size, start=self.start)

    def boxes(self, batch: BatchBounds) -> Domain:
        """Return the boxes that are bounded, each inside N(x)."""
        if self.subselection == 1:
            return batch.domain
        x_adv = self._search()(batch.module, lambda z: cross_entropy(z, batch.y), batch.x, batch.context)
        return within(Domain.of(shrunk(batch.ball, self.subselection), x_adv), batch.domain.box)

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return the cross-entropy of the worst case over the small box."""
        bounds = batch.propagate(self.boxes(batch))
        return batch.loss(batch.interval(bounds)), bounds
