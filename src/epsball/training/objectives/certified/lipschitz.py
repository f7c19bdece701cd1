"""Lipschitz margin training: margins less what the Lipschitz constant lets them move."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.certificates import Domain, Propagation
from epsball.errors import InputError
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.certified.lipschitz_constant import hidden_constant


@dataclass(frozen=True, kw_only=True)
class LipschitzMargin(Certified):
    """Minimise the cross-entropy of logits of the worst case, 0 at y and -(z_y - z_j - L_j radius) elsewhere, in l2.

    L_j is the Lipschitz constant of z_y - z_j: ||(e_y - e_j) W|| of the final layer's weights times that of what it
    takes, the product along the network of the layers' norms. For networks whose layers have the norm 1 by construction
    (`lipschitz_cnn`, layers under ``torch.nn.utils.parametrizations.orthogonal``) that is nearly all there is to know;
    for others norms are estimated by power iteration, and training lowers them. Certificates by ``lipschitz`` take
    verified norms.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("l2", 0.5)
    >>> eb.training.resolve("lipschitz", ball) == eb.training.LipschitzMargin(ball=ball)
    True

    References
    ----------
    Tsuzuku, Sato and Sugiyama, "Lipschitz-margin training" (NeurIPS 2018), with a constant for each pair of classes as
    in Leino, Wang and Fredrikson, "Globally-robust neural networks" (ICML 2021).
    """

    name: ClassVar[str] = "lipschitz"

    kappa_start: float = 0.0
    kappa: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ball.norm != "l2":
            raise InputError(f"lipschitz margin training is for l2; the ball is {self.ball}. Use 'ibp' for linf.")
        if self.regulariser:
            raise InputError(f"regulariser is {self.regulariser}; it is about intervals, and 'lipschitz' has none.")

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return the cross-entropy of the worst case."""
        problem = batch.live.problem(Domain.at(batch.x[:1], "l2"), batch.y[:1])
        bounds = problem.propagate(parameters=batch.parameters)
        rows = batch.live.problem(Domain.at(batch.x, "l2"), batch.y).specification
        logits = torch.where(batch.live.masked(batch.x.device), 0.0, batch.logits(batch.x))
        margins = (rows @ logits.unsqueeze(2))[..., 0]
        constant, hidden = hidden_constant(batch.live, bounds, batch.context.state)
        last = batch.live.graph[batch.live.graph.output]
        over_hidden = rows if hidden == last.name else rows @ batch.parameters[last.kind.weight]  # pyright: ignore[reportAttributeAccessIssue]
        lost = torch.linalg.vector_norm(over_hidden, dim=2) * constant * float(batch.ball.radius)
        return batch.loss(margins - lost), bounds
