from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import PGD, ExpectationOverTransformation, Transfer, registry
from epsball.auditing.fingerprint import identity
from helpers import examples, mlp


class Noop:
    """An attack of another package."""

    name = "theirs"

    def __call__(self, query, ball, *, keys):
        query.logits(query.x)


def not_an_attack():
    return 3


@pytest.fixture
def installed(monkeypatch):
    """Let some entry points be installed."""
    group = registry.ENTRY_POINTS
    points = [
        EntryPoint("theirs", f"{__name__}:Noop", group),
        EntryPoint("pgd", f"{__name__}:Noop", group),
        EntryPoint("odd", f"{__name__}:not_an_attack", group),
        EntryPoint("gone", "a_package_that_is_not_there:Attack", group),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.setattr(EntryPoint, "load", _load)


def _load(self):
    if self.module != __name__:
        raise ModuleNotFoundError(f"No module named '{self.module}'")
    return globals()[self.attr]


def test_an_attack_of_another_package_is_found_by_its_name(installed):
    x, y = examples(10)
    result = attack(Classifier(mlp()), x, y, Ball("linf", 0.1), method="theirs")
    assert result.ledger.summary()["theirs"][0] > 0
    assert isinstance(registry.resolve("pgd"), PGD)
    with pytest.raises(InputError, match="Did you mean 'theirs'"):
        registry.resolve("their")


def test_an_attack_that_is_not_a_dataclass_takes_no_options(installed):
    with pytest.raises(InputError, match="'theirs' is not a dataclass and takes no options"):
        registry.resolve("theirs,steps=3")


def test_our_own_names_do_not_look_for_packages(monkeypatch):
    monkeypatch.delattr(registry, "entry_points")
    assert registry.resolve("pgd,steps=3").steps == 3


def test_what_cannot_be_loaded_or_is_not_an_attack_is_refused(installed):
    with pytest.raises(InputError, match="'gone' .* cannot be made: No module named"):
        registry.resolve("gone")
    with pytest.raises(InputError, match="'odd' .* is a int, which is not an attack"):
        registry.resolve("odd")


@pytest.mark.parametrize(
    ("text", "nearest"), [("spas", "spsa"), ("colision", "collision"), ("hopskipjump", "hop-skip")]
)
def test_unknown_names_get_the_nearest(text, nearest):
    with pytest.raises(InputError, match=f"unknown attack '{text}'.*Did you mean '{nearest}"):
        registry.resolve(text)


def test_attacks_that_need_objects_say_how_to_make_them():
    with pytest.raises(InputError, match="give method=Transfer\\(surrogate=classifier\\)"):
        registry.resolve("transfer")


@dataclass(frozen=True)
class Duck:
    """An attack of another package that knows nothing of `Attack`: a name and a call, and what it declares."""

    steps: int = 2
    name = "duck"
    domain = "box"
    norms = ("l2",)
    gradient_free = True

    def __call__(self, query, ball, *, keys):
        for _ in range(self.steps):
            query.logits(query.x + 0.3)


def test_an_object_with_a_name_and_a_call_is_an_attack(as_users_run):
    x, y = examples(10)
    x, classifier = 0.5 * x, Classifier(mlp())
    result = attack(classifier, x, y, Ball("l2", 0.1), method=Duck(), stop="never")
    assert result.ledger.summary()["duck"] == (10, 20, 0)
    assert (result.distance[~result.broken] > 0.1).any()  # a nearest point outside the ball: its domain is the box
    with pytest.raises(InputError, match="'duck' is defined for l2"):
        attack(classifier, x, y, Ball("linf", 0.1), method=Duck())
    with pytest.raises(InputError, match="'duck' takes no gradient"):
        ExpectationOverTransformation(method=Duck(), samples=2)
    surrogate = Transfer(surrogate=Classifier(mlp()), method=Duck())
    assert attack(classifier, x, y, Ball("l2", 0.1), method=surrogate).ledger.summary()["transfer duck"][0] > 0


def test_what_an_object_does_not_declare_has_the_defaults(as_users_run):
    taken = registry.resolve(Noop())
    assert (taken.name, taken.domain, taken.norms) == ("theirs", "ball", ("linf", "l2", "l1"))
    assert taken.tolerance is None
    assert not taken.gradient_free


def test_an_object_of_another_package_keeps_its_identity_in_run_folders(as_users_run):
    assert identity(registry.resolve(Duck(steps=3))) == identity(Duck(steps=3))


def test_options_as_text_reach_a_dataclass_of_another_package(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("duck", f"{__name__}:Duck", group)])
    monkeypatch.setattr(EntryPoint, "load", _load)
    assert registry.resolve("duck,steps=5").attack.steps == 5
