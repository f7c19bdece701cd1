import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import APGD, NES, PGD, SPSA, MomentumPGD, SecondOrder, losses
from helpers import examples, mlp


def draw(seed: int, classes: int, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (n,), generator=generator)


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 12))
def test_margin_is_positive_exactly_where_the_argmax_is_wrong(seed, classes):
    logits, y = draw(seed, classes)
    assert torch.equal(losses.margin(logits, y) > 0, logits.argmax(1) != y)


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6))
def test_cross_entropy_and_kl_by_their_definitions(seed, classes):
    logits, y = draw(seed, classes)
    other, _ = draw(seed + 1, classes)
    p, q = other.softmax(1), logits.softmax(1)
    for row in range(len(y)):
        assert losses.cross_entropy(logits, y)[row].item() == pytest.approx(-q[row, y[row]].log().item())
        expected = sum(p[row, j] * (p[row, j] / q[row, j]).log() for j in range(classes))
        assert losses.kl(logits, other)[row].item() == pytest.approx(float(expected), abs=1e-12)


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 100), shift=st.floats(-50, 50))
def test_dlr_does_not_change_with_scale_and_shift(seed, scale, shift):
    logits, y = draw(seed, 5)
    target = (y + 1) % 5
    torch.testing.assert_close(losses.dlr(scale * logits + shift, y), losses.dlr(logits, y), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        losses.targeted_dlr(scale * logits + shift, y, target),
        losses.targeted_dlr(logits, y, target),
        rtol=1e-6,
        atol=1e-9,
    )


def test_dlr_by_hand():
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0]])
    y = torch.tensor([0])
    assert losses.dlr(logits, y).item() == pytest.approx(-(4 - 3) / (4 - 1))
    assert losses.targeted_dlr(logits, y, torch.tensor([1])).item() == pytest.approx(-(4 - 1) / (4 - 0.5))


def test_few_classes_fall_back_to_margins():
    two, y = draw(3, 2)
    assert torch.equal(losses.dlr(two, y), losses.margin(two, y))
    three, y = draw(3, 3)
    gap = losses.targeted_dlr(three, y, (y + 1) % 3)
    rows = torch.arange(len(y))
    assert torch.equal(gap, three[rows, (y + 1) % 3] - three[rows, y])


def test_a_targeted_loss_without_targets_is_refused():
    with pytest.raises(InputError, match="needs target classes: take TargetedAPGD"):
        losses.resolve("targeted-dlr")


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'cross-entropy'"):
        losses.resolve("crossentropy")


@pytest.mark.parametrize(
    "method",
    [PGD, APGD, MomentumPGD, SecondOrder, SPSA, NES],
    ids=lambda method: method.__name__,
)
@pytest.mark.parametrize("shape", [(), (20, 4)])
def test_a_loss_of_another_shape_than_one_value_per_row_is_refused(method, shape, as_users_run):
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    mean = method(loss=lambda z, y: z.mean() if shape == () else z)
    with pytest.raises(InputError, match=r"the loss returned .* reduction='none'"):
        attack(Classifier(mlp()), x, y, Ball("linf", 0.1), method=mean)


@pytest.mark.parametrize("returned", [None, 1.0, [1.0] * 20])
def test_a_loss_that_is_not_a_tensor_is_refused(returned, as_users_run):
    x, y = examples(20)
    with pytest.raises(InputError, match="the loss returned .*; a loss is a tensor"):
        attack(Classifier(mlp()), x, y, Ball("linf", 0.1), method=PGD(loss=lambda z, y: returned))


def test_a_loss_may_compute_in_another_dtype():
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    for method in (SPSA, NES, APGD, SecondOrder):
        own = method(loss=lambda z, y: losses.margin(z.double(), y))
        assert attack(Classifier(mlp()), x, y, Ball("linf", 0.3), method=own).broken.any()


def test_none_is_not_a_loss(as_users_run):
    with pytest.raises(InputError, match="unknown loss 'None'"):
        losses.resolve(None)
