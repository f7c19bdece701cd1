import pytest
import torch

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import PGD, sensitivity
from epsball.attacks.wrappers.step_norm import StepNorm
from helpers import Wrapped, examples, linear, mlp


def small():
    x, _ = examples(40)
    module = mlp()
    return Classifier(module), x, module(x).argmax(1)


def test_each_setting_is_the_attack_it_names():
    classifier, x, y = small()
    ball = Ball("l2", 0.3)
    result = sensitivity(classifier, x, y, ball, steps=(1, 10), factors=(0.1, 2.5), restarts=(1, 2))
    assert [(s.option, s.value) for s in result.settings] == [
        ("steps", "1"),
        ("steps", "10"),
        ("step size", "0.1"),
        ("step size", "2.5"),
        ("start", "none"),
        ("start", "gaussian"),
        ("start", "uniform"),
        ("restarts", "1"),
        ("restarts", "2"),
        ("geometry", "linf"),
        ("geometry", "l2"),
        ("geometry", "l1"),
    ]
    for setting, method in zip(
        result.settings[:3], [PGD(steps=1), PGD(steps=10), PGD(steps=10, step_size="0.1*radius/steps")], strict=True
    ):
        assert setting.standing == int((~attack(classifier, x, y, ball, method=method).broken).sum())
    assert result.of("steps")[1].accuracy <= result.of("steps")[0].accuracy
    assert result.of("step size")[1].accuracy < result.of("step size")[0].accuracy


def test_it_prints_exports_and_draws():
    classifier, x, y = small()
    result = sensitivity(
        classifier, x, y, Ball("linf", 0.1), steps=(1,), factors=(1.0,), starts=("none",), restarts=(1,)
    )
    assert "each setting differs from PGD with 10 steps" in str(result)
    assert result.to_arrow().num_rows == len(result.settings) == 7
    assert result.to_json()["settings"][0]["option"] == "steps"
    figure = result.plot()
    assert figure.axes[0].get_ylabel() == "accuracy under attack"
    assert f"{len(x)} examples" in figure.get_suptitle().replace("\n", " ")
    assert all(axes.lines[0].get_linestyle() == "None" for axes in figure.axes), "values between settings mean nothing"
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["steps K", "step size, in radius / K", "start", "restarts", "norm whose direction is taken"]


def test_sign_steps_lose_in_l2_by_what_geometry_says():
    """On a linear model a step of the radius wins radius |w|_2, along the sign radius |w|_1 / sqrt(d)."""
    weight = torch.tensor([[0.0] * 9, [8.0, 1, 1, 1, 1, 1, 1, 1, 1]], dtype=torch.float64)
    module = linear(weight, torch.tensor([0.0, 0.0], dtype=torch.float64))
    x = torch.full((1, 9), 0.5, dtype=torch.float64)
    y, ball = torch.tensor([1]), Ball("l2", 0.1)
    base = PGD(steps=1, start="none", step_size="radius")
    natural = float(weight[1].sum() * 0.5)
    right = attack(Classifier(module), x, y, ball, method=base, stop="never")
    wrong = attack(Classifier(module), x, y, ball, method=StepNorm(method=base, norm="linf"), stop="never")
    assert natural - float(right.margin[0]) == pytest.approx(0.1 * float(weight[1].norm()), rel=1e-5)
    assert natural - float(wrong.margin[0]) == pytest.approx(0.1 * float(weight[1].sum()) / 3, rel=1e-5)
    assert ball.contains(wrong.x_adv, x).all()


def test_an_unknown_geometry_names_the_nearest(as_users_run):
    with pytest.raises(InputError, match="Did you mean 'linf'"):
        StepNorm(method=PGD(), norm="inf")


@pytest.mark.parametrize("calls", [8, 40])
def test_ctrl_c_keeps_the_settings_that_are_finished(calls):
    seen = []

    def logits(inner, x):
        seen.append(len(x))
        if len(seen) == calls:
            raise KeyboardInterrupt
        return inner(x)

    _, x, y = small()
    with pytest.raises(KeyboardInterrupt) as stop:
        sensitivity(Classifier(Wrapped(logits, mlp())), x, y, Ball("linf", 0.1))
    result = stop.value.partial
    assert result.interrupted
    assert len(result.settings) == (0 if calls == 8 else 2)
    assert str(result).endswith("interrupted: the settings that follow are missing")
    assert result.to_json()["interrupted"]
    assert len(result.plot().axes) == 1
