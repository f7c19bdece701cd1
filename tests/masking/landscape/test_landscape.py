"""`landscape` against closed forms, on models that mislead, and what it draws."""

import json

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.errors import InputError
from epsball.masking.landscape import Landscapes, parsed
from epsball.masking.landscape.subject import Subject
from epsball.masking.landscape.sweep import Sweep, rows_that_fit, spaced

BALLS = ("linf:1/10", "l2:1/4", "l1:1/2")
DIMENSIONS, CLASSES = 9, 3


def linear(scale=1.0):
    torch.manual_seed(0)
    layer = nn.Linear(DIMENSIONS, CLASSES)
    layer.weight.data *= scale
    layer.bias.data *= scale
    return layer


def examples(module, count=3):
    x = 0.4 + 0.2 * torch.rand(count, DIMENSIONS, generator=torch.Generator().manual_seed(1))
    return x, module(x).argmax(1)


def small(module, text="linf:1/10", count=3, **options):
    x, y = examples(module, count)
    return eb.landscape(eb.Classifier(module), x, y, eb.Ball.parse(text), **{"points": 9, "method": "pgd", **options})


@pytest.mark.parametrize("text", BALLS)
@pytest.mark.parametrize("directions", [("gradient", "random"), ("witness", "curvature"), ("random", "second-witness")])
def test_the_plane_of_a_linear_model_is_a_plane(text, directions):
    module = linear()
    result = small(module, text, directions=directions)
    x, y = examples(module)
    ball = eb.Ball.parse(text)
    radius = torch.full((len(x),), float(ball.radius), dtype=torch.float64)
    for v in (result.v1, result.v2):
        torch.testing.assert_close(ball.distance(x + v, x), radius, rtol=1e-4, atol=0)
    assert (result.v1 * result.v2).sum(1).abs().max() < 1e-6
    points = x[:, None, None] + result.axis.float()[None, None, :, None] * result.v1[:, None, None]
    points = points + result.axis.float()[None, :, None, None] * result.v2[:, None, None]
    logits = module(points.flatten(0, 2)).detach()
    labels = y.repeat_interleave(81)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    expected = (logits.gather(1, labels[:, None])[:, 0] - others).view(3, 9, 9).double()
    torch.testing.assert_close(result.margin, expected, rtol=1e-4, atol=1e-5)
    assert (result.predicted.flatten() == logits.argmax(1)).all()
    torch.testing.assert_close(
        result.loss.flatten(), nn.functional.cross_entropy(logits, labels, reduction="none").double(), rtol=1e-4, atol=0
    )


def test_numbers_and_lines_of_a_linear_model_have_nothing_but_a_first_order():
    result = small(linear(), points=5)
    found = result.numbers["margin"]
    torch.testing.assert_close(found.first, found.change, rtol=1e-3, atol=1e-5)
    assert found.second.abs().max() < 1e-5
    assert (found.first.abs() <= found.gradient_norm * (1 + 1e-6)).all()
    for ways in result.lines:
        for line in ways:
            middle = line.margin[len(line.e) // 2]
            # The largest other logit may change on the way.
            ahead = (line.e > 0) & (line.e < 0.2)
            drawn = middle + line.slope["margin"] * line.e
            torch.testing.assert_close(line.margin[ahead], drawn[ahead], rtol=1e-3, atol=1e-3)


def test_the_first_direction_leads_to_fgsms_point_and_the_second_to_the_witness():
    result = small(linear(), "linf:3/10")
    for marks, ways in zip(result.marks, result.lines, strict=True):
        fgsm, witness = marks
        assert (fgsm.name, witness.name) == ("FGSM", "witness")
        assert abs(fgsm.e1 - 1) < 1e-4
        assert abs(fgsm.e2) < 1e-4
        assert max(fgsm.off, witness.off) < 1e-3
        assert witness.margin <= 0
        assert ways[0].end == pytest.approx(1.0, rel=1e-5)
        assert ways[1].inside[0] < 0 < ways[1].inside[1] <= 1


def test_axes_reach_every_point_that_lies_in_the_plane():
    result = small(linear(), "linf:3/10")
    assert float(result.axis[-1]) >= 1.5
    assert all(max(abs(m.e1), abs(m.e2)) < float(result.axis[-1]) for marks in result.marks for m in marks)
    assert float(small(linear(), reach=2.0).axis[-1]) == 2.0


def test_a_given_direction_is_taken_as_it_is():
    direction = torch.zeros(DIMENSIONS)
    direction[4] = -3.0
    result = small(linear(), directions=(direction, "random"))
    assert torch.equal(result.v1.nonzero()[:, 1], torch.tensor([4, 4, 4]))
    torch.testing.assert_close(result.v1[:, 4], torch.full((3,), -0.1))
    assert result.directions == ("given", "random")


def test_results_do_not_depend_on_batches_and_seeds_fix_draws():
    first, second = (small(linear(), directions=("random", "curvature"), batch_size=rows) for rows in (16, 48))
    # A matrix product of another number of rows may round differently.
    torch.testing.assert_close(first.margin, second.margin, rtol=0, atol=1e-6)
    assert torch.equal(first.v1, second.v1)
    other = small(linear(), directions=("random", "curvature"), seed=1)
    assert not torch.equal(first.v1, other.v1)


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(x.detach())


def test_a_model_without_gradient_is_drawn_all_the_same():
    module = Detached()
    x, y = examples(module)
    result = eb.landscape(eb.Classifier(module), x, y, eb.Ball("linf", "1/10"), points=5, method="square,queries=50")
    assert result.margin.isfinite().all()
    assert result.numbers["margin"].gamma.isnan().all()
    assert result.numbers["margin"].change.abs().max() == 0
    assert any("no FGSM's point" in note for note in result.notes)
    result.plot()


def test_saturated_logits_follow_the_margin_and_say_so():
    result = small(linear(scale=1e5))
    assert any("follows the margin" in note for note in result.notes)
    assert (result.numbers["margin"].first < 0).all()


def test_a_misclassified_example_is_its_own_witness_and_gets_a_random_direction():
    module = linear()
    x, y = examples(module)
    result = eb.landscape(eb.Classifier(module), x, (y + 1) % CLASSES, eb.Ball("linf", "1/10"), points=5, method="pgd")
    assert (result.margin[:, 2, 2] < 0).all()
    assert any("to the witness is zero" in note for note in result.notes)


def test_parallel_directions_give_way_to_a_random_one():
    direction = torch.ones(DIMENSIONS)
    result = small(linear(), directions=(direction, -2 * direction))
    assert (result.v1 * result.v2).sum(1).abs().max() < 1e-6
    assert any("parallel" in note for note in result.notes)


def test_every_corner_of_a_small_box_has_a_plane():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    classifier = eb.Classifier(nn.Identity())
    result = eb.landscape(classifier, x, torch.zeros(3, dtype=torch.int64), eb.Ball("linf", "1/4"), points=5)
    assert (result.v1.flatten(1).any(1) & result.v2.flatten(1).any(1)).all()


def test_a_stochastic_model_is_drawn_by_its_mean():
    module = nn.Sequential(nn.Flatten(), Noise(), linear())
    x, y = examples(linear())
    classifier = eb.Classifier(module, stochastic=True, repetitions=3)
    runs = [
        eb.landscape(classifier, x[:1], y[:1], eb.Ball("linf", "1/10"), points=5, method="pgd,steps=2")
        for _ in range(2)
    ]
    assert torch.equal(runs[0].margin, runs[1].margin)


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.01 * torch.randn_like(x)


def test_the_module_and_its_grads_are_left_alone():
    module = linear().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    small(module)
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 10}, "odd number"),
        ({"reach": 0.0}, "reach"),
        ({"directions": (torch.zeros(DIMENSIONS), "random")}, "zero or not finite"),
        ({"directions": (torch.ones(4), "random")}, "a direction is"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        small(linear(), **options)


def test_a_ball_of_radius_0_and_an_input_of_one_coordinate_are_refused():
    with pytest.raises(InputError, match="radius 0"):
        small(linear(), "linf:0")
    classifier = eb.Classifier(nn.Linear(1, 2))
    with pytest.raises(InputError, match="one coordinate"):
        eb.landscape(classifier, torch.full((1, 1), 0.5), torch.tensor([0]), eb.Ball("linf", 0.1), points=3)


def test_directions_by_text():
    assert parsed("gradient, random") == ("gradient", "random")
    with pytest.raises(InputError, match="did you mean|Did you mean|curvature"):
        parsed("gradient,curvatur")
    with pytest.raises(InputError, match="two names"):
        parsed("gradient")


def test_tables_json_and_pages_stand_alone():
    result = small(linear(), "linf:3/10", count=1)
    json.dumps(result.to_json(), allow_nan=False)
    table, points = result.to_arrow(), result.points()
    assert len(table) == 1
    assert "margin.gamma" in table.column_names
    assert "witness.e1" in table.column_names
    assert len(points) == 81
    assert points.column("margin").to_pylist()[9 * 4 + 4] == float(result.margin[0, 4, 4])
    both = Landscapes(by_title={"<one>": result, "two": result})
    page = both.to_html("pair")
    assert "&lt;one&gt;" in page
    assert "<script" not in page
    assert "src=" not in page
    assert page.count("<svg") == 2
    assert "witness" in str(both)


def test_landscapes_of_other_examples_do_not_stand_side_by_side():
    one = small(linear(), points=3)
    with pytest.raises(InputError, match="side by side"):
        Landscapes(by_title={})
    assert len(Landscapes(by_title={"one": one}).to_arrow()) == 3


def test_batches_shrink_with_the_widest_layer():
    x = torch.rand(1, 16)
    narrow = eb.Classifier(nn.Linear(16, 2))
    wide = eb.Classifier(nn.Sequential(nn.Linear(16, 20_000), nn.ReLU(), nn.Linear(20_000, 2)))
    with narrow.in_use(), wide.in_use():
        assert rows_that_fit(narrow, x) == 256
        assert rows_that_fit(wide, x) == 16


def test_out_of_memory_halves_the_batch():
    class Greedy(nn.Module):
        def forward(self, x):
            if len(x) > 50:
                raise torch.OutOfMemoryError("too large")
            return x

    classifier = eb.Classifier(Greedy())
    x, y = torch.rand(1, 3), torch.tensor([0])
    with classifier.in_use():
        sweep = Sweep(Subject.of(classifier, x, y, eb.Ball("linf", 0.1), 0), 256)
        e = spaced(1.0, 101)
        heights = sweep.heights(0, (torch.ones(3), torch.zeros(3)), e, torch.zeros(1, dtype=torch.float64))
    assert sweep.rows == 32
    assert len(heights.margin) == 101
