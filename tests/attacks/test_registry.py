from importlib.metadata import EntryPoint

import pytest

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import PGD, registry
from helpers import examples, mlp


class Noop:
    """An attack of another package."""

    name = "theirs"

    def __call__(self, query, ball, *, keys):
        query.logits(query.x)


def no_attack():
    return 3


@pytest.fixture
def installed(monkeypatch):
    """Let some entry points be installed."""
    group = registry.ENTRY_POINTS
    points = [
        EntryPoint("theirs", f"{__name__}:Noop", group),
        EntryPoint("pgd", f"{__name__}:Noop", group),
        EntryPoint("odd", f"{__name__}:no_attack", group),
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


def test_an_attack_that_is_no_dataclass_takes_no_options(installed):
    with pytest.raises(InputError, match="'theirs' is not a dataclass and takes no options"):
        registry.resolve("theirs,steps=3")


def test_our_own_names_do_not_look_for_packages(monkeypatch):
    monkeypatch.delattr(registry, "entry_points")
    assert registry.resolve("pgd,steps=3").steps == 3


def test_what_cannot_be_loaded_or_is_no_attack_is_told(installed):
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
