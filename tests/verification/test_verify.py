"""``verify`` on small networks whose truth is known: exactly, by enumeration, or by what float32 does."""

import gzip
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

import epsball as eb
from epsball.errors import InputError, ModelError
from epsball.verification.vnnlib import read_query
from verification.queries import absolute_value, between, exact_output, exact_pieces, network, query, random_layers

IDENTITY = [(np.eye(2), np.zeros(2)), (np.eye(2), np.zeros(2))]


def checked(net, path, **options):
    """Return the verification; a witness is judged again, in fractions of what onnxruntime computes."""
    found = eb.verify(net, path, **options)
    assert (found.witness is not None) == (found.answer == "sat")
    if found.witness is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
        x = found.witness.x
        (y,) = session.run(None, {"x": x.unsqueeze(0).numpy()})
        assert tuple(y.flatten().tolist()) == found.witness.outputs
        fractions = [[Fraction(v) for v in part.flatten().tolist()] for part in (x.double(), y.astype(np.float64))]
        assert read_query(path).formula.holds(*fractions)
    return found


ABSOLUTE = {
    ("(<= Y_0 -0.001)",): "unsat",
    ("(<= Y_0 0)",): "sat",
    ("(< Y_0 0)",): "unknown",  # Bounds come near 0, but not to it.
    ("(>= Y_0 1)",): "sat",
    ("(> Y_0 1)",): "unknown",
    ("(>= Y_0 1.0001)",): "unsat",
    ("(or (<= Y_0 -1) (and (>= Y_0 0.2) (<= Y_0 0.3)))",): "sat",
    ("(or (<= Y_0 -1) (and (>= Y_0 0.9) (<= Y_0 0.1)))",): "unsat",
    ("(or (<= Y_0 -1) (>= Y_0 2))",): "unsat",
    ("(<= (+ Y_0 X_0) -0.001)",): "unsat",
    ("(<= (- Y_0 X_0) 0)", "(>= X_0 0.5)"): "sat",
    ("(<= (* 3 Y_0) (+ 1 (* 2 X_0)))", "(<= X_0 -0.3)"): "unsat",
    ("(= Y_0 0.5)",): "sat",
    ("(>= Y_0 0.7)", "(<= (* -1 X_0) 0.6)"): "sat",
    ("(>= Y_0 0.7)", "(<= X_0 0.6)", "(>= X_0 -0.6)"): "unsat",
}


@pytest.mark.parametrize("assertions", ABSOLUTE)
def test_the_absolute_value(tmp_path, assertions):
    net = absolute_value(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("-1.0", "1.0"), *assertions)
    assert checked(net, path, timeout=60).answer == ABSOLUTE[assertions]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("off", [Fraction(1, 1000), Fraction(-1, 1000)])
def test_networks_of_one_input_are_decided_as_enumeration_says(tmp_path, seed, off):
    """The least output over an interval is at an end of a linear piece: moved by `off`, it is reached or not."""
    layers = random_layers(seed, 1, 8, 6, 1)
    net = network(tmp_path / "net.onnx", layers)
    pieces = exact_pieces(layers, Fraction(-1), Fraction(1))
    least = min(exact_output(layers, x)[0] for x in pieces)
    threshold = f"{float(least + off):.9f}"
    path = query(tmp_path / "query.vnnlib", 1, 1, between("-1", "1"), f"(<= Y_0 {threshold})")
    found = checked(net, path, timeout=60)
    assert found.answer == ("sat" if off > 0 else "unsat")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_random_queries_never_contradict_what_is_seen(tmp_path, seed, semantics):
    """Conjunctions and disjunctions on two boxes: an unsat is never contradicted at 20,000 points."""
    layers = random_layers(seed, 2, 10, 3)
    net = network(tmp_path / "net.onnx", layers)
    boxes = (
        f"(or (and {between('-1', '0')} {between('0', '1', 1)}) (and {between('0.25', '1')} {between('-1', '0', 1)}))"
    )
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(20_000, 2, generator=generator, dtype=torch.float64) * 2 - 1
    inside = ((x[:, 0] <= 0) & (x[:, 1] >= 0)) | ((x[:, 0] >= 0.25) & (x[:, 1] <= 0))
    h = torch.relu(x @ torch.tensor(layers[0][0]).double().T + torch.tensor(layers[0][1]))
    y = (h @ torch.tensor(layers[1][0]).double().T + torch.tensor(layers[1][1]))[inside]
    answers = []
    for share in (0.0, 0.5, 1.0, 1.3):
        t = float((y[:, 0] - y[:, 1]).min() * share)
        holds = ((y[:, 0] - y[:, 1] <= t) & (y[:, 2] <= y[:, 1])).any()
        wanted = f"(and (<= (- Y_0 Y_1) {t:.9f}) (<= Y_2 Y_1))"
        path = query(tmp_path / "query.vnnlib", 2, 3, boxes, wanted)
        found = checked(net, path, timeout=60, semantics=semantics)
        assert found.answer in ("sat", "unsat", "unknown")
        assert not (bool(holds) and found.answer == "unsat")
        answers.append(found.answer)
    assert "unsat" in answers


def test_a_conjunction_is_refuted_by_a_combination_of_its_rows(tmp_path):
    """No row of it is positive everywhere, and no box of less than the float's own width makes one so."""
    net = network(tmp_path / "net.onnx", IDENTITY)
    path = query(
        tmp_path / "query.vnnlib",
        2,
        2,
        between("0", "1"),
        between("0", "1", 1),
        "(<= Y_0 Y_1)",
        "(<= (+ Y_1 0.0001) Y_0)",
    )
    found = eb.verify(net, path, timeout=60)
    assert (found.answer, found.by, found.boxes) == ("unsat", "interval", 0)


def test_many_boxes_with_outputs_of_their_own(tmp_path):
    """Forty intervals, each with its own threshold; one of them is reached."""
    net = absolute_value(tmp_path / "net.onnx")
    parts = [f"(and {between(f'{k / 40}', f'{(k + 1) / 40}')} (>= Y_0 {(k + 1.5) / 40}))" for k in range(40)]
    path = query(tmp_path / "query.vnnlib", 1, 1, f"(or {' '.join(parts)})")
    assert eb.verify(net, path, timeout=60).answer == "unsat"
    reached = parts[17].replace(f"{18.5 / 40}", f"{17.5 / 40}")
    path = query(tmp_path / "query.vnnlib", 1, 1, f"(or {' '.join([*parts[:17], reached, *parts[18:]])})")
    found = checked(net, path, timeout=60)
    assert 17.5 / 40 <= found.witness.x.item() <= 18 / 40


def test_the_mode_of_gradients_is_the_callers(tmp_path):
    file, path = absolute_value(tmp_path / "net.onnx"), tmp_path / "q.vnnlib"
    query(path, 1, 1, between("-1", "1"), "(<= Y_0 -0.001)")
    with torch.no_grad():
        assert eb.verify(file, path).answer == "unsat"
        assert not torch.is_grad_enabled()


def test_threads_are_put_back(tmp_path):
    before = torch.get_num_threads()
    net = absolute_value(tmp_path / "net.onnx")
    eb.verify(net, query(tmp_path / "query.vnnlib", 1, 1, between("0", "1"), "(>= Y_0 1)"), timeout=60)
    assert torch.get_num_threads() == before


def rounding_net(path):
    """Write y = relu(x + 512) - 512: x in real numbers, a multiple of 2^-14 in float32."""
    return network(path, [(np.ones((1, 1)), np.array([512.0])), (np.ones((1, 1)), np.array([-512.0]))])


def test_a_witness_of_float32_wins_and_the_difference_is_said(tmp_path):
    """In real numbers y = x, above 1.00001; 512 + x is rounded to 513."""
    net = rounding_net(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("1.00001", "1.00002"), "(<= Y_0 1.000005)")
    found = checked(net, path, timeout=60)
    assert (found.answer, found.witness.outputs) == ("sat", (1.0,))
    assert "those of the real-valued network do not; they differ by" in found.notes[-1]


def test_unsat_of_real_numbers_is_not_unsat_of_float32(tmp_path):
    net = rounding_net(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("1.00001", "1.00002"), "(<= Y_0 0.99999)")
    assert eb.verify(net, path, timeout=60).answer == "unsat"
    assert eb.verify(net, path, timeout=3, semantics="float32").answer in ("unknown", "timed-out")


def test_ties_satisfy(tmp_path):
    net = network(tmp_path / "net.onnx", [(np.array([[1.0], [1.0]]), np.zeros(2))])
    path = query(tmp_path / "query.vnnlib", 1, 2, between("0", "1"), "(>= Y_0 Y_1)")
    assert checked(net, path, timeout=60).answer == "sat"


def test_a_witness_lies_in_the_exact_box(tmp_path):
    """0.1 is no float32: the box between 0.1 and 0.1000000016 holds none, however near the next one is."""
    net = absolute_value(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("0.1", "0.1000000001"), "(>= Y_0 0.05)")
    found = eb.verify(net, path, timeout=30)
    assert found.answer == "unknown"
    assert "hold no float32 number" in found.notes[0]
    strict = eb.verify(net, path, timeout=30, semantics="float32")
    assert (strict.answer, strict.by) == ("unsat", "no float32 input")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("0.1", "0.1000000015"), "(>= Y_0 0.05)")
    assert checked(net, path, timeout=30).witness.x.item() == np.float32(0.1)


def test_float64_networks_have_float64_witnesses(tmp_path):
    net = absolute_value(tmp_path / "net.onnx", dtype=np.float64)
    path = query(tmp_path / "query.vnnlib", 1, 1, between("0.1", "0.1000000001"), "(>= Y_0 0.05)")
    found = checked(net, path, timeout=30)
    assert (found.answer, found.witness.x.dtype) == ("sat", torch.float64)
    with pytest.raises(ModelError, match="float64"):
        eb.verify(net, path, semantics="float32")


def test_outputs_are_what_the_file_returns(tmp_path):
    """A softmax or sigmoid at the end is part of the function, and one output is one output."""
    net = absolute_value(tmp_path / "net.onnx", last="Sigmoid")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("-1", "1"), "(<= Y_0 0.4999)")
    assert eb.verify(net, path, timeout=60).answer == "unsat"
    path = query(tmp_path / "query.vnnlib", 1, 1, between("-1", "1"), "(>= Y_0 0.73)")
    assert checked(net, path, timeout=60).answer == "sat"
    net = network(tmp_path / "net.onnx", random_layers(0, 2, 4, 3), last="Softmax")
    path = query(tmp_path / "query.vnnlib", 2, 3, between("-1", "1"), between("-1", "1", 1), "(>= Y_0 1.001)")
    assert eb.verify(net, path, timeout=60).answer == "unsat"


def test_gzipped_networks_and_inputs_of_any_shape(tmp_path):
    net = network(tmp_path / "net.onnx", random_layers(0, 4, 6, 2), shape=(1, 2, 2))
    box = [between("0", "0.01", place) for place in range(4)]
    path = query(tmp_path / "query.vnnlib", 4, 2, *box, "(>= Y_0 100)")
    (tmp_path / "net.onnx.gz").write_bytes(gzip.compress(net.read_bytes()))
    assert eb.verify(tmp_path / "net.onnx.gz", path, timeout=60).answer == "unsat"
    net.unlink()
    (tmp_path / "packed.vnnlib.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert eb.verify(net, tmp_path / "packed.vnnlib", timeout=60).answer == "unsat"


def test_coefficients_that_are_no_floats_are_taken_exactly(tmp_path):
    """0.1 y <= 0.1 at y >= 1 holds at y = 1 only: the float nearest to 0.1 lies above it."""
    net = absolute_value(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("1", "2"), "(<= (* 0.1 Y_0) 0.1)")
    assert checked(net, path, timeout=30).witness.x.item() == 1.0
    path = query(tmp_path / "query.vnnlib", 1, 1, between("1.000001", "2"), "(<= (* 0.1 Y_0) 0.1)")
    assert eb.verify(net, path, timeout=30).answer == "unsat"


def test_the_time_limit_is_kept(tmp_path):
    """Just below what is found, many boxes must be halved."""
    layers = random_layers(1, 8, 60, 60, 1)
    net = network(tmp_path / "net.onnx", layers)
    box = [between("-1", "1", place) for place in range(8)]
    path = query(tmp_path / "query.vnnlib", 8, 1, *box, "(<= Y_0 -200)")
    began = time.monotonic()
    found = eb.verify(net, path, timeout=2)
    assert (found.answer, found.reason) == ("timed-out", "the limit of 2 s was reached")
    assert time.monotonic() - began < 12


def test_answers_are_repeatable(tmp_path):
    net = network(tmp_path / "net.onnx", random_layers(2, 3, 12, 2))
    path = query(tmp_path / "query.vnnlib", 3, 2, *(between("-1", "1", place) for place in range(3)), "(<= Y_0 Y_1)")
    first, second = (eb.verify(net, path, seed=3) for _ in range(2))
    assert first.answer == second.answer == "sat"
    assert torch.equal(first.witness.x, second.witness.x)


MISFITS = {
    (2, 1, "(>= Y_0 0)"): "is about 2 inputs, .* takes 1 = 1",
    (1, 2, "(>= Y_1 0)"): "is about 2 outputs, .* returns 1; .* Y_1 does not exist",
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_query_must_fit_its_network(tmp_path, case):
    inputs, outputs, assertion = case
    net = absolute_value(tmp_path / "net.onnx")
    box = [between("0", "1", place) for place in range(inputs)]
    path = query(tmp_path / "query.vnnlib", inputs, outputs, *box, assertion)
    with pytest.raises(InputError, match=MISFITS[case]):
        eb.verify(net, path)


def test_fewer_outputs_than_the_network_has_are_refused(tmp_path):
    net = network(tmp_path / "net.onnx", random_layers(0, 1, 2))
    path = query(tmp_path / "query.vnnlib", 1, 1, between("0", "1"), "(>= Y_0 0)")
    with pytest.raises(InputError, match="returns 2; the query declares each output"):
        eb.verify(net, path)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"timeout": 0}, "timeout is 0"), ({"seed": -1}, "seed is -1")],
)
def test_bad_options_are_refused(tmp_path, option, message):
    with pytest.raises(InputError, match=message):
        eb.verify(tmp_path / "net.onnx", tmp_path / "query.vnnlib", **option)


def test_the_result_prints_and_goes_to_json_and_arrow(tmp_path):
    net = absolute_value(tmp_path / "net.onnx")
    path = query(tmp_path / "query.vnnlib", 1, 1, between("-1", "1"), "(>= Y_0 1)")
    found = eb.verify(net, path)
    assert str(found).startswith("sat by search, in ")
    assert found.to_json()["output"] == [1.0]
    assert found.to_arrow()["answer"].to_pylist() == ["sat"]
