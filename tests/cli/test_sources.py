"""`epsball attack` with a surrogate, or with partners."""

import json

import pytest

import epsball as eb
from epsball.cli import main


def attacked(capsys, model, *arguments):
    """Return the JSON document of `epsball attack` on some digits."""
    assert main(["attack", model, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_surrogate_is_searched_and_the_model_asked_about_its_points(card, surrogate, capsys):
    model, surrogate = str(card), str(surrogate)
    options = ["digits,first=40", "--ball", "linf:0.1", "--method", "pgd,steps=20"]
    own, other = attacked(capsys, model, *options), attacked(capsys, model, *options, "--surrogate", surrogate)
    itself = attacked(capsys, model, *options, "--surrogate", model)
    assert other["searched on"] == surrogate
    assert own["accuracy"] <= itself["accuracy"] <= other["accuracy"] < 0.9
    assert own["passes"]["backward"] > 0
    assert other["passes"]["backward"] == 0
    assert set(other["by"]) == {"transfer pgd-20", None}


def test_partners_are_found_in_the_pool_and_ties_are_counted(card, capsys):
    document = attacked(
        capsys, str(card), "digits,first=60", "--ball", "l2:1.2", "--method", "collision,partners=3", "--pool", "digits"
    )
    x, y = eb.data.load("digits,first=60")[:]
    pool = eb.data.load("digits")[:]
    expected = eb.attacks.Collision(pool=pool).meetings(eb.data.as_pixels(x), y, eb.Ball("l2", 1.2))
    assert document["collisions"] == str(expected)
    assert "ties" in document["collisions"]
    assert sum(document["broken"]) > 0


BAD = {
    "a pool for pgd": (["--pool", "digits"], "--method collision"),
    "both": (["--method", "collision", "--pool", "digits", "--surrogate", "mlp"], "asks the model under test itself"),
    "no pool": (["--method", "collision"], "--pool DATA"),
    "no surrogate": (["--method", "transfer"], "--surrogate MODEL"),
    "no attack for the surrogate": (["--method", "transfer", "--surrogate", "mlp"], "--method name the attack"),
    "unknown option": (["--method", "collision,partner=3", "--pool", "digits"], "Did you mean 'partners'"),
}


@pytest.mark.parametrize("case", BAD)
def test_sources_that_do_not_fit_are_refused(case, capsys):
    arguments, message = BAD[case]
    assert main(["attack", "mlp", "digits,first=5", "--ball", "linf:0.1", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
