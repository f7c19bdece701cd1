"""``epsball verify`` and ``epsball supports``: the forms of the VNN-LIB standard."""

import json
import re
from importlib.util import find_spec

import onnx
import pytest
from onnx import numpy_helper

from epsball._version import __version__
from epsball.cli import main
from verification.queries import absolute_value, between, query


@pytest.fixture
def files(tmp_path):
    """Return a network, a query that is satisfied, and one that is not."""
    net = absolute_value(tmp_path / "net.onnx")
    yes = query(tmp_path / "yes.vnnlib", 1, 1, between("0.1", "1"), "(>= Y_0 1)")
    no = query(tmp_path / "no.vnnlib", 1, 1, between("0.1", "1"), "(>= Y_0 1.5)")
    return str(net), str(yes), str(no)


def test_the_first_line_is_the_answer_and_a_witness_follows(files, capsys):
    net, yes, no = files
    assert main(["verify", net, yes, "--timeout", "60"]) == 0
    assert capsys.readouterr().out == "sat\n((X_0 1.0)\n (Y_0 1.0))\n"
    assert main(["verify", net, no]) == 0
    out, err = capsys.readouterr()
    assert out == "unsat\n"
    assert "under real semantics" in err


def test_the_standard_form_names_the_network(files, capsys):
    net, yes, _ = files
    assert main(["verify", yes, "--network", f"f={net}", "--timeout", "60"]) == 0
    assert capsys.readouterr().out.startswith("sat\n")


@pytest.mark.skipif(find_spec("vnnlib") is None, reason="the extra vnnlib is not installed")
def test_a_witness_of_version_2_has_the_standard_form(files, tmp_path, capsys):
    text = (
        "(vnnlib-version <2.0>)(declare-network f (declare-input A float32 [1,1]) (declare-output B float32 [1,1]))"
        "(assert (and (>= A[0,0] 0.25) (<= A[0,0] 0.5)))(assert (>= B[0,0] 0.5))"
    )
    (tmp_path / "two.vnnlib").write_text(text)
    arguments = ["verify", str(tmp_path / "two.vnnlib"), "--network"]
    assert main([*arguments, f"f={files[0]}"]) == 0
    assert capsys.readouterr().out == "sat\nA float32 [1,1]\n0.5\nB float32 [1,1]\n0.5\n"
    assert main([*arguments, f"g={files[0]}"]) == 2
    assert "declares the network f; --network names g" in capsys.readouterr().err


def test_witnesses_are_serialised_on_request(files, tmp_path, capsys):
    net, yes, _ = files
    assert main(["verify", net, yes, "--serialise-assignments", str(tmp_path / "witness")]) == 0
    assert capsys.readouterr().out == "sat\n"
    for name, value in (("X", 1.0), ("Y", 1.0)):
        tensor = onnx.load_tensor(tmp_path / "witness" / f"{name}.pb")
        assert (tensor.data_type, numpy_helper.to_array(tensor).tolist()) == (onnx.TensorProto.FLOAT, [value])


def test_json_holds_the_answer_and_the_witness(files, capsys):
    net, yes, _ = files
    assert main(["verify", net, yes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answer"], found["input"], found["output"]) == ("sat", [1.0], [1.0])


def test_a_batch_writes_results_and_says_so(files, tmp_path, capsys):
    (tmp_path / "instances.csv").write_text("net.onnx,yes.vnnlib,60\nnet.onnx,no.vnnlib,60\n")
    arguments = ["verify", "--batch", str(tmp_path / "instances.csv"), "--out", str(tmp_path / "results.csv")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("2 of 2 decided (1 sat, 1 unsat)")
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert re.fullmatch(rf"{tmp_path.name},net.onnx,yes.vnnlib,0,sat,\d+\.\d{{3}}", rows[0])


WRONG = {
    ("verify",): "0 files are given",
    ("verify", "net.onnx"): "1 files are given; write NET.onnx PROPERTY.vnnlib",
    ("verify", "a", "b", "--network", "f=net.onnx"): "2 files and 1 networks are given",
    ("verify", "a", "--network", "net.onnx"): "it is NAME=FILE",
    ("verify", "--batch", "a.csv"): "--batch takes --out RESULTS.csv",
    ("verify", "a", "b", "--out", "c.csv"): "--out is the file of results of --batch",
    ("verify", "a", "nothing.vnnlib"): "nothing.vnnlib cannot be read",
    ("verify", "a", "b", "--timeout", "0"): "timeout is 0",
    ("supports",): "0 capabilities are asked for",
    ("supports", "--onnx-operators", "--vnnlib-versions"): "2 capabilities",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_calls_are_refused(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert WRONG[arguments] in err


CAPABILITIES = {
    "--onnx-opset-versions": r"7\n\d+\n",
    "--onnx-element-types": r"float32\nreal\n",
    "--onnx-operators": r"(?s)(?=.*^Conv$)(?=.*^Gemm$)(?=.*^Relu$).*",
    "--vnnlib-versions": r"1\.0\n[12]\.0\n",
    "--hidden-node-theories": r"NH\n",
    "--multiple-input-output-theories": r"SIO\n",
    "--multiple-network-theories": r"SNET\n",
    "--multiple-node-comparison-theories": r"SNC\nMNC\n",
    "--arithmetic-complexity-theories": r"BND\nOUTC\nLIN \* .*\n",
    "--optimised-disjunctive-reasoning": r"false\n",
    "--serialise-assignments": r"true\n",
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_capabilities_are_answered(capability, capsys):
    assert main(["supports", capability]) == 0
    assert re.fullmatch(CAPABILITIES[capability], capsys.readouterr().out, re.MULTILINE)


def test_name_and_version(capsys):
    assert main(["--name"]) == 0
    assert capsys.readouterr().out == "epsball\n"
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
