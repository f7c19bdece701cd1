"""HSIC and its sums over groups against the published formulas, written out on whole matrices."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from epsball.similarity.gram import BlockGram, group_bounds, linear_gram
from epsball.similarity.hsic import KernelStack, moments


def by_formula(K: Tensor, L: Tensor, estimator: str) -> Tensor:
    """Return eq. (5) of Song et al. 2012, or tr(KHLH)/(n-1)^2, as printed."""
    n = len(K)
    one = torch.ones(n, dtype=K.dtype)
    if estimator == "plain":
        H = torch.eye(n, dtype=K.dtype) - 1 / n
        return torch.trace(K @ H @ L @ H) / (n - 1) ** 2
    K, L = K - torch.diag(K.diag()), L - torch.diag(L.diag())
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (torch.trace(K @ L) + middle - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


def symmetric(n: int, seed: int) -> Tensor:
    values = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return values + values.T


def stack_of(kernels: list[Tensor], groups: int, estimator: str) -> KernelStack:
    bounds = group_bounds(len(kernels[0]), groups)
    stack = KernelStack(bounds, len(kernels), estimator, torch.device("cpu"))
    for i, K in enumerate(kernels):
        slabs = [K[start:stop, start:].clone() for start, stop in itertools.pairwise(bounds)]
        stack.store(i, BlockGram(slabs))
    return stack


@settings(max_examples=30)
@given(n=st.integers(6, 23), groups=st.integers(2, 7), estimator=st.sampled_from(["debiased", "plain"]))
def test_moments_are_those_of_the_formula_on_all_rows_and_without_each_group(n, groups, estimator):
    K, L, M = (symmetric(n, seed) for seed in range(3))
    a, b = stack_of([K, M], groups, estimator), stack_of([L, K, M], groups, estimator)
    leave_out = n - -(-n // groups) >= 4
    found = moments(a, b, leave_out=leave_out)
    bounds = group_bounds(n, groups)
    subsets = [torch.arange(n)]
    if leave_out:
        kept = torch.arange(n)
        subsets += [kept[(kept < start) | (kept >= stop)] for start, stop in itertools.pairwise(bounds)]
    for s, rows in enumerate(subsets):
        for i, left in enumerate((K, M)):
            expected = by_formula(left[rows][:, rows], left[rows][:, rows], estimator)
            torch.testing.assert_close(found.self_a[s, i], expected)
            expected = by_formula(M[rows][:, rows], left[rows][:, rows], estimator)
            torch.testing.assert_close(found.last_a[s, i], expected)
            for j, right in enumerate((L, K, M)):
                expected = by_formula(left[rows][:, rows], right[rows][:, rows], estimator)
                torch.testing.assert_close(found.cross[s, i, j], expected)


def test_four_rows_by_hand():
    """Four rows on a line, X = (0, 1, 2, 4): HSIC_1(K, K) by hand is 14/3."""
    x = torch.tensor([[0.0], [1.0], [2.0], [4.0]], dtype=torch.float64)
    K = x @ x.T
    # Off the diagonal K has 2, 4 and 8 (twice each): trace 2(4+16+64) = 168, total 28, row sums 0, 6, 10, 12.
    by_hand = (168 + 28**2 / 6 - (0 + 36 + 100 + 144)) / 4
    found = moments(stack_of([K], 2, "debiased"), stack_of([K], 2, "debiased"), leave_out=False)
    assert float(found.cross[0, 0, 0]) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx(14 / 3)


@pytest.mark.parametrize("estimator", ["debiased", "plain"])
def test_a_kernel_of_row_and_column_terms_alone_is_seen_as_constant(estimator):
    """K_ij = u_i + u_j carries no information about pairs: HSIC is exactly 0 and CKA undefined."""
    u = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stack = stack_of([u[:, None] + u[None, :]], 5, estimator)
    found = moments(stack, stack, leave_out=True)
    assert (found.self_a == 0).all()
    assert found.cka().isnan().all()


def test_weighted_sums_are_those_of_each_moment():
    stack = stack_of([symmetric(12, 0), symmetric(12, 1)], 3, "debiased")
    one = moments(stack, stack, leave_out=False)
    total = one * 0.25 + one * 0.5
    torch.testing.assert_close(total.cross, 0.75 * one.cross)
    torch.testing.assert_close(total.last_a, 0.75 * one.last_a)


@pytest.mark.usefixtures("as_users_run")
def test_the_marginal_of_debiased_hsic_is_unbiased_and_that_of_plain_is_not():
    """Independent features, p >> n: the mean of HSIC_1 is 0 within 4 standard errors, of HSIC_0 far from it."""
    generator = torch.Generator().manual_seed(1)
    values = {"debiased": [], "plain": []}
    for _ in range(100):
        X, Y = (torch.randn(16, 200, dtype=torch.float64, generator=generator) for _ in range(2))
        bounds = group_bounds(16, 1)
        for estimator, found in values.items():
            stacks = []
            for Z in (X, Y):
                stack = KernelStack(bounds, 1, estimator, torch.device("cpu"))
                stack.store(0, linear_gram(Z, bounds, 1.0))
                stacks.append(stack)
            found.append(moments(*stacks, leave_out=False).cka()[0, 0, 0])
    debiased, plain = torch.stack(values["debiased"]), torch.stack(values["plain"])
    assert debiased.mean().abs() < 4 * debiased.std() / 10
    assert plain.mean() > 0.8
