"""The verbs on workers: what they find is what one process finds, to the bit."""

import pytest
import torch

import epsball as eb
from auditing.cases import case
from epsball.errors import InputError
from epsball.workers import Workers

BALL = eb.Ball("linf", "0.02")
pytestmark = pytest.mark.slow


def test_attack():
    classifier, x, y = case(40)
    options = {"method": "pgd,steps=3", "batch_size": 16}
    alone = eb.attack(classifier, x, y, BALL, **options)
    shared = eb.attack(case(40)[0], x, y, BALL, workers=2, **options)
    for name in ("x_adv", "broken", "margin", "natural", "nearest"):
        assert getattr(shared, name).equal(getattr(alone, name))
    assert shared.by == alone.by
    assert shared.ledger.to_arrow().equals(alone.ledger.to_arrow())


def test_certify(tmp_path):
    classifier, x, y = case(40)
    alone = eb.certify(classifier, x, y, BALL, folder=tmp_path / "alone")
    shared = eb.certify(classifier, x, y, BALL, folder=tmp_path / "shared", workers=2)
    assert shared.margin.equal(alone.margin)
    assert (shared.method, list(shared.files)) == (alone.method, list(alone.files))
    written = {name: sorted(file.name for file in (tmp_path / name).iterdir()) for name in ("alone", "shared")}
    assert written["alone"] == written["shared"]
    for name in written["alone"]:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "shared" / name).read_bytes()


@pytest.mark.parametrize("count", [1, 2])
def test_smooth(count, tmp_path):
    classifier, x, y = case(40)
    options = {"sigma": 0.25, "radii": ["0.1"], "samples": 200, "selection": 20}
    alone = eb.smooth(classifier, (x, y), **options)
    shared = eb.smooth(classifier, (x, y), workers=count, folder=tmp_path / "shared", **options)
    assert shared.to_arrow().equals(alone.to_arrow())
    eb.smooth(classifier, (x, y), folder=tmp_path / "alone", **options)
    written = {name: {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("alone", "shared")}
    assert written["alone"] == written["shared"]
    next((tmp_path / "shared").glob("*-000016*")).unlink()  # a group that a kill left out
    again = eb.smooth(classifier, (x, y), workers=count, folder=tmp_path / "shared", **options)
    assert again.to_arrow().equals(alone.to_arrow())


class Local:
    """Makes a module that no other process can import."""

    def module(self):
        class Hidden(torch.nn.Flatten):
            pass

        return Hidden()


def test_a_model_that_cannot_be_sent_is_named():
    classifier = eb.Classifier(Local().module())
    with pytest.raises(InputError, match="cannot be sent to workers"):
        eb.attack(classifier, torch.rand(4, 2), torch.zeros(4, dtype=torch.int64), BALL, workers=2)


class Swapped:
    """A source that gives another model than the call has: its file was changed in between."""

    def __call__(self, number):
        classifier, x, y = case(4)
        with torch.no_grad():
            next(classifier.network.parameters()).add_(1)
        return classifier, (x, y), BALL


def test_a_model_that_was_changed_in_between_is_refused():
    classifier, x, y = case(4)
    with pytest.raises(eb.ModelError, match="changed in between"):
        Workers(count=1, source=Swapped()).sent(classifier, (x, y), BALL)(1)
    same = Workers(count=1, source=Same()).sent(classifier, (x, y), BALL)(1)
    assert same[0].fingerprint() == classifier.fingerprint()


class Same:
    """A source of what the call has."""

    def __call__(self, number):
        classifier, x, y = case(4)
        return classifier, (x, y), BALL
