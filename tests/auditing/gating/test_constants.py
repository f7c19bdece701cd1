"""Gates of networks with infinite constants, and two gates at once that write the same files."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch

import epsball as eb
from epsball.auditing.gating import Lock
from epsball.errors import ModelError, UnsupportedOperation

BALL = eb.Ball("linf", "0.02")
INFINITE = float("inf")


class Biased(torch.nn.Module):
    """The identity, with a constant added to the inputs' ReLU or to the logits."""

    def __init__(self, hidden, logits):
        super().__init__()
        self.register_buffer("hidden", torch.tensor(hidden))
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, x):
        return torch.relu(x + self.hidden) + self.logits


def case(hidden=(0.0, 0.0, 0.0), logits=(0.0, 0.0, 0.0)):
    x = torch.tensor([[0.8, 0.2, 0.1], [0.1, 0.9, 0.2]]).repeat(8, 1)
    return eb.Classifier(Biased(hidden, logits)), (x, torch.tensor([0, 1]).repeat(8))


def test_a_class_that_is_masked_at_every_input_is_no_obstacle():
    classifier, data = case(logits=(0.0, 0.0, -INFINITE))
    assert eb.gate(classifier, data, BALL, min_robust="0.9", min_certified="0.9").answer == "pass"


def test_where_a_constant_inside_is_infinite_there_are_no_certificates_and_the_gate_says_so():
    classifier, data = case(hidden=(0.0, 0.0, -INFINITE))
    found = eb.gate(classifier, data, BALL, min_robust="0.9")
    assert (found.answer, found.exit_code) == ("cannot tell", 11)
    assert "no certificates: no bounds with the constant" in str(found)
    with pytest.raises(UnsupportedOperation) as raised:
        eb.audit(classifier, data, BALL, certificates="crown")
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("logits", [(INFINITE, 0.0, 0.0), (-INFINITE,) * 3, (float("nan"), 0.0, 0.0)])
def test_logits_that_are_never_finite_are_the_models_fault(logits):
    classifier, data = case(logits=logits)
    with pytest.raises(ModelError, match="NaN or infinite") as raised:
        eb.gate(classifier, data, BALL, min_robust="0.9")
    assert raised.value.exit_code == 3


@pytest.mark.slow
def test_two_gates_at_once_write_whole_files(tmp_path):
    command = [sys.executable, "-m", "epsball", "gate", "mlp,hidden=8", "digits,first=20", "--ball", "linf:0.001"]
    command += ["--min-certified", "0.05", "--lock", "robustness.lock", "--write-lock"]
    command += ["--junit", "gate.xml", "--summary", "gate.md", "--sarif", "gate.sarif"]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] in ([0, 0], [10, 10])
    assert said[0] == said[1]
    assert str(Lock.read(tmp_path / "robustness.lock").ball) == "linf:0.001"
    ElementTree.parse(tmp_path / "gate.xml")
    json.loads((tmp_path / "gate.sarif").read_text())
    assert {file.name for file in tmp_path.iterdir()} == {"robustness.lock", "gate.xml", "gate.md", "gate.sarif"}
