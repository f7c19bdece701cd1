"""The smoothing link: columns of its own, labelled probabilistic, and no part of verdicts, chain or alarm."""

import importlib
import json

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.auditing.links import SmoothingLink
from epsball.cli import main
from epsball.errors import InputError

X = torch.tensor([[0.9, 0.1], [0.5, 0.6], [0.4, 0.3], [0.2, 0.8]])
Y = torch.tensor([0, 1, 1, 1])
BALL = eb.Ball("l2", 0.1)
BARE = {"attack": "fgsm", "limit": False}
SMOOTH = "sigma=0.25,samples=2000"


def network() -> eb.Classifier:
    return eb.Classifier(nn.Flatten())


def test_it_adds_columns_and_a_labelled_note_and_changes_nothing_else():
    plain = eb.audit(network(), (X, Y), BALL, **BARE)
    audit = eb.audit(network(), (X, Y), BALL, smooth=SMOOTH, **BARE)
    own = [name for name in audit.evidence.column_names if name.startswith("smoothed.")]
    assert own == list(SmoothingLink.run_schema)
    assert audit.evidence.drop_columns(own).equals(plain.evidence)
    assert dict(audit.chain.places) == dict(plain.chain.places)
    (note,) = set(audit.chain.notes) - set(plain.chain.notes)
    assert note.startswith("probabilistic, of the smoothed classifier")
    alone = eb.smooth(network(), (X, Y), sigma=0.25, radii=["0.1"], samples=2000)
    assert audit.evidence["smoothed.radius"].to_pylist() == alone.radius.tolist()
    assert audit.evidence["smoothed.certified"].to_pylist() == alone.certified_at("0.1").tolist()


def test_the_smoothed_classifier_may_be_certified_where_the_base_classifier_is_broken():
    """It is another classifier: no alarm."""

    class Spike(nn.Module):
        """A thin wrong strip beside the first example, which noise averages away."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            strip = ((x[:, 0] - 0.85).abs() < 0.01).float()
            gap = x[:, 0] - x[:, 1]
            return torch.stack([gap - 4 * strip, -gap + 4 * strip], dim=1)

    points = torch.linspace(-0.09, 0.09, 181)[:, None] * torch.tensor([1.0, 0.0])
    assert (Spike()(X[:1] + points).argmax(1) == 1).any()
    audit = eb.audit(
        eb.Classifier(Spike()), (X[:1], Y[:1]), BALL, smooth=SMOOTH, attack="square", certificates="none", limit=False
    )
    assert audit.evidence["verdict"].to_pylist() == ["broken"]
    assert audit.evidence["smoothed.certified"].to_pylist() == [True]


def test_a_finished_run_is_smoothed_on_demand_keeps_it_and_refuses_another(tmp_path):
    run = tmp_path / "run"
    before = eb.audit(network(), (X, Y), BALL, folder=run, **BARE)
    after = eb.audit(network(), (X, Y), BALL, folder=run, smooth=SMOOTH, **BARE)
    again = eb.audit(network(), (X, Y), BALL, folder=run, **BARE)
    assert before.manifest != after.manifest == again.manifest
    assert again.evidence.equals(after.evidence)
    assert again.chain.notes == after.chain.notes
    document = json.loads((run / "smoothed.json").read_text())
    assert (document["probabilistic"], document["about"]) == (True, "the smoothed classifier")
    assert not (run / "parts-smoothed").exists()
    assert eb.auditing.verify_run(run, network(), (X, Y)).holds
    with pytest.raises(InputError, match=r"holds another smoothing \(sigma=0.25, samples=2000; now sigma=0.5\)"):
        eb.audit(network(), (X, Y), BALL, folder=run, smooth="sigma=0.5", **BARE)


def test_an_interrupted_smoothing_goes_on_from_its_votes(tmp_path, monkeypatch):
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    y, run = (x[:, 1] > x[:, 0]).long(), tmp_path / "run"
    whole = eb.audit(network(), (x, y), BALL, smooth=SMOOTH, **BARE)
    sampled = []

    def stopping(*args: object, **options: object) -> object:
        sampled.append(1)
        if len(sampled) == 2:
            raise KeyboardInterrupt
        return ballot(*args, **options)

    module = importlib.import_module("epsball.smoothing.smooth")
    ballot = module._ballot
    monkeypatch.setattr(module, "_ballot", stopping)
    with pytest.raises(KeyboardInterrupt):
        eb.audit(network(), (x, y), BALL, folder=run, smooth=SMOOTH, **BARE)
    assert [file.name for file in (run / "parts-smoothed").glob("votes-*")] == ["votes-000000.json"]
    resumed = eb.audit(network(), (x, y), BALL, folder=run, smooth=SMOOTH, **BARE)
    assert len(sampled) == 4
    assert resumed.evidence.equals(whole.evidence)


@pytest.mark.parametrize(
    ("smooth", "message"),
    [
        ("samples=10", "without the noise's standard deviation"),
        ("sigma=0", "sigma"),
        ("sigma=0.25,sample=3", "option of smooth"),
        ("sigma=0.01,samples=100", "can never be certified"),
        ("sigma=0.25,noise=laplace", "certifies no radius in l2"),
        ("sigma=x", "not a number"),
    ],
)
def test_bad_options_are_named_before_anything_is_audited(smooth, message, tmp_path):
    with pytest.raises(InputError, match=message):
        eb.audit(network(), (X, Y), BALL, smooth=smooth, folder=tmp_path / "run", **BARE)
    assert not list(tmp_path.glob("run/evidence*"))


def test_l1_takes_laplace_noise_and_linf_says_what_it_is():
    evidence = eb.audit(network(), (X, Y), eb.Ball("l1", 0.1), smooth=SMOOTH, **BARE).evidence
    assert "Laplace" in evidence["smoothed.assumption"][0].as_py()
    notes = eb.audit(network(), (X, Y), eb.Ball("linf", 0.05), smooth=SMOOTH, **BARE).chain.notes
    assert any("linf (l2 over the square root of 2)" in note for note in notes)


def test_the_command(tmp_path, capsys):
    command = ["audit", "mlp,hidden=8", "digits,first=4", "--ball", "l2:0.1", "--attack", "fgsm", "--no-limit"]
    assert main([*command, "--smooth", SMOOTH, "--out", str(tmp_path / "run")]) == 0
    assert "probabilistic, of the smoothed classifier" in capsys.readouterr().out
