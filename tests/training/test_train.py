import functools
import json

import pytest
import torch

import epsball as eb
from epsball import Ball, EpsballError, InputError
from epsball.randomness import Keys
from epsball.statistics import clopper_pearson
from epsball.training import PGD, Adversarial, Context, Losses, Recipe, Standard
from epsball.training.objectives.inner_search import maximise
from helpers import convnet, mlp

BALL = Ball("linf", 0.1)
QUICK = Recipe(epochs=3, batch_size=64, lr=0.2)


def context(n: int) -> Context:
    positions = torch.arange(n)
    return Context(step=0, keys=Keys.of_positions(positions, 0), positions=positions, total=n, state={})


def digits_mlp(seed: int = 0):
    return mlp(inputs=64, hidden=64, classes=10, seed=seed)


def test_training_learns_and_its_record_shows_it():
    result = eb.train(digits_mlp(), "digits", ball=BALL, recipe=QUICK)
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert result.history[-1].loss < result.history[0].loss
    assert result.history[-1].natural > 0.8
    assert 0 <= result.history[-1].under_attack < result.history[-1].natural
    assert result.classifier.module.training
    assert "under attack" in str(result)
    assert result.to_arrow().num_rows == 3
    assert len(result.plot().axes) in (2, 3), "a panel of quantities only where there was time for certificates"


@pytest.mark.slow
def test_pgd_training_is_more_robust_than_standard_training_with_the_same_seed(as_users_run):
    recipe = Recipe(epochs=6, batch_size=64, lr=0.1)
    standard = eb.train(digits_mlp(), "digits", ball=BALL, recipe=recipe)
    robust = eb.train(digits_mlp(), "digits", objective=PGD(ball=BALL, steps=5), recipe=recipe)
    x, y = eb.data.load("digits")[:]
    counts = [
        (~eb.attack(run.classifier, x, y, BALL, method="pgd,steps=40").broken).sum() for run in (standard, robust)
    ]
    intervals = [clopper_pearson(int(count), len(y)) for count in counts]
    assert intervals[1].low > intervals[0].high


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generators_alone(as_users_run, short_evaluations):
    recipe = Recipe(epochs=1, batch_size=100, lr=0.05)
    generator = torch.get_rng_state()
    runs = [
        eb.train(convnet(classes=10), "digits,first=400", objective=PGD(ball=BALL, steps=2), recipe=recipe)
        for _ in range(2)
    ]
    assert torch.equal(generator, torch.get_rng_state())
    for a, b in zip(*(run.classifier.module.state_dict().values() for run in runs), strict=True):
        assert torch.equal(a, b)


def test_the_inner_search_is_the_attacks_loop_and_leaves_modes_and_statistics():
    module = convnet()
    module.train()
    module[1].eval()
    x = torch.rand(20, 1, 8, 8)
    y = torch.randint(4, (20,))
    statistics = module[1].running_mean.clone()
    keys = Keys.of_positions(torch.arange(20), 0)
    from epsball.attacks.losses import cross_entropy
    from epsball.attacks.parts import starts

    x_adv = maximise(
        module, lambda z: cross_entropy(z, y), x, BALL, step_sizes=[0.05] * 5, start=starts.uniform, keys=keys
    )
    assert BALL.contains(x_adv, x).all()
    assert not x_adv.requires_grad
    assert module.training
    assert not module[1].training
    assert torch.equal(module[1].running_mean, statistics)
    module.eval()
    assert cross_entropy(module(x_adv), y).mean() > cross_entropy(module(x), y).mean()
    assert all(p.grad is None for p in module.parameters())


def test_the_outer_step_is_the_gradient_at_a_constant_adversarial_point():
    module = digits_mlp()
    x, y = torch.rand(12, 64), torch.randint(10, (12,))
    losses = PGD(ball=BALL, steps=3)(module, x, y, context(12))
    assert isinstance(losses, Losses)
    assert losses.examples.shape == (12,)
    assert not x.requires_grad
    losses.examples.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_the_split_is_a_partition_drawn_by_the_seed():
    from epsball.training.engine.batches import split

    fitted, held = split(100, Recipe(holdout=0.2))
    assert sorted([*fitted.tolist(), *held.tolist()]) == list(range(100))
    assert len(held) == 20
    assert held.tolist() != split(100, Recipe(holdout=0.2, seed=1))[1].tolist()


def test_the_checkpoint_loads_as_a_card_and_gives_the_same_logits(tmp_path):
    module = eb.models.load("mlp,hidden=32", shape=(1, 8, 8), classes=10).module
    result = eb.train(module, "digits", mean=0.3, std=0.35, recipe=QUICK, architecture="mlp,hidden=32", folder=tmp_path)
    loaded = eb.models.load(str(result.checkpoint))
    again = loaded.classifier()
    x, _ = eb.data.load("digits")[:50]
    assert torch.equal(again.logits(x), result.classifier.logits(x))
    card = json.loads(result.checkpoint.read_text())
    assert card["training"]["objective"]["name"] == "standard"
    assert card["training"]["recipe"]["epochs"] == 3
    assert len(card["training"]["history"]) == 3
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_a_loss_that_is_not_finite_stops_with_epoch_and_batch_and_keeps_the_last_weights(tmp_path):
    class Diverging:
        name = "diverging"

        def __call__(self, module, x, y, context):
            losses = Standard()(module, x, y, context)
            return Losses(examples=losses.examples * (float("nan") if context.step >= 20 else 1.0))

    with pytest.raises(EpsballError, match=r"loss is nan at epoch 2, batch 4 of 17"):
        eb.train(digits_mlp(), "digits", objective=Diverging(), recipe=QUICK, folder=tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert len(card["training"]["history"]) == 1


def test_a_term_of_the_weights_alone_is_counted_once_a_step():
    class Decayed:
        name = "decayed"

        def __call__(self, module, x, y, context):
            plain = Standard()(module, x, y, context)
            return Losses(examples=0.0 * plain.examples, weights=sum((p**2).sum() for p in module.parameters()))

    module = digits_mlp()
    before = sum(float((p.detach() ** 2).sum()) for p in module.parameters())
    recipe = Recipe(epochs=1, batch_size=1000, lr=0.1, momentum=0.0, weight_decay=0.0, schedule="constant")
    eb.train(module, "digits", objective=Decayed(), recipe=recipe)
    after = sum(float((p.detach() ** 2).sum()) for p in module.parameters())
    steps = 2
    assert after == pytest.approx(before * (1 - 2 * 0.1) ** (2 * steps), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"holdout": 1.0}, "holdout is 1.0"),
        ({"batch_size": 5000}, "choose a smaller batch"),
        ({"lr": 0.0}, "learning rate must be positive"),
        ({"optimiser": "sdg"}, "Did you mean 'sgd'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"momentum": 1.0}, "0 <= momentum < 1"),
    ],
)
def test_bad_recipes_are_explained(options, words, as_users_run):
    with pytest.raises(InputError, match=words):
        eb.train(digits_mlp(), "digits", recipe=Recipe(**options))


def test_bad_objectives_are_explained():
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        eb.train(digits_mlp(), "digits", objective="pdg")
    with pytest.raises(InputError, match="needs a ball"):
        eb.train(digits_mlp(), "digits", objective="pgd")
    by_name = eb.train(digits_mlp(), "digits", objective="pgd", ball=BALL, recipe=Recipe(epochs=1, batch_size=500))
    assert by_name.card.training["objective"]["ball"] == "linf:0.1"
    with pytest.raises(InputError, match="that is standard training"):
        PGD(ball=Ball("linf", 0))
    with pytest.raises(InputError, match="steps is 0"):
        PGD(ball=BALL, steps=0)


def test_labels_of_the_part_trained_on_are_checked_too():
    x, y = eb.data.load("digits", split="train")[:200]
    y = y.clone()
    y[50] = 12
    with pytest.raises(InputError, match="label 12 at index 50"):
        eb.train(digits_mlp(), (x, y), recipe=Recipe(epochs=1, batch_size=50))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda losses: Losses(examples=losses.mean()), r"losses of shape \(\) for 36 examples.*not a mean"),
        (lambda losses: losses, "returned a Tensor"),
        (lambda losses: Losses(examples=losses.detach()), "have no gradient"),
        (lambda losses: Losses(examples=losses, parts={"fit": losses.mean()}), r"fit of shape \(\)"),
    ],
)
def test_an_objective_of_ones_own_that_breaks_the_contract_is_explained(returned, words, as_users_run):
    class Mine:
        name = "mine"

        def __call__(self, module, x, y, context):
            return returned(context.cross_entropy(module(x), y))

    with pytest.raises(InputError, match=f"'mine'.*{words}"):
        eb.train(
            digits_mlp(), "digits,first=120", objective=Mine(), recipe=Recipe(epochs=1, batch_size=50, holdout=0.1)
        )


def test_parts_that_change_from_step_to_step_are_explained(as_users_run):
    class Moody:
        name = "moody"

        def __call__(self, module, x, y, context):
            losses = Standard()(module, x, y, context).examples
            return Losses(examples=losses, parts={"fit": losses.detach()} if context.step else {})

    with pytest.raises(InputError, match="change from step to step"):
        eb.train(digits_mlp(), "digits,first=120", objective=Moody(), recipe=Recipe(epochs=1, batch_size=50))


class Nameless(Adversarial):
    """Inherits, but has no name."""

    def search(self, module, x, y, context):
        return x

    def losses(self, module, x, x_adv, y, context):
        return Losses(examples=context.cross_entropy(module(x_adv), y))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"objective": 3}, "give a name"),
        ({"objective": PGD}, "give a name"),
        ({"objective": Nameless()}, "give a name"),
        ({"ball": "linf:0.1"}, "Ball.parse"),
        ({"objective": "input-gradient", "recipe": Recipe(compile=True)}, "differentiates twice"),
    ],
)
def test_what_is_not_an_objective_or_ball_is_explained(more, words, as_users_run):
    with pytest.raises(InputError, match=words):
        eb.train(digits_mlp(), "digits,first=120", **more)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of the tracing itself
def test_a_compiled_network_trains_as_the_plain_one_and_its_card_loads(monkeypatch, tmp_path, as_users_run):
    """By the tracing half of torch.compile, which needs no compiler of C++."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    losses = []
    for compiled in (False, True):
        module = eb.models.load("mlp,hidden=8", shape=(1, 8, 8), classes=10).module
        module.load_state_dict(mlp_state())
        recipe = Recipe(epochs=1, batch_size=30, compile=compiled)
        folder = tmp_path / str(compiled)
        result = eb.train(
            module,
            "digits,first=110",
            objective=PGD(ball=BALL, steps=2),
            recipe=recipe,
            architecture="mlp,hidden=8",
            folder=folder,
        )
        losses.append(result.history[0].loss)
        eb.models.load(str(folder / "card.json"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def mlp_state():
    generator = torch.Generator().manual_seed(0)
    state = eb.models.load("mlp,hidden=8", shape=(1, 8, 8), classes=10).module.state_dict()
    return {name: 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()}


def test_an_interrupted_measurement_is_not_one_and_stops_the_run(monkeypatch, tmp_path):
    from epsball.training.evaluation import verdicts

    plain, calls = verdicts.attack, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:  # on the second epoch, of the examples trained on
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(verdicts, "attack", interrupted)
    x = torch.linspace(0, 1, 40).view(20, 2)
    settings = {"ball": Ball("linf", 0.1), "recipe": Recipe(epochs=3, batch_size=9), "folder": tmp_path}
    data = x, (x[:, 0] > 0.5).long()

    def net():
        torch.manual_seed(0)
        return torch.nn.Linear(2, 2)

    with pytest.raises(KeyboardInterrupt) as stop:
        eb.train(net(), data, **settings)
    partial = stop.value.partial
    assert [epoch.epoch for epoch in partial.history] == [1]
    assert partial.interrupted
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1
    resumed = eb.train(torch.nn.Linear(2, 2), data, **settings)
    whole = eb.train(net(), data, **{**settings, "folder": tmp_path / "whole"})
    assert [epoch.epoch for epoch in resumed.history] == [1, 2, 3]
    assert [epoch.under_attack for epoch in resumed.history] == [epoch.under_attack for epoch in whole.history]
    trained, expected = (run.classifier.module.state_dict() for run in (resumed, whole))
    assert all(torch.equal(trained[name], expected[name]) for name in expected)
