import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.ball.root_finding import solve


@given(st.integers(0, 10**6))
def test_it_finds_the_root_of_each_row(seed):
    """Sums of min(slope t, cap) rise in pieces, as the lengths of capped displacements do."""
    generator = torch.Generator().manual_seed(seed)
    slopes = torch.rand(8, 12, dtype=torch.float64, generator=generator) ** 6 + 1e-3
    caps = torch.rand(8, 12, dtype=torch.float64, generator=generator) ** 3
    share = torch.rand(8, 1, dtype=torch.float64, generator=generator)

    def evaluate(t):
        return t, torch.minimum(slopes * t, caps).sum(dim=1, keepdim=True)

    high = torch.full((8, 1), 100.0, dtype=torch.float64)
    value = evaluate(high)[1]
    _, found = solve(evaluate, high, value, share * value, 1e-12)
    torch.testing.assert_close(found, share * value, rtol=1e-12, atol=0)


def test_rows_without_a_problem_do_not_disturb_the_others():
    def evaluate(t):
        return t, t * torch.tensor([[1.0], [0.0], [torch.nan], [3.0]], dtype=torch.float64)

    high = torch.ones(4, 1, dtype=torch.float64)
    target = torch.tensor([[0.25], [0.0], [1.0], [3.0]], dtype=torch.float64)
    t, value = solve(evaluate, high, evaluate(high)[1], target, 1e-9)
    assert value[[0, 1, 3]].tolist() == [[0.25], [0.0], [3.0]]
    assert t[3].item() == 1.0
