"""IBP: training on intervals."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from epsball.certificates import Propagation
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.certified import Certified


@dataclass(frozen=True, kw_only=True)
class IBP(Certified):
    """Minimise kappa * CE(h(x), y) + (1 - kappa) * CE(z', y), z' the logits of the worst case by intervals.

    z'_y = 0 and z'_j = -m_j, m_j a lower bound of z_y - z_j over N(x), with the difference folded into the last layer.
    As published, kappa falls from 1 to 1/2 while the radius rises. With ``kappa_start=0,kappa=0,initialisation=ibp,
    regulariser=0.5`` and batch norm it is the training of Shi et al.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("ibp,kappa=0", ball) == eb.training.IBP(ball=ball, kappa=0.0)
    True

    References
    ----------
    Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models" (2018),
    eq. (11); Shi et al., "Fast certified robust training with short warmup" (NeurIPS 2021).
    """

    name: ClassVar[str] = "ibp"

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return CE(z', y)."""
        bounds = batch.propagate(batch.domain)
        return batch.loss(batch.interval(bounds)), bounds
