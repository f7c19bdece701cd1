"""Every defence on the digits: its adaptive attack breaks what naive PGD leaves standing."""

import pytest
import torch

from epsball import Ball, Classifier, InputError, attack, data
from epsball.errors import NoGradientError
from epsball.masking.zoo import DEFENCES, defence
from epsball.masking.zoo.published.local_dimension import DimensionDetector

BALL = Ball("linf", 0.3)

NETWORK = {"BRRG18": "thermometer", "k-winners-take-all": "k-wta"}

HIDDEN = [
    "BRRG18",
    "SKN18",
    "8-bit-rounding",
    "coarse-rounding",
    "jpeg",
    "scaled-logits",
    "detached",
    "dead-relu",
    "permuted-gradient",
    "wrong-gradient",
]
"""Those that hide gradients whatever the network they stand on."""

TRAINED = ("NKM17", "distillation", "fgsm-training")
"""Those that are a way of training: on the plain network they are nothing."""

COSTLY = ("MLW18", "DAL18")


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


def built(name, networks):
    item = DEFENCES[name]
    part = {"digits-prior": networks["prior"], None: None}.get(item.part, "detector")
    if part == "detector":
        part = detector(networks["digits"])
    return item.build(networks[NETWORK.get(name, "digits")], part)


def detector(network):
    """Return a detector fitted to clean digits and those of PGD."""
    x, y = data.load("digits,split=train")[:300]
    made = DimensionDetector(network, x[:100], neighbours=20)
    found = attack(Classifier(network), x[100:200], y[100:200], BALL, method="pgd,steps=10", stop="never").x_adv
    with torch.no_grad():
        made.fit(made.dimensions(x[100:200]), made.dimensions(found))
        made.calibrate(made.dimensions(x[200:]), 0.1)
    return made


@pytest.mark.parametrize("name", [*(n for n in DEFENCES if n not in {*TRAINED, *COSTLY}), *map(slow, COSTLY)])
def test_the_adaptive_attack_breaks_it(name, networks, digits):
    x, y = digits[0][:16], digits[1][:16]
    torch.manual_seed(0)
    classifier = built(name, networks)
    assert float((classifier.logits(x).argmax(1) == y).double().mean()) >= 0.7
    broken = attack(classifier, x, y, BALL, method=DEFENCES[name].adaptive(classifier))
    assert broken.accuracy <= 0.15


@pytest.mark.parametrize("name", HIDDEN)
def test_naive_pgd_is_misled(name, networks, digits):
    x, y = digits[0][:16], digits[1][:16]
    classifier = built(name, networks)
    try:
        misled = attack(classifier, x, y, BALL, method="pgd,steps=20")
    except NoGradientError:
        return
    known = attack(classifier, x, y, BALL, method=DEFENCES[name].adaptive(classifier))
    assert misled.accuracy >= known.accuracy + 0.25


def test_names_are_those_of_the_registry_and_facts_are_given():
    for name, item in DEFENCES.items():
        assert item.name == name
        assert item.does.endswith(".")
        assert Ball.parse(item.ball).radius > 0
    assert {name for name, item in DEFENCES.items() if item.published is not None} == {
        "BRRG18",
        "MLW18",
        "DAL18",
        "SKN18",
        "NKM17",
    }


def test_a_missing_or_needless_part_and_an_unknown_name_are_errors(networks):
    with pytest.raises(InputError, match="needs a part, digits-prior"):
        defence("SKN18").build(networks["digits"])
    with pytest.raises(InputError, match="takes no part"):
        defence("jpeg").build(networks["digits"], networks["prior"])
    with pytest.raises(InputError, match="Did you mean 'jpeg'"):
        defence("jpg")


def test_a_classifier_is_taken_as_its_network(networks):
    behind = Classifier(networks["digits"], mean=0.5, std=0.5)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(defence("detached").build(behind).logits(x), behind.logits(x))
