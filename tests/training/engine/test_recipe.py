import pytest
import torch

import epsball as eb
from epsball import Ball, InputError
from epsball.training import PGD, Losses, Recipe
from epsball.training.engine.averaging import Average
from epsball.training.engine.batches import Batches
from helpers import convnet, mlp


def test_ema_is_the_recursion_and_comes_back_out():
    module = torch.nn.Linear(2, 1)
    average = Average(module, Recipe(ema=0.5))
    weights = [torch.full((1, 2), float(v)) for v in (1, 2, 3, 4)]
    mean = weights[0]
    for t, w in enumerate(weights):
        module.weight.data.copy_(w)
        average.after_step()
        d = min(0.5, (1 + t) / (10 + t))
        mean = w if t == 0 else d * mean + (1 - d) * w
    with average.in_place():
        torch.testing.assert_close(module.weight.data, mean)
    assert torch.equal(module.weight.data, weights[-1])


def test_swa_is_the_mean_over_the_ends_of_the_later_epochs():
    module = convnet()
    average = Average(module, Recipe(epochs=4, swa=0.5))
    for epoch, value in enumerate((1.0, 2.0, 3.0, 5.0), start=1):
        module[1].running_mean.fill_(value)
        module[1].num_batches_tracked.fill_(epoch)
        average.after_step()
        average.after_epoch(epoch)
    average.settle()
    assert module[1].running_mean.tolist() == [4.0] * 4
    assert module[1].num_batches_tracked == 4


def test_batches_take_every_example_once_per_epoch_and_replay_it():
    batches = Batches(torch.arange(10, 33), Recipe(batch_size=5, epochs=2), replays=2)
    assert (batches.per_epoch, batches.total) == (10, 20)
    first = [batches[step] for step in range(10)]
    assert torch.equal(first[0], first[1])
    assert torch.cat(first[::2]).sort().values.tolist() == list(range(10, 33))
    assert {len(rows) for rows in first} == {4, 5}
    assert not torch.equal(batches[10], first[0])
    assert torch.equal(batches[0], first[0])


def test_replays_of_a_batch_see_one_augmentation(as_users_run):
    seen = []

    class Watching:
        name = "watching"
        replays = 2

        def __call__(self, module, x, y, context):
            seen.append(x)
            return Losses(examples=context.cross_entropy(module(x), y))

    recipe = Recipe(epochs=2, batch_size=108, augment="crop=2,flip", lr=0.01)
    eb.train(mlp(64, 8, 10), "digits,first=120", objective=Watching(), recipe=recipe)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    sums = [images.flatten(1).sum(1).sort().values for images in (seen[0], seen[2])]
    assert not torch.equal(*sums)


def test_the_radius_warms_up_and_training_never_leaves_the_ball(as_users_run):
    seen = []

    class Watching:
        name = "watching"
        ball = Ball("linf", 0.2)

        def __call__(self, module, x, y, context):
            objective = PGD(ball=self.ball, steps=2)
            x_adv = objective.search(module, x, y, context)
            seen.append((context.share, float((x_adv - x).abs().max())))
            return objective.losses(module, x, x_adv, y, context)

    recipe = Recipe(epochs=1, batch_size=20, warm_up=0.5, lr=0.01)
    eb.train(mlp(64, 8, 10), "digits,first=120", objective=Watching(), recipe=recipe)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert (shares[0] < 0.5, shares[-1]) == (True, 1.0)
    assert all(0.9 * share * 0.2 < moved <= share * 0.2 + 1e-6 for share, moved in seen)


def test_bf16_trains_weights_that_stay_float32(as_users_run, short_evaluations):
    recipe = Recipe(epochs=2, batch_size=60, lr=0.05, precision="bf16")
    result = eb.train(convnet(classes=10), "digits,first=300", objective=PGD(ball=Ball("linf", 0.1)), recipe=recipe)
    assert result.history[-1].loss < result.history[0].loss
    assert all(p.dtype == torch.float32 for p in result.classifier.module.parameters())


def test_a_network_that_wants_plain_layout_gets_it():
    class Views(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.output = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(144, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.output(self.convolution(x).view(len(x), -1))

    result = eb.train(Views(), "digits,first=120", recipe=Recipe(epochs=1, batch_size=40))
    assert len(result.history) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"warm_up": 1.0}, "warm_up is 1.0"),
        ({"ema": -0.1}, "ema is -0.1"),
        ({"ema": 0.9, "swa": 0.5}, "set one to 0"),
        ({"precision": "fp16"}, "Did you mean 'bf16'"),
        ({"augment": "crop"}, "write crop=4"),
        ({"augment": "flip=2"}, "takes no number"),
        ({"augment": "crops=4"}, "Did you mean 'crop'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
    ],
)
def test_bad_options_are_explained(options, words, as_users_run):
    with pytest.raises(InputError, match=words):
        Recipe(**options)


def test_a_class_of_the_model_beyond_the_labels_is_reported_too(as_users_run):
    x, y = eb.data.load("digits", split="train")[:200]
    with pytest.warns(UserWarning, match=r"no example of class 10, 11 is trained on \(the model has 12"):
        eb.train(mlp(64, 8, 12), (x, y), recipe=Recipe(epochs=1, batch_size=50))


def test_a_class_without_examples_is_reported(as_users_run):
    x, y = eb.data.load("digits", split="train")[:200]
    kept = y != 7
    with pytest.warns(UserWarning, match=r"no example of class 7 is trained on"):
        eb.train(mlp(64, 8, 10), (x[kept], y[kept]), recipe=Recipe(epochs=1, batch_size=50))
