import pytest
import torch

from epsball import Ball, Classifier, InputError, attack, optimal_risk
from epsball.attacks import Collision
from helpers import mlp

BALLS = [Ball("linf", "24/255"), Ball("l2", "30/255"), Ball("l1", "40/255")]


def images(n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 4), generator=generator).to(torch.uint8)
    return pixels, pixels.float() / 255, torch.randint(0, 3, (n,), generator=generator)


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_of_a_pair_whose_balls_share_a_point_one_is_broken_for_any_classifier(ball, seed):
    pixels, x, y = images()
    method = Collision(pool=(pixels, y), partners=1000)
    pairs = method.meetings(x, y, ball)
    result = attack(Classifier(mlp(inputs=4, classes=3, seed=seed)), x, y, ball, method=method, batch_size=64)
    assert pairs.common.sum() > 20
    assert (result.broken[pairs.example] | result.broken[pairs.partner])[pairs.common].all()
    stored = optimal_risk(pixels, y, norm=ball.norm, radii=[ball.radius]).curve[0].stored
    assert result.accuracy <= 1 - stored + 1e-9


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_pairs_are_those_of_other_label_within_twice_the_radius(ball):
    pixels, x, y = images(60)
    pairs = Collision(pool=(pixels, y)).meetings(x, y, ball)
    i, j = (index.flatten() for index in torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij"))
    meet = ball.overlap(pixels[i], pixels[j]) & (y[i] != y[j])
    expected = set(zip(i[meet].tolist(), j[meet].tolist(), strict=True))
    assert set(zip(pairs.example.tolist(), pairs.partner.tolist(), strict=True)) == expected


def test_ties_without_a_common_float_are_counted():
    """Pixels k and k + 16 at radius 8/255: of the 240 pairs 64 have no common float32 point."""
    k = torch.arange(240, dtype=torch.uint8)[:, None]
    x = k.float() / 255
    y, other = torch.zeros(240, dtype=torch.int64), torch.ones(240, dtype=torch.int64)
    pool = ((k + 16), other)
    pairs = Collision(pool=pool).meetings(x, y, Ball("linf", "8/255"))
    gap = pairs.partner + 16 - pairs.example
    assert (gap == 16).sum() == 240
    assert (~pairs.common[gap == 16]).sum() == 64
    assert pairs.common[gap.abs() < 16].all()
    assert f"{int((~pairs.common).sum())} are ties" in str(pairs)


def test_nearest_partners_come_first_and_few_may_be_asked():
    pixels, x, y = images()
    ball = Ball("linf", "60/255")
    classifier = Classifier(mlp(inputs=4, classes=3))
    few = attack(classifier, x, y, ball, method=Collision(pool=(pixels, y), partners=2), stop="never")
    per_example = few.ledger.forwards[few.ledger.of("collision")]
    assert per_example.max() == 4
    all_of_them = attack(classifier, x, y, ball, method=Collision(pool=(pixels, y), partners=1000), stop="never")
    assert all_of_them.accuracy <= few.accuracy


def test_a_pool_of_other_shape_or_without_labels_is_an_error(as_users_run):
    pixels, x, y = images(20)
    classifier = Classifier(mlp(inputs=4, classes=3))
    with pytest.raises(InputError, match="same shape"):
        attack(classifier, x, y, BALLS[0], method=Collision(pool=(pixels[:, :3], y)))
    with pytest.raises(InputError, match="one integer each"):
        Collision(pool=(pixels, y[:5]))
    for pool in ((pixels[:0], y[:0]), (pixels, y.float())):
        with pytest.raises(InputError, match=f"{len(pool[0])} partners and labels .*{pool[1].dtype}"):
            Collision(pool=pool)
    for pool in (None, (pixels.numpy(), y.numpy()), pixels):
        with pytest.raises(InputError, match="give a pair of tensors"):
            Collision(pool=pool)
    with pytest.raises(InputError, match="give method=Collision"):
        attack(classifier, x, y, BALLS[0], method="collision")


def test_examples_without_partners_are_reported():
    _, x, y = images(20)
    classifier = Classifier(mlp(inputs=4, classes=3))
    y = classifier.logits(x).argmax(1)
    result = attack(classifier, x, y, Ball("linf", 0.1), method=Collision(pool=(torch.full((1, 4), 9.0), y[:1])))
    assert "20 standing examples were not searched: the attack had nothing to try on them" in str(result)
