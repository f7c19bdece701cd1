"""Certificates while training: cheap, sound, and the upper side of the robust risks."""

import jaxtyping
import pytest
import torch

import epsball as eb
from epsball import Ball, SoundnessError
from epsball.risk import Bracket
from epsball.training import PGD, Processes, Recipe
from epsball.training.evaluation import certifier as certified
from epsball.training.evaluation.certifier import Certifier, _in_turn
from epsball.training.evaluation.verdicts import Accuracies, Verdicts
from helpers import Wrapped, convnet, mlp

BALL = Ball("linf", 0.02)


def pairs(n: int = 70):
    x, y = eb.data.load("digits")[: 2 * n]
    x = eb.data.as_pixels(x)
    return [(x[:n], y[:n]), (x[n:], y[n:])]


def proved(module, trained: float = 1e6, **fields) -> certified.CertifiedExamples:
    return Certifier(**fields)(eb.Classifier(module), pairs(), BALL, trained)


@pytest.fixture(scope="module")
def robust():
    jaxtyping.config.update("jaxtyping_disable", True)
    recipe = Recipe(epochs=2, batch_size=50, lr=0.2)
    yield eb.train(mlp(64, 32, 10), "digits,first=700", objective=PGD(ball=BALL, steps=2), recipe=recipe)
    jaxtyping.config.update("jaxtyping_disable", False)


def test_certificates_agree_with_certify_and_cover_all_examples_where_there_is_time(robust):
    module = robust.classifier.module
    found = proved(module)
    for (x, y), mine in zip(pairs(), found.certified, strict=True):
        cascade = [eb.certify(robust.classifier, x, y, BALL, method=method) for method in certified.METHODS]
        assert torch.equal(mine, torch.stack([each.certified for each in cascade]).any(0))
        assert mine.any()
    assert "of 70" in found.note


def test_nothing_starts_that_would_take_more_than_the_share(robust):
    too_early = proved(robust.classifier.module, trained=certified.FIRST / certified.SHARE * 0.99)
    assert [len(c) for c in too_early.certified] == [0, 0]
    assert "10% of the time trained so far" in too_early.note
    spent = Certifier(spent=100.0)
    assert not len(spent(robust.classifier, pairs(), BALL, 1000.0).certified[0])
    assert spent.spent == 100.0


def test_what_a_round_costs_is_remembered(robust):
    certifier = Certifier()
    certifier(robust.classifier, pairs(), BALL, 1e6)
    assert 0 < certifier.least <= certifier.spent


def test_an_epoch_is_given_up_where_the_first_examples_have_no_certificate(as_users_run):
    found = Certifier()(eb.Classifier(mlp(64, 32, 10)), pairs(), Ball("linf", 0.9), 1e6)
    assert not found.certified[0].any()
    assert certified.ENOUGH <= len(found.certified[0]) < 70


def test_a_network_that_cannot_be_bounded_is_reported_and_training_continues(as_users_run):
    found = proved(Wrapped(lambda inner, x: torch.fft.fft(inner(x)).real, mlp(64, 8, 10)))
    assert found.note.startswith("no certificates: ")
    double = Certifier()(eb.Classifier(mlp(64, 8, 10).double()), pairs(), BALL, 1e6)
    assert "float64" in double.note


def test_capturing_draws_nothing_from_training_and_leaves_its_mode(as_users_run):
    module = convnet(classes=10).train()
    state = torch.get_rng_state()
    proved(module)
    assert torch.equal(state, torch.get_rng_state())
    assert module.training
    assert module[1].num_batches_tracked == 0


def test_batches_take_every_example_once_and_begin_with_one():
    taken = list(_in_turn([70, 5]))
    assert taken[:4] == [(0, slice(0, 1)), (1, slice(0, 1)), (0, slice(1, 3)), (1, slice(1, 3))]
    for which, length in enumerate((70, 5)):
        rows = [i for w, rows in taken if w == which for i in range(rows.start, rows.stop)]
        assert rows == list(range(length))


def verdicts(correct: int, broken: int, n: int = 50) -> Verdicts:
    rows = torch.arange(n)
    return Verdicts(correct=rows < correct, broken=rows >= broken)


def test_an_example_both_broken_and_certified_is_an_alarm():
    with pytest.raises(SoundnessError, match="both broken and certified"):
        Accuracies.of(verdicts(40, 30), torch.ones(31, dtype=torch.bool), Processes())


def test_the_robust_risk_lies_between_attack_and_certificates():
    certain = torch.arange(20) < 18
    found = Accuracies.of(verdicts(40, 30), certain, Processes())
    assert (found.total, found.natural, found.under_attack, found.bounded, found.certified) == (50, 40, 30, 20, 18)
    risk = found.robust_risk
    assert (risk.low, risk.high) == (0.4, 0.4)  # 20 of 50 broken; 2 of 20 unproved is less, by chance
    assert risk.interval.high == max(risk.interval.low, Bracket.of_counts(2, 2, 20, 1 - 0.05 / 3).interval.high)
    nothing = Accuracies.of(verdicts(40, 30), certain[:0], Processes()).robust_risk
    assert (nothing.high, nothing.interval.high) == (1.0, 1.0)


def test_the_quantities_of_a_certified_run_say_something_and_hold_together(tmp_path, monkeypatch, as_users_run):
    monkeypatch.setattr(certified, "SHARE", 1e3)
    recipe = Recipe(epochs=2, batch_size=50, lr=0.2, holdout=0.3)
    result = eb.train(mlp(64, 32, 10), "digits,first=700", objective=PGD(ball=BALL, steps=2), recipe=recipe)
    last = result.history[-1]
    assert last.certified is not None
    assert last.certified <= last.under_attack <= last.natural
    assert last.quantities.gap.high < 0.5
    assert last.quantities.gap.low > -0.5
    assert last.quantities.excess.high < 0.7
    assert "certify" in str(result)
    assert result.to_arrow()["certified"].to_pylist() == [epoch.certified for epoch in result.history]
