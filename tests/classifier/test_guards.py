"""Guards that can be wrong: they ask more before they refuse, and can be overruled, which is recorded."""

import json

import pytest
import torch
from torch import nn

import epsball as eb
from epsball import Ball, Classifier, InputError, ModelError
from epsball.classifier import guards
from helpers import Wrapped, examples, linear, mlp

BALL = Ball("linf", 0.1)


def looks_like_probabilities() -> nn.Module:
    """Return a linear layer that gives (1, 0) at 0.5."""
    return linear(torch.tensor([[2.0], [-1.0]]), torch.tensor([0.0, 0.5]))


@pytest.mark.parametrize("box", [(0.0, 1.0), (None, None)])
def test_logits_that_look_like_probabilities_at_the_examples_are_taken_for_logits(box):
    classifier = Classifier(looks_like_probabilities(), low=box[0], high=box[1])
    x, y = torch.full((3, 1), 0.5), torch.zeros(3, dtype=torch.int64)
    assert classifier.check(x, y) == 2
    ball = Ball("linf", 0.1, *box)
    assert eb.certify(classifier, x, y, ball).certified.all()


def test_a_model_that_fails_at_the_first_examples_only_is_taken():
    def spoilt(module, x):
        return torch.where(x[:, :1] > 0.9, torch.nan, module(x))

    x, y = examples(20)
    x[:16, 0] = 1.0
    assert Classifier(Wrapped(spoilt, mlp())).check(x, y) == 4
    with pytest.raises(ModelError, match="NaN or infinite for all"):
        Classifier(Wrapped(lambda module, x: module(x) / 0, mlp())).check(x, y)


def random(module, x):
    return module(x) + torch.rand(len(x), 1) * torch.eye(4)[0]


def mixing(module, x):
    return module(x) + 5 * x.mean(0)[:4]


OVERRULED = {
    "outputs=logits": (lambda module, x: module(x).softmax(1), {"outputs": "logits"}, "outputs='logits'"),
    "deterministic=True": (random, {"deterministic": True, "batch": "independent"}, "deterministic=True"),
    "batch=independent": (mixing, {"batch": "independent"}, "batch='independent'"),
}


@pytest.mark.parametrize("words", OVERRULED)
def test_every_refusal_names_the_argument_that_overrules_it(words):
    function, arguments, fix = OVERRULED[words]
    x, y = examples(20)
    with pytest.raises(ModelError, match=fix):
        Classifier(Wrapped(function, mlp())).check(x, y)
    classifier = Classifier(Wrapped(function, mlp()), **arguments)
    assert classifier.check(x, y) == 4
    assert words in classifier.overruled
    assert words in repr(classifier)


def test_what_is_overruled_is_recorded(tmp_path):
    x, y = examples(20)
    plain, vouched = Classifier(mlp()), Classifier(mlp(), outputs="logits")
    result = eb.attack(vouched, x, y, BALL, method="fgsm")
    assert result.to_json()["overruled"] == ["outputs=logits"]
    assert "checks overruled: outputs=logits" in str(result)
    certificates = eb.certify(vouched, x, y, BALL, method="interval")
    assert certificates.to_json()["overruled"] == ["outputs=logits"]
    assert "checks overruled: outputs=logits" in str(certificates)
    options = {"attack": "fgsm", "certificates": "none", "limit": False}
    audit = eb.audit(vouched, (x, y), BALL, folder=tmp_path, **options)
    assert "checks overruled: outputs=logits" in str(audit)
    assert audit.to_json()["overruled"] == ["outputs=logits"]
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["identity"]["overruled"] == ["outputs=logits"]
    with pytest.raises(InputError):
        eb.audit(plain, (x, y), BALL, folder=tmp_path, **options)


def test_nothing_is_recorded_where_nothing_is_overruled(tmp_path):
    x, y = examples(20)
    eb.audit(Classifier(mlp()), (x, y), BALL, folder=tmp_path, attack="fgsm", certificates="none", limit=False)
    assert "overruled" not in (tmp_path / "run.json").read_text()
    assert "overruled" not in eb.attack(Classifier(mlp()), x, y, BALL, method="fgsm").to_json()


def test_a_models_text_overrules_checks():
    loaded = eb.models.load("mlp,hidden=8,outputs=logits,batch=independent", shape=(1, 4, 4), classes=3)
    assert loaded.classifier().overruled == ("outputs=logits", "batch=independent")
    with pytest.raises(InputError, match="outputs"):
        eb.models.load("mlp,outputs=probabilities", shape=(1, 4, 4), classes=3)


@pytest.mark.parametrize(
    "arguments", [{"outputs": "probabilities"}, {"batch": True}, {"stochastic": True, "deterministic": True}]
)
def test_what_cannot_be_overruled_is_refused(arguments, as_users_run):
    with pytest.raises(InputError):
        Classifier(mlp(), **arguments)


@pytest.mark.parametrize("x", [torch.rand(3, 4).to_sparse(), torch.rand(3, 4, device="meta")], ids=["sparse", "meta"])
def test_tensors_without_dense_numbers_are_refused(x):
    with pytest.raises(InputError, match="dense tensors of numbers"):
        guards.check_inputs(x, 0.0, 1.0)
