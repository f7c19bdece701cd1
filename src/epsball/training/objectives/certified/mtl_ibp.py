"""MTL-IBP: a convex combination of the adversarial loss and IBP's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import step_size as rules
from epsball.certificates import Propagation
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.certified.checks import check_share_or_end
from epsball.training.objectives.inner_search import InnerSearch, StartName


@dataclass(frozen=True, kw_only=True)
class MTLIBP(Certified):
    """Minimise (1 - alpha) * CE(h(x'), y) + alpha * CE(z', y), z' the logits of the worst case by intervals.

    x' is found by projected gradient ascent in N(x), in evaluation mode, and enters the loss with the statistics of the
    clean batch, as the intervals do. alpha = 0 is adversarial training, alpha = 1 IBP.

    Parameters
    ----------
    alpha
        Weight of the intervals, in [0, 1].
    steps, step_size, start
        Of the search, as for `PGD`.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("mtl-ibp,alpha=0.1", ball) == eb.training.MTLIBP(ball=ball, alpha=0.1)
    True

    References
    ----------
    De Palma et al., "Expressive losses for verified robustness via convex combinations" (ICLR 2024), eq. (8).
    """

    name: ClassVar[str] = "mtl-ibp"
    certified_end: ClassVar[Mapping[str, str]] = {**Certified.certified_end, "alpha": "high"}

    kappa_start: float = 0.0
    kappa: float = 0.0
    alpha: float = 0.5
    steps: int = 8
    step_size: rules.StepSize = rules.DEFAULT
    start: StartName = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share_or_end("alpha", self.alpha)
        self._search()

    def _search(self) -> InnerSearch:
        return InnerSearch(ball=self.ball, steps=self.steps, step_size=self.step_size, start=self.start)

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return (1 - alpha) * CE(h(x'), y) + alpha * CE(z', y)."""
        x_adv = self._search()(batch.module, lambda z: cross_entropy(z, batch.y), batch.x, batch.context)
        adversarial = batch.context.cross_entropy(batch.logits(x_adv), batch.y)
        bounds = batch.propagate(batch.domain)
        return (1.0 - self.alpha) * adversarial + self.alpha * batch.loss(batch.interval(bounds)), bounds
