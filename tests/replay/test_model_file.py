"""A model file is named by its fingerprint, which is what a certificate is about and what its reader compares."""

import gzip
import json
import zipfile
from dataclasses import is_dataclass

import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball.certificates.replay import export
from epsball.certificates.replay.files import write_model
from epsball.classifier import Classifier
from epsball.cli import app
from epsball.graph import capture, kinds
from epsball_replay import ReplayError, replay
from epsball_replay.kinds import ATTRIBUTES
from epsball_replay.network import read_network
from replay.networks import certificate, graph_of

pytest.importorskip("flint", reason="the checker needs the extra replay")


class Everything(nn.Module):
    """Uses most kinds of node, constants and numbers of all sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=1e-3), nn.PReLU()
        )
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.head = nn.Linear(4 * 3 * 3, 3)

    def forward(self, x):
        h = self.features(nn.functional.pad(x, (1, 1), value=0.1)) * self.scale
        h = nn.functional.leaky_relu(nn.functional.avg_pool2d(h, 2, ceil_mode=True, count_include_pad=False), 0.3)
        return self.head(h.clamp(-0.5, 7).flatten(1) + 1 / 3)


def test_the_checker_computes_the_fingerprint_from_the_file(tmp_path):
    torch.manual_seed(0)
    for module, shape in ((Everything(), (2, 5, 4)), (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))):
        graph = capture(Classifier(module).network, shape)
        name, fingerprint = write_model(graph, tmp_path)
        assert name == f"model-{graph.fingerprint()[:16]}.npz"
        assert read_network(tmp_path / name).fingerprint == fingerprint == graph.fingerprint()


@pytest.fixture
def invented(tmp_path):
    """Return a graph whose second class can never win, and a true certificate about it."""
    graph = graph_of((2,), nn.Linear(2, 2))
    graph.parameters["0.weight"].zero_()
    graph.parameters["0.bias"][:] = torch.tensor([100.0, 0.0])
    path = certificate(tmp_path, graph, torch.full((2,), 0.5), Ball("linf", "1/2"), claim=99.0)
    return graph, path


def rewrite(path, change):
    data = json.loads(gzip.decompress(path.read_bytes()))
    change(data["model"])
    path.write_bytes(gzip.compress(json.dumps(data).encode()))


def test_the_verdict_prints_the_fingerprint_whole(invented):
    graph, path = invented
    verdict = replay(path)
    assert verdict.fingerprint == graph.fingerprint()
    assert str(verdict).endswith(f"model {graph.fingerprint()}")


def test_a_model_file_under_the_name_of_another_model_is_refused(invented):
    _, path = invented
    mine = graph_of((2,), nn.Linear(2, 2)).fingerprint()
    (model,) = path.parent.glob("model-*.npz")
    borrowed = model.rename(path.parent / f"model-{mine[:16]}.npz")
    rewrite(path, lambda model: model.update(file=borrowed.name))
    with pytest.raises(ReplayError, match="its name must be"):
        replay(path)
    rewrite(path, lambda model: model.update(fingerprint=mine))
    with pytest.raises(ReplayError, match="is about model"):
        replay(path)


@pytest.mark.parametrize("digits", [16, 40, 64])
def test_a_reader_requires_his_model(digits, invented):
    graph, path = invented
    mine = graph_of((2,), nn.Linear(2, 2)).fingerprint()
    assert replay(path, model_hash=graph.fingerprint()[:digits]).accepted
    with pytest.raises(ReplayError, match=f"not {mine[:digits]}"):
        replay(path, model_hash=mine[:digits])


@pytest.mark.parametrize("wrong", ["", "c4f", "x" * 16, "A" * 64, "0" * 65])
def test_a_hash_too_short_to_mean_anything_is_refused(wrong, invented):
    with pytest.raises(ReplayError, match="16 to 64 digits"):
        replay(invented[1], model_hash=wrong)


def test_an_entry_named_twice_is_refused(invented):
    _, path = invented
    (model,) = path.parent.glob("model-*.npz")
    with zipfile.ZipFile(model) as archive:
        entry = archive.read("0.bias.npy")
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("0.bias.npy", entry)
    with pytest.raises(ReplayError, match="twice"):
        replay(path)


def test_the_commands_compare_the_readers_model(tmp_path, capsys):
    model, out = "mlp,hidden=8,shape=1x8x8,classes=10", tmp_path / "out"
    assert app.main(["certify", model, "digits,first=4", "--ball", "linf:0.0001", "--out", str(out)]) == 0
    capsys.readouterr()
    assert app.main(["fingerprint", model]) == 0
    printed = capsys.readouterr().out.strip()
    files = [str(path) for path in sorted(out.glob("certificate-*.json.gz"))]
    assert [path.name for path in out.glob("model-*")] == [f"model-{printed[:16]}.npz"]
    assert app.main(["replay", *files, "--model-hash", printed]) == 0
    assert capsys.readouterr().out.count(f"model {printed}") == len(files) > 0
    assert app.main(["fingerprint", model, "--seed", "1", "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["file"] == f"model-{other['fingerprint'][:16]}.npz"
    assert app.main(["replay", *files, "--model-hash", other["fingerprint"]]) == 6
    assert "is about model" in capsys.readouterr().err


def test_a_model_that_does_not_say_its_shape_asks_for_it(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))\n")
    assert app.main(["fingerprint", f"{file}:net"]) == 2
    assert "--shape" in capsys.readouterr().err
    assert app.main(["fingerprint", f"{file}:net", "--shape", "1x2x2"]) == 0
    assert len(capsys.readouterr().out.strip()) == 64


def test_kinds_that_the_checker_does_not_have_are_not_written():
    """A certificate that no checker reads is none: every kind is known to both sides or refused by the first."""
    known = {name for name, kind in vars(kinds).items() if isinstance(kind, type) and is_dataclass(kind)}
    refused = {kind.__name__ for kind in export._UNKNOWN}
    assert known - {"Input"} - refused <= ATTRIBUTES.keys()
    assert not refused & ATTRIBUTES.keys()
