"""HSIC of all pairs of layers at once, from the kernel values of one batch.

For kernels K and L on n rows, with row sums k_i, l_i and totals k, l,

    HSIC(K, L) = (sum_ij K_ij L_ij - a sum_i k_i l_i + b k l) / c .

Debiased (HSIC_1): diagonals set to zero, a = 2/(n-2), b = 1/((n-1)(n-2)), c = n(n-3).
Plain (HSIC_0, tr(KHLH)/(n-1)^2): a = 2/n, b = 1/n^2, c = (n-1)^2.

References
----------
Gretton, Bousquet, Smola and Schölkopf, "Measuring statistical dependence with Hilbert-Schmidt
norms", ALT 2005. Song, Smola, Gretton, Bedo and Borgwardt, "Feature selection via dependence
maximization", JMLR 13 (2012), eq. (5). Kornblith, Norouzi, Lee and Hinton, "Similarity of neural
network representations revisited", ICML 2019. Nguyen, Raghu and Kornblith, "Do wide and deep
networks learn the same things?", ICLR 2021 (minibatches).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from epsball.names import Estimator
from epsball.similarity.gram import BlockGram

LEAST_ROWS = 4
"""HSIC_1 divides by n - 3."""
_ROUNDING = 1e-12


class KernelStack:
    """The kernel values of all layers of one model on one batch.

    Parameters
    ----------
    bounds
        The groups of the n rows.
    layers
        Number of layers.
    estimator
        Whether diagonals are left out (`debiased`) or kept (`plain`).
    device
        Where the values lie.
    """

    def __init__(self, bounds: list[int], layers: int, estimator: Estimator, device: torch.device) -> None:
        self.bounds, self.groups = bounds, len(bounds) - 1
        self.estimator: Estimator = estimator
        n = bounds[-1]

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(layers, *shape, dtype=torch.float64, device=device)

        self.slabs = [zeros(bounds[g + 1] - bounds[g], n - bounds[g]) for g in range(self.groups)]
        self.sums = zeros(n, self.groups)
        self.energy = zeros()
        sizes = torch.tensor(bounds).diff()
        of_group = torch.arange(self.groups).repeat_interleave(sizes)
        self.members = torch.nn.functional.one_hot(of_group).to(device, torch.float64)

    def store(self, layer: int, kernel: BlockGram) -> None:
        """Store a layer's kernel: its slabs, its row sums over each group and its mean diagonal."""
        self.energy[layer] = kernel.diagonal().mean()
        for g, slab in enumerate(kernel.slabs):
            kept = self.slabs[g][layer]
            kept.copy_(slab)
            if self.estimator == "debiased":
                kept.diagonal().zero_()
            start, stop = self.bounds[g], self.bounds[g + 1]
            self.sums[layer, start:stop] += kept @ self.members[start:]
            self.sums[layer, stop:, g] += kept[:, stop - start :].sum(0)

    def block(self, g: int, h: int) -> Float64[Tensor, "layers rows columns"]:
        """Return the kernel values of the rows of group g with those of group h >= g, for all layers."""
        start = self.bounds[g]
        return self.slabs[g][:, :, self.bounds[h] - start : self.bounds[h + 1] - start]

    def row_sums(self, groups: list[int]) -> Float64[Tensor, "layers rows"]:
        """Return sum_j K_ij over the rows j of some groups, for each row i of them."""
        rows = self.members[:, groups].any(1)
        return self.sums[:, rows][:, :, groups].sum(2)


@dataclass(frozen=True)
class Moments:
    """HSIC on s subsets of the rows.

    Parameters
    ----------
    cross
        HSIC of every pair of layers.
    self_a, self_b
        HSIC of each layer with itself; exactly 0 if the estimator sees no variation.
    last_a
        HSIC of each layer of the first network with its last layer.
    """

    cross: Float64[Tensor, "s a b"]
    self_a: Float64[Tensor, "s a"]
    self_b: Float64[Tensor, "s b"]
    last_a: Float64[Tensor, "s a"]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            cross=self.cross + other.cross,
            self_a=self.self_a + other.self_a,
            self_b=self.self_b + other.self_b,
            last_a=self.last_a + other.last_a,
        )

    def __mul__(self, weight: float) -> "Moments":
        return Moments(
            cross=self.cross * weight,
            self_a=self.self_a * weight,
            self_b=self.self_b * weight,
            last_a=self.last_a * weight,
        )

    def cka(self) -> Float64[Tensor, "s a b"]:
        """Return HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)); NaN where a layer is constant."""
        own = self.self_a[:, :, None] * self.self_b[:, None, :]
        return self.cross / torch.where(own > 0, own, torch.nan).sqrt()


def moments(a: KernelStack, b: KernelStack, *, leave_out: bool) -> Moments:
    """Return HSIC over the whole batch and, with `leave_out`, over the batch without each group.

    Parameters
    ----------
    a, b
        Stacks of the same rows in the same order.
    leave_out
        Whether the subsets without one group follow the whole batch (s = 1 + groups, else s = 1).
    """
    subsets = [list(range(a.groups))]
    if leave_out:
        subsets += [[h for h in range(a.groups) if h != g] for g in range(a.groups)]
    own_a = _hsic(a, a, subsets, _inner)
    own_b = own_a if b is a else _hsic(b, b, subsets, _inner)
    return Moments(cross=_hsic(a, b, subsets, _outer), self_a=own_a, self_b=own_b, last_a=_hsic(a, a, subsets, _last))


Product = Callable[[Tensor, Tensor], Tensor]


def _outer(u: Float64[Tensor, "a m"], v: Float64[Tensor, "b m"]) -> Float64[Tensor, "a b"]:
    return u @ v.to(u.device).T


def _inner(u: Float64[Tensor, "a m"], v: Float64[Tensor, "a m"]) -> Float64[Tensor, " a"]:
    return torch.linalg.vecdot(u, v)


def _last(u: Float64[Tensor, "a m"], v: Float64[Tensor, "a m"]) -> Float64[Tensor, " a"]:
    return v @ u[-1]


def _hsic(a: KernelStack, b: KernelStack, subsets: list[list[int]], product: Product) -> Float64[Tensor, "s *layers"]:
    """Return HSIC on the rows of each subset of groups, for the pairs of layers that `product` forms."""
    blocks = _block_products(a, b, product)
    values = []
    for kept in subsets:
        k, l = a.row_sums(kept), b.row_sums(kept)  # noqa: E741
        trace = blocks[kept][:, kept].sum((0, 1))
        totals = product(k.sum(1, keepdim=True), l.sum(1, keepdim=True))
        alpha, beta, c = _constants(k.shape[1], a.estimator)
        value = trace - alpha * product(k, l) + beta * totals
        if product is _inner:
            # What an exact cancellation leaves of K is rounding: count it as 0, with CKA undefined.
            value = torch.where(value <= _ROUNDING * trace, 0.0, value)
        values.append(value / c)
    return torch.stack(values).cpu()


def _block_products(a: KernelStack, b: KernelStack, product: Product) -> Float64[Tensor, "g g *layers"]:
    """Return sum_ij K_ij L_ij over the rows i of group g and j of group h, for all g and h."""
    rows = [
        {h: product(a.block(g, h).flatten(1), b.block(g, h).flatten(1)) for h in range(g, a.groups)}
        for g in range(a.groups)
    ]
    return torch.stack([torch.stack([rows[min(g, h)][max(g, h)] for h in range(a.groups)]) for g in range(a.groups)])


def _constants(n: int, estimator: Estimator) -> tuple[float, float, float]:
    """Return a, b and c of the formula in the module's docstring."""
    if estimator == "debiased":
        return 2 / (n - 2), 1 / ((n - 1) * (n - 2)), float(n * (n - 3))
    return 2 / n, 1 / n**2, float((n - 1) ** 2)
