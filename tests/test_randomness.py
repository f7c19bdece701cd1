import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import expon, kstest, norm, uniform

from epsball import randomness
from epsball.randomness import Keys, philox

# Known answers of Random123 (kat_vectors, philox4x32 with 10 rounds).
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[torch.Tensor]:
    return [torch.tensor(int(word, 16)) for word in text.split()]


def examples(n: int = 12, features: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, features, generator=generator), torch.arange(n) % 3


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    assert [f"{int(word):08x}" for word in philox(words(counter), words(key))] == answer.split()


@given(order=st.permutations(range(12)), cut=st.integers(0, 12), seed=st.integers(-(2**70), 2**70))
def test_keys_and_draws_depend_on_the_example_alone(order: list[int], cut: int, seed: int) -> None:
    x, y = examples()
    whole = Keys.of_examples(x, y, seed).derive("attack", 1)
    mixed = Keys.of_examples(x[order], y[order], seed).derive("attack", 1)
    assert torch.equal(mixed.words, whole.words[order])
    assert torch.equal(mixed.normal((5,)), whole.normal((5,))[order])
    parts = [whole[:cut].uniform((2, 3)), whole[cut:].uniform((2, 3))]
    assert torch.equal(torch.cat(parts), whole.uniform((2, 3)))


def test_chunking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples()
    whole = Keys.of_examples(x, y, 0)
    drawn = whole.bits(9)
    monkeypatch.setattr(randomness, "_CHUNK", 7)
    chunked = Keys.of_examples(x, y, 0)
    assert torch.equal(chunked.words, whole.words)
    assert torch.equal(chunked.bits(9), drawn)


def test_no_examples_and_no_draws_give_empty_tensors() -> None:
    x, y = examples()
    none = Keys.of_examples(x[:0], y[:0], 0)
    assert len(none) == 0
    assert none.uniform((2, 3)).shape == (0, 2, 3)
    assert Keys.of_examples(x, y, 0).uniform((0,)).shape == (12, 0)


def test_more_draws_begin_with_the_fewer() -> None:
    keys = Keys.of_positions(torch.arange(5), 0)
    assert torch.equal(keys.bits(11)[:, :6], keys.bits(6))


def test_equal_values_give_equal_keys() -> None:
    x, y = examples()
    x[0, 0] = 0.0
    negative_zero = x.clone()
    negative_zero[0, 0] = -0.0
    words = Keys.of_examples(x, y, 3).words
    assert torch.equal(Keys.of_examples(x.double(), y, 3).words, words)
    assert torch.equal(Keys.of_examples(negative_zero, y, 3).words, words)
    assert torch.equal(Keys.of_examples(x.reshape(12, 2, 3), y, 3).words, words)


def test_keys_separate_values_places_labels_and_seeds() -> None:
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    y = torch.zeros(4, dtype=torch.int64)
    variants = [Keys.of_examples(x, y + label, seed).words for label in (0, 1) for seed in (0, 1, -1)]
    assert len(torch.cat(variants).unique()) == 4 * 6


def test_derived_streams_are_separate_and_ordered() -> None:
    keys = Keys.of_positions(torch.arange(3), 0)
    labels = [(), ("a",), ("b",), (0,), (1,), ("a", 0), (0, "a"), ("a", "b"), ("b", "a"), ("ab",), ("0",)]
    assert len(torch.cat([keys.derive(*label).words for label in labels]).unique()) == 3 * len(labels)
    assert torch.equal(keys.derive("a").derive(0).words, keys.derive("a", 0).words)


def test_positions_and_neighbouring_seeds_give_distinct_keys() -> None:
    keys = [Keys.of_positions(torch.arange(10_000), seed).words for seed in range(3)]
    assert len(torch.cat(keys).unique()) == 30_000


# The keys are fixed, so these are fixed numbers and not random tests: a p-value below 1e-3 in
# one of these few draws would mean a broken transform.
@pytest.mark.parametrize("axis", ["within one key", "across keys"])
@pytest.mark.parametrize(("draw", "law"), [("uniform", uniform.cdf), ("normal", norm.cdf), ("exponential", expon.cdf)])
def test_draws_follow_their_law(axis: str, draw: str, law: object) -> None:
    positions, count = (1, 20_000) if axis == "within one key" else (20_000, 1)
    sample = getattr(Keys.of_positions(torch.arange(positions), 0), draw)((count,)).flatten()
    assert kstest(sample.numpy(), law).pvalue > 1e-3


def test_draws_of_neighbouring_keys_are_uncorrelated() -> None:
    u = Keys.of_positions(torch.arange(200), 0).uniform((500,)) - 0.5
    correlation = torch.corrcoef(u)[~torch.eye(200, dtype=torch.bool)]
    assert correlation.abs().max() < 6 / 500**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniforms_lie_strictly_inside_the_unit_interval(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    extremes = torch.tensor([[0, 2**32 - 1]])
    monkeypatch.setattr(Keys, "bits", lambda self, count: extremes)
    drawn = Keys.of_positions(torch.arange(1), 0).uniform((2,), dtype)
    assert drawn.dtype == dtype
    assert 0 < drawn[0, 0] < drawn[0, 1] < 1


def test_choice_covers_its_range_evenly() -> None:
    chosen = Keys.of_positions(torch.arange(30_000), 0).choice(10)
    counts = chosen.bincount()
    assert len(counts) == 10
    # Six standard deviations of a binomial(30000, 1/10).
    assert (counts - 3000).abs().max() < 6 * (30_000 * 0.09) ** 0.5
