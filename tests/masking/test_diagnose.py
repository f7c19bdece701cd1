"""`diagnose`: an honest net is sound, hidden gradients are found and the number is lowered; laws of the verdict."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.attacks.search import CHUNK
from epsball.errors import InputError
from epsball.masking.checks.registry import CHECKS
from epsball.masking.verdict import VERDICTS

BALL = eb.Ball("linf", "1/10")
COUNT = 64


def trained() -> nn.Sequential:
    """Return a small network of three classes in the plane, trained in a few hundred steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    x, y = drawn(400, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def drawn(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points of the plane and which of three sectors around its middle they lie in."""
    x = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    angle = torch.atan2(x[:, 1] - 0.5, x[:, 0] - 0.5)
    return x, ((angle + torch.pi) / (2 * torch.pi) * 3).long().clamp(max=2)


class Around(nn.Module):
    """A network with something before it and something after it."""

    def __init__(self, network: nn.Module, *, before=lambda x: x, after=lambda z: z) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x):
        return self.after(self.network(self.before(x)))


def diagnosed(network: nn.Module, x=None, y=None, **options) -> "eb.Diagnosis":
    drawn_x, drawn_y = drawn(COUNT, 2)
    x, y = drawn_x if x is None else x, drawn_y if y is None else y
    return eb.diagnose(eb.Classifier(network, outputs="logits"), x, y, BALL, **options)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained()


@pytest.fixture(scope="module")
def honest(network) -> "eb.Diagnosis":
    return diagnosed(network)


def test_an_honest_network_is_sound_and_keeps_the_number_of_the_ensemble(network, honest):
    assert honest.verdict == "sound"
    assert honest.passes_gate
    x, y = drawn(COUNT, 2)
    found = eb.attack(eb.Classifier(network), x, y, BALL, method="ensemble")
    assert honest.accuracy["ensemble"] == pytest.approx(found.accuracy)
    assert honest.accuracy["reported"] == min(honest.accuracy.values())


def test_every_check_answers_with_its_question_threshold_and_source(honest):
    assert len(honest.checks) == len(CHECKS)
    for finding in honest.checks:
        assert finding.question.endswith("?")
        assert finding.finding in ("passes", "fails", "inconclusive")
        assert finding.source
    document = json.loads(json.dumps(honest.to_json()))
    assert document["verdict"] == honest.verdict
    assert honest.to_arrow().num_rows == len(CHECKS)
    assert honest.verdict in str(honest)


@pytest.mark.slow
def test_rounded_inputs_hide_the_gradient_and_the_number_comes_down_all_the_same(network, honest):
    found = diagnosed(Around(network, before=lambda x: (x * 15).round() / 15))
    assert found.verdict == "masked"
    assert not found.passes_gate
    assert found.accuracy["reported"] <= honest.accuracy["reported"] + 0.15
    assert any(finding.severity == "masked" and finding.advice for finding in found.checks)


@pytest.mark.slow
def test_a_hidden_gradient_where_nothing_is_hidden_is_a_fact_and_no_suspicion(network):
    x, y = drawn(200, 4)
    sure = network(x).softmax(1).gather(1, y[:, None])[:, 0] > 0.9
    hidden = eb.Classifier(Around(network, before=lambda x: x.detach()), outputs="logits")
    found = eb.diagnose(hidden, x[sure], y[sure], eb.Ball("linf", "1/200"))
    assert found.verdict == "sound"
    vanishing = found.check("vanishing gradients")
    assert (vanishing.finding, vanishing.severity) == ("fails", "none")
    assert "planted witnesses" in vanishing.measured
    assert found.power.interval.low >= 0.9
    assert found.passes <= 1.5 * found.evaluation_passes


@pytest.mark.slow
def test_a_random_network_is_a_fact_and_no_error(network):
    torch.manual_seed(1)
    found = diagnosed(Around(network, before=lambda x: x + 0.01 * torch.randn_like(x)))
    assert found.random
    assert found.verdict in VERDICTS


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_verdict_does_not_depend_on_the_scale_of_logits(network, honest, scale):
    found = diagnosed(Around(network, after=lambda z: scale * z))
    assert found.verdict == honest.verdict or scale > 1
    assert found.accuracy["reported"] == pytest.approx(honest.accuracy["reported"], abs=0.02)


@pytest.mark.slow
def test_the_verdict_does_not_depend_on_a_constant_nor_on_the_numbering_of_classes_nor_on_the_order(network, honest):
    x, y = drawn(COUNT, 2)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))
    others = [
        diagnosed(Around(network, after=lambda z: z + 2.0)),
        diagnosed(Around(network, after=lambda z: z[:, [2, 0, 1]]), y=(y + 1) % 3),
        diagnosed(network, x=x[order], y=y[order]),
    ]
    for found in others:
        assert found.verdict == honest.verdict
        assert found.accuracy["reported"] == pytest.approx(honest.accuracy["reported"], abs=0.02)


@pytest.mark.slow
def test_the_verdict_does_not_depend_on_batches(network, honest, monkeypatch):
    monkeypatch.setitem(CHUNK, "cpu", 17)
    found = diagnosed(network)
    assert found.verdict == honest.verdict
    assert found.accuracy == honest.accuracy


def test_too_few_correct_examples_are_suspect_at_best(network):
    x, y = drawn(20, 2)
    found = diagnosed(network, x=x, y=y)
    assert found.verdict == "suspect"
    assert "too few examples" in found.reasons
    assert diagnosed(network, x=x, y=y, fewest=10).verdict == "sound"


@pytest.mark.slow
def test_a_weak_attack_finds_few_planted_witnesses_and_is_flagged(network):
    hidden = Around(network, before=lambda x: (x * 15).round() / 15)
    weak = eb.diagnose(
        eb.Classifier(hidden, outputs="logits"), *drawn(COUNT, 2), BALL, evaluation=eb.attacks.PGD(steps=7)
    )
    assert weak.verdict == "masked"
    assert weak.power is not None
    assert weak.power.share < 0.9


def test_bad_options_are_named(network):
    with pytest.raises(InputError, match="fewest"):
        diagnosed(network, fewest=0)


def test_the_page_has_a_row_per_check():
    page = (Path(__file__).parents[2] / "docs" / "masking.md").read_text()
    for check in CHECKS:
        assert f"| {check.name} | {check.question} | {check.threshold} | {check.source} |" in page
