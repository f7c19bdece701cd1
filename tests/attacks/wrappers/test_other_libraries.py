"""Other libraries' attacks: held to the ball, the ledger, no trace, and the same result from the same seed."""

import pytest
import torch

from epsball import Ball, Classifier, EpsballError, InputError, MissingExtra, attack
from epsball.attacks import from_art, from_foolbox, from_torchattacks
from epsball.attacks.wrappers.other_libraries import OtherLibraryAttack
from helpers import Counter, convnet, examples, mlp

BALL = Ball("linf", 0.15)


def steps(task):
    """Take ten sign steps as another library would: its own leaf, its own backward, random start, too far."""
    x = task.x + task.radius * (2 * torch.rand_like(task.x) - 1)
    task.module.train()
    for _ in range(10):
        x = x.detach().requires_grad_()
        torch.nn.functional.cross_entropy(task.module(x), task.y).backward()
        x = x + 0.1 * x.grad.sign()
    return task.x + 3 * (x.detach() - task.x)


def foolbox_attack():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is an extra")
    return from_foolbox(foolbox.attacks.LinfPGD(steps=10, rel_stepsize=0.25))


def torchattacks_attack():
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is an extra")
    return from_torchattacks(lambda model, radius: torchattacks.PGD(model, eps=radius, alpha=radius / 4, steps=10))


def art_attack():
    evasion = pytest.importorskip("art.attacks.evasion", reason="the Adversarial Robustness Toolbox is an extra")
    return from_art(
        lambda model, radius: evasion.ProjectedGradientDescent(
            model, eps=radius, eps_step=radius / 4, max_iter=10, verbose=False
        )
    )


MAKERS = [lambda: OtherLibraryAttack(label="steps", run=steps), foolbox_attack, torchattacks_attack, art_attack]
each = pytest.mark.parametrize("make", MAKERS, ids=["own", "foolbox", "torchattacks", "art"])


def case():
    module = convnet().train()
    x, _ = examples(30, (1, 8, 8))
    return module, x, Classifier(module).logits(x).argmax(1)


@each
def test_points_are_projected_verified_and_paid_for(make):
    module, x, y = case()
    method = make()
    counter = Counter(module)
    classifier = Classifier(module)
    result = attack(classifier, x, y, BALL, method=method, batch_size=12)
    assert result.broken.any()
    assert BALL.contains(result.x_adv, x).all()
    assert torch.equal(Classifier(module).logits(result.x_adv).argmax(1) != y, result.broken)
    assert result.ledger.passes[0] == counter.rows - 30
    assert result.ledger.passes[1] == classifier.passes.backward >= 300
    shares = result.ledger.forwards[result.ledger.of(method.name)]
    assert len(shares) == 30
    assert "(even shares)" in method.name


@each
def test_there_is_no_trace_and_the_same_seed_gives_the_same_points(make):
    module, x, y = case()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    first, second = (attack(Classifier(module), x, y, BALL, method=make(), seed=4) for _ in range(2))
    assert torch.equal(first.x_adv, second.x_adv)
    assert all(part.training for part in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_the_passes_of_an_interrupted_attack_are_counted():
    def interrupted(task):
        task.module(task.x)
        raise KeyboardInterrupt

    module = mlp()
    counter = Counter(module)
    x, y = examples(10)
    with pytest.raises(KeyboardInterrupt) as stop:
        attack(Classifier(module), x, y, BALL, method=OtherLibraryAttack(label="slow", run=interrupted))
    result = stop.value.partial
    assert result.interrupted
    assert result.ledger.passes[0] == counter.rows


def test_an_attack_that_fails_or_returns_another_shape_is_named():
    x, y = examples(5)

    def failing(task):
        raise ValueError("init_attack failed")

    with pytest.raises(EpsballError, match="theirs failed: ValueError: init_attack failed"):
        attack(Classifier(mlp()), x, y, BALL, method=OtherLibraryAttack(label="theirs", run=failing))
    with pytest.raises(EpsballError, match=r"theirs returned \(\d, 3\) for inputs \(\d, 16\)"):
        attack(Classifier(mlp()), x, y, BALL, method=OtherLibraryAttack(label="theirs", run=lambda task: task.x[:, :3]))


@pytest.mark.parametrize("returned", [lambda task: None, lambda task: task.x.numpy(), lambda task: (task.x, task.y)])
def test_an_attack_that_returns_no_tensor_is_named(returned, as_users_run):
    x, y = examples(5)
    with pytest.raises(EpsballError, match="theirs returned a .*; expected a tensor"):
        attack(Classifier(mlp()), x, y, BALL, method=OtherLibraryAttack(label="theirs", run=returned))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_examples_with_nan_points_are_reported_and_the_others_go_on(norm):
    x, _ = examples(20)
    y = mlp()(x).argmax(1)

    def half(task):
        points = task.x + 0.15 * (2 * torch.rand_like(task.x) - 1).sign()
        points[:5] = torch.nan
        return points

    with pytest.warns(UserWarning, match="theirs returned NaN for 5 of 20 examples"):
        result = attack(
            Classifier(mlp()),
            x,
            y,
            Ball(norm, 4 if norm == "l1" else 0.6),
            method=OtherLibraryAttack(label="theirs", run=half),
        )
    assert not result.broken[:5].any()
    assert result.broken.any()


def test_what_is_not_a_foolbox_attack_is_refused():
    for attacker in (OtherLibraryAttack, "LinfPGD"):
        with pytest.raises(InputError, match="give a Foolbox attack object"):
            from_foolbox(attacker)


def test_another_library_may_compute_in_float64():
    """As HopSkipJump of the Adversarial Robustness Toolbox does."""

    def doubled(task):
        x = task.x.double().requires_grad_()
        torch.nn.functional.cross_entropy(task.module(x), task.y).backward()
        return x.detach() + 0.2 * x.grad.sign()

    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    result = attack(Classifier(mlp()), x, y, BALL, method=OtherLibraryAttack(label="theirs", run=doubled))
    assert result.broken.any()
    assert result.ledger.passes[1] == 20


def test_a_ball_without_box_or_with_another_is_an_error():
    x, y = examples(5)
    free = Classifier(mlp(), low=None, high=None)
    with pytest.raises(InputError, match="needs a box"):
        attack(free, x, y, Ball("linf", 0.1, None, None), method=OtherLibraryAttack(label="steps", run=steps))
    wide = Classifier(mlp(), low=-1.0, high=1.0)
    with pytest.raises(InputError, match="works in the box"):
        attack(wide, x, y, Ball("linf", 0.1, -1, 1), method=from_torchattacks(lambda model, radius: None))


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("epsball.attacks.wrappers.other_libraries.import_module", _missing)
    x, y = examples(5)
    with pytest.raises(MissingExtra, match=r"pip install 'epsball\[art\]'"):
        attack(Classifier(mlp()), x, y, BALL, method=from_art(lambda model, radius: None))


def _missing(name):
    raise ImportError(name)
