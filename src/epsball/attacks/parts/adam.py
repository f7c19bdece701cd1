"""Adam's step, for attacks that keep its two averages themselves, an example at a time."""

from torch import Tensor

_BETAS = (0.9, 0.999)
_TINY = 1e-8


def adam(gradient: Tensor, mean: Tensor, square: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the averages of the gradient and of its square after step k, and both corrected for their start at 0.

    m_k = b_1 m_(k-1) + (1 - b_1) g_k,  v_k = b_2 v_(k-1) + (1 - b_2) g_k^2,  b = (0.9, 0.999), and

        direction = m_k / (1 - b_1^k),  metric = sqrt(v_k / (1 - b_2^k)) + 1e-8;

    a step descends along direction / metric.

    Parameters
    ----------
    gradient, mean, square
        g_k, m_(k-1) and v_(k-1), alike in shape.
    k
        Number of the step, from 1; where examples differ, one each, shaped and typed to divide the others.

    Returns
    -------
    mean, square, direction, metric
        m_k, v_k and what a step is made of.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """
    mean = mean.lerp(gradient, 1 - _BETAS[0])
    square = square.lerp(gradient.square(), 1 - _BETAS[1])
    metric = (square / (1 - _BETAS[1] ** k)).sqrt_().add_(_TINY)
    return mean, square, mean / (1 - _BETAS[0] ** k), metric
