"""`CleanPass`: what bounds take from a pass of the batch itself."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from epsball.graph.kinds import Parameters


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanPass:
    """The logits of a batch, and the parameters that bounds of it use.

    Parameters
    ----------
    logits
        Of the batch itself, (n, classes).
    parameters
        The live parameters, with the batch's statistics where the module normalises by them.
    """

    logits: Float[Tensor, "n classes"]
    parameters: Parameters
