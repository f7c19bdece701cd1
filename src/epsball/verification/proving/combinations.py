"""Non-negative combinations of a conjunction's rows that are above 0 at all points seen."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from epsball.verification.regions import Region


def combinations(region: Region, values: Float[Tensor, "n k"]) -> Float[Tensor, "c k"]:
    """Return for each conjunction of several rows the weights w >= 0 of sum_i w_i v_i that are best at points seen.

    The linear program

        maximise t  subject to  sum_i w_i v_i(x) >= t at every point x,  sum_i w_i = 1,  w >= 0

    over rows divided by the size of their coefficients. Where t <= 0, no combination refutes the conjunction, since it
    would have to be above 0 at these points too: the row is left 0. What a combination proves, bounds prove: the points
    only choose it.

    Parameters
    ----------
    region
        Gives rows and conjunctions.
    values
        The rows' values v at some points of one box.
    """
    found = torch.zeros(len(region.conjunctions), len(region.rows), dtype=torch.float64)
    scales = region.rows.scales()
    scaled = (values.double() / scales).nan_to_num(0.0, 0.0, 0.0).numpy()
    for number, rows in enumerate(region.conjunctions):
        if len(rows) < 2:
            continue
        own = scaled[:, list(rows)]
        goal = np.append(np.zeros(len(rows)), -1.0)
        above = np.hstack([-own, np.ones((len(own), 1))])
        total = np.append(np.ones(len(rows)), 0.0)[None]
        limits = [(0.0, None)] * len(rows) + [(None, None)]
        solved = linprog(goal, above, np.zeros(len(own)), total, [1.0], limits, method="highs")
        if solved.status == 0 and solved.x[-1] > 0:
            found[number, list(rows)] = torch.tensor(solved.x[:-1]).clamp(min=0.0) / scales[list(rows)]
    return found
