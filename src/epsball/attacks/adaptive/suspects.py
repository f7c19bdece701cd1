"""Running attacks on some of the examples, and noting whose gradients turn out to be zero."""

from contextlib import suppress

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query, SearchEnded
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.errors import NoGradientError
from epsball.randomness import Keys


class Suspects:
    """Which examples of a search have gradients that are not to be trusted.

    Parameters
    ----------
    query
        The search.

    Attributes
    ----------
    flags
        By position in the call's x.
    absent
        Whether the model was seen to pass no gradient at all.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self.flags: Bool[Tensor, " total"] = torch.zeros(query.total, dtype=torch.bool, device=query.index.device)
        self.absent = False

    def rows(self, *, suspect: bool) -> Int64[Tensor, " k"]:
        """Return the active examples that are suspects, or those that are not."""
        return torch.nonzero(self.flags[self._query.index] == suspect)[:, 0]

    def run(self, attack: Attack, ball: Ball, keys: Keys, rows: Int64[Tensor, " k"]) -> Int64[Tensor, " m"]:
        """Run an attack on some active examples; return the positions of those that left it with a zero gradient.

        Raises
        ------
        SearchEnded
            If no example is active after it.
        """
        if len(rows) == 0:
            return self._query.index[:0]
        view = self._query.of(rows).leaving_flat()
        asked = view.index
        view.begin_stage(attack.name)
        try:
            with suppress(SearchEnded):
                attack(view, ball, keys=keys)
            staying = view.index
        except NoGradientError:
            self.absent = True
            staying = asked[:0]
        self._query.catch_up()
        return asked[torch.isin(asked, self._query.index) & ~torch.isin(asked, staying)]
