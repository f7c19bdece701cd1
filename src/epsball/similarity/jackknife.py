"""Standard errors by the jackknife over groups of rows, and Student's t for few groups."""

import math
from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from jaxtyping import Float64
from scipy.special import stdtrit
from torch import Tensor

from epsball.checks import check_share
from epsball.similarity.hsic import Moments


def without_each(parts: Sequence[Moments]) -> Float64[Tensor, "g a b"]:
    """Return CKA without each part in turn; parts are sums of HSIC times rows (the factor cancels in CKA)."""
    others = [[part for i, part in enumerate(parts) if i != left_out] for left_out in range(len(parts))]
    return torch.stack([reduce(add, kept).cka()[0] for kept in others])


def jackknife_error(replicates: Float64[Tensor, "g *shape"]) -> Float64[Tensor, "*shape"]:
    """Return the standard error from leave-one-out values, sqrt((g-1)/g sum (v_i - mean v)^2).

    NaN for fewer than two values.

    References
    ----------
    Tukey 1958; Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 9 (1981).
    """
    g = len(replicates)
    if g < 2:
        return torch.full(replicates.shape[1:], torch.nan, dtype=torch.float64)
    return ((g - 1) / g * (replicates - replicates.mean(0)).square().sum(0)).sqrt()


def student_factor(groups: int, confidence: float) -> float:
    """Return the quantile of Student's t with groups - 1 degrees of freedom for a two-sided interval.

    NaN for fewer than two groups.

    Raises
    ------
    InputError
        If `confidence` does not lie strictly between 0 and 1.
    """
    check_share("confidence", confidence)
    return float(stdtrit(groups - 1, 0.5 + confidence / 2)) if groups > 1 else math.nan
