"""Smoothing: true on linear classifiers, whose radius is known; repeatable; what it says and refuses."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from torch import nn

import epsball as eb
from epsball import progress
from epsball.cli import main
from epsball.errors import InputError
from epsball.smoothing.smooth import GROUP

BOX = {"low": None, "high": None}


def half_space(offset: float = 0.0, entries: int = 4) -> eb.Classifier:
    """Return the classifier of w.x + b with ||w|| = 1: its smoothed classifier's radius at x is |w.x + b| exactly."""
    layer = nn.Linear(entries, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.zeros(entries), torch.full((entries,), entries**-0.5)]))
        layer.bias.copy_(torch.tensor([0.0, offset]))
    return eb.Classifier(layer, **BOX)


def at_distances(distances: Sequence[float], entries: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points at these signed distances from the half space's boundary, and their classes."""
    x = torch.tensor(distances)[:, None] * torch.full((1, entries), entries**-0.5)
    # Apart along the boundary, so that no two points, and so no two keys, are alike.
    return x + torch.arange(len(x))[:, None] * torch.tensor([1.0, -1.0, 0.0, 0.0]), (torch.tensor(distances) > 0).long()


def test_radii_of_a_linear_classifier_are_below_and_near_the_truth():
    x, y = at_distances([0.3, -0.5, 0.8])
    found = eb.smooth(half_space(), (x, y), sigma=0.5, radii=["0.7"], bound="fixed", samples=20_000)
    assert (found.radius < [0.3, 0.5, 0.8]).all()
    assert (found.radius > [0.25, 0.44, 0.73]).all()
    assert found.rows.predicted.tolist() == [1, 0, 1]


@pytest.mark.parametrize("bound", ["sequence", "fixed"])
def test_certificates_are_wrong_at_most_as_often_as_alpha(bound):
    alpha, n = 0.05, 200
    found = eb.smooth(
        half_space(), at_distances([0.25] * n), sigma=0.5, radii=["0.25"], samples=1000, bound=bound, alpha=alpha
    )
    wrong = int((found.radius > 0.25 + 1e-6).sum())
    assert binomtest(wrong, n, alpha, alternative="greater").pvalue > 1e-3


def test_both_sides_of_every_radius_are_decided_and_sampling_stops():
    x, y = at_distances([0.3, 0.9])
    found = eb.smooth(half_space(), (x, y), sigma=0.5, radii=["0.6"])
    assert found.certified_at("0.6").tolist() == [False, True]
    assert (found.rows.samples < 2000).all()


def test_a_point_on_the_boundary_abstains_before_its_last_sample():
    x = torch.zeros(1, 4)
    found = eb.smooth(half_space(), (x, torch.tensor([0])), sigma=0.5, radii=["0"], samples=30_000)
    assert found.abstained.tolist() == [True]
    assert (found.rows.samples < 30_000).all()
    assert not found.certified_at(0).any()


def test_the_votes_follow_the_share_of_the_half_space():
    x, y = at_distances([0.4])
    found = eb.smooth(half_space(), (x, y), sigma=0.5, radii=["0.1"], bound="fixed", samples=50_000)
    assert binomtest(int(found.rows.count[0]), 50_000, norm.cdf(0.8)).pvalue > 1e-3


def test_batches_order_and_neighbours_change_no_vote():
    x, y = at_distances(np.linspace(0.1, 1.0, 2 * GROUP + 3).tolist())
    options = {"sigma": 0.5, "radii": ["0.2", "0.6"], "samples": 2000}
    whole = eb.smooth(half_space(), (x, y), **options)
    assert eb.smooth(half_space(), (x, y), batch_size=7, **options).rows.count.tolist() == whole.rows.count.tolist()
    backwards = eb.smooth(half_space(), (x.flip(0), y.flip(0)), **options)
    assert backwards.rows.count[::-1].tolist() == whole.rows.count.tolist()
    alone = eb.smooth(half_space(), (x[5:6], y[5:6]), **options)
    assert alone.rows.count[0] == whole.rows.count[5]


def test_the_label_of_another_class_is_certified_stable_but_not_right():
    x, y = at_distances([0.9])
    found = eb.smooth(half_space(), (x, 1 - y), sigma=0.5, radii=["0.3"])
    assert found.radius[0] > 0.3
    assert found.curve[0].accuracy.value == 0.0


def test_simultaneous_certificates_divide_alpha():
    x, y = at_distances([0.9, 0.8])
    found = eb.smooth(half_space(), (x, y), sigma=0.5, radii=["0.3"], simultaneous=True)
    assert found.alpha == 0.0005
    assert "all of them hold with probability at least 0.999" in str(found)


def test_a_denoiser_stands_between_noise_and_classifier():
    x, y = at_distances([0.3])
    shifted = nn.Linear(4, 4)
    with torch.no_grad():
        shifted.weight.copy_(torch.eye(4))
        shifted.bias.copy_(torch.full((4,), 0.5))  # by 1 along the half space's normal
    found = eb.smooth(half_space(), (x, y), sigma=0.5, radii=["1"], denoiser=shifted)
    assert found.certified_at(1).all()
    assert "behind its denoiser" in found.assumption


def test_samples_without_usable_logits_vote_for_nothing():
    class Fragile(nn.Module):
        def forward(self, x):
            scores = torch.stack([-x[:, 0], x[:, 0]], dim=1)
            return torch.where(x[:, :1] > 1.5, torch.nan, scores)

    found = eb.smooth(
        eb.Classifier(Fragile(), **BOX), (torch.ones(1, 4), torch.ones(1).long()), sigma=0.5, radii=["0.1"],
        bound="fixed", samples=20_000,
    )  # fmt: skip
    assert binomtest(int(found.rows.count[0]), 20_000, norm.cdf(1) - norm.cdf(-2)).pvalue > 1e-3


def test_l1_by_uniform_noise_on_one_entry():
    x, y = torch.tensor([[0.5, 0.0, 0.0, 0.0]]), torch.tensor([1])

    class First(nn.Module):
        def forward(self, x):
            return torch.stack([torch.zeros_like(x[:, 0]), x[:, 0]], dim=1)

    first = eb.Classifier(First(), **BOX)
    found = eb.smooth(first, (x, y), sigma=1.0, radii=["0.45"], norm="l1", noise="uniform")
    assert found.certified_at("0.45").all()
    assert found.radius[0] < 0.5


REFUSED = {
    "sigma": ({"sigma": 0.0, "radii": ["0.1"]}, "sigma is 0.0; it must be a positive number"),
    "reach": (
        {"sigma": 0.1, "radii": ["0.1", "1"]},
        "radius 1 can never be certified with 100000 samples",
    ),
    "no radius": ({"sigma": 0.1, "radii": []}, "give a sequence of at least one radius"),
    "text": ({"sigma": 0.1, "radii": "0.1"}, "give a sequence of at least one radius"),
    "norm": ({"sigma": 0.1, "radii": ["0.1"], "norm": "l1"}, "gaussian noise certifies no radius in l1"),
    "samples": ({"sigma": 0.5, "radii": ["0.1"], "samples": 0}, "samples is 0"),
    "few": ({"sigma": 0.5, "radii": ["0.1"], "samples": 10}, "take samples="),
    "alpha": ({"sigma": 0.5, "radii": ["0.1"], "alpha": 1.0}, "alpha is 1.0"),
    "many": ({"sigma": 0.5, "radii": ["0.1"], "samples": 2**40}, "at most 2147483648"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        eb.smooth(half_space(), at_distances([0.5]), **options)


def test_a_radius_that_was_not_asked_about_is_not_answered():
    found = eb.smooth(half_space(), at_distances([0.9]), sigma=0.5, radii=["0.3"])
    with pytest.raises(InputError, match="the radii are 0.3"):
        found.certified_at("0.4")


def test_a_random_model_is_refused():
    classifier = eb.Classifier(nn.Flatten(), stochastic=True, **BOX)
    with pytest.raises(InputError, match="stochastic"):
        eb.smooth(classifier, at_distances([0.5]), sigma=0.5, radii=["0.1"])


def test_an_interrupted_run_carries_what_it_found_and_goes_on(tmp_path):
    data = at_distances(np.linspace(0.5, 1.0, 2 * GROUP + 1).tolist())
    options = {"sigma": 0.5, "radii": ["0.2"]}

    def interrupt(what, done, total):
        if done >= GROUP:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interruption, progress.listening(interrupt):
        eb.smooth(half_space(), data, folder=tmp_path / "votes", **options)
    partial = interruption.value.partial
    assert len(partial.rows) == GROUP
    assert f"interrupted: {GROUP + 1} of {2 * GROUP + 1} examples are missing" in str(partial)
    reports = []
    with progress.listening(lambda what, done, total: reports.append(done)):
        done = eb.smooth(half_space(), data, folder=tmp_path / "votes", **options)
    assert reports[0] == GROUP
    assert done.to_arrow().equals(eb.smooth(half_space(), data, **options).to_arrow())


def test_a_folder_of_another_smoothing_is_refused(tmp_path):
    eb.smooth(half_space(), at_distances([0.9]), sigma=0.5, radii=["0.2"], folder=tmp_path)
    with pytest.raises(InputError, match=r"another smoothing \(sigma: there 0.5, now 0.25\)"):
        eb.smooth(half_space(), at_distances([0.9]), sigma=0.25, radii=["0.2"], folder=tmp_path)


def test_a_damaged_group_is_named(tmp_path):
    eb.smooth(half_space(), at_distances([0.9]), sigma=0.5, radii=["0.2"], folder=tmp_path)
    (tmp_path / "votes-000000.json").write_text("{}")
    with pytest.raises(InputError, match="votes-000000.json cannot be read"):
        eb.smooth(half_space(), at_distances([0.9]), sigma=0.5, radii=["0.2"], folder=tmp_path)


def test_the_command_line_writes_and_says_that_it_is_probabilistic(tmp_path, capsys):
    arguments = ["smooth", "mlp,hidden=8", "digits,first=3", "--sigma", "0.25", "--radii", "0,0.1", "--samples", "500"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "probabilistic certificates of the smoothed classifier, not of the base classifier" in printed
    document = json.loads((tmp_path / "smooth.json").read_text())
    assert document["probabilistic"] is True
    assert document["about"] == "the smoothed classifier"
    assert {file.name for file in tmp_path.iterdir()} >= {"smooth.arrow", "smooth.png", "votes"}
    assert main([*arguments, "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["curve"] == document["curve"]


@pytest.mark.parametrize("bend", [lambda x: 2 * x, lambda x: x.clamp(0, 1)], ids=["other logits", "only under noise"])
def test_a_folder_notices_changed_code_of_the_model(tmp_path, bend):
    class Bent(nn.Module):
        """Prints the same and has the same weights, whatever its code does."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.code(x)

    x, options = torch.tensor([[0.9, 0.1]]), {"sigma": 0.5, "radii": ["0.1"], "samples": 500, "folder": tmp_path / "s"}
    net = Bent()
    net.code = lambda x: 1 * x
    eb.smooth(eb.Classifier(net), (x, torch.tensor([0])), **options)
    net.code = bend
    with pytest.raises(InputError, match="the model's code: its first logits differ"):
        eb.smooth(eb.Classifier(net), (x, torch.tensor([0])), **options)
