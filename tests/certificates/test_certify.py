"""`certify`: the cascade, its results, and the certificates it writes."""

import dataclasses

import pytest
import torch
from onnx import helper
from torch import nn

from epsball import Classifier, certify, models
from epsball.attacks import PGD, attack
from epsball.ball import Ball
from epsball.certificates import METHODS, Certificates
from epsball.certificates.cascade import CascadeResult
from epsball.errors import AssumptionError, InputError, ModelError, UnsupportedOperation
from epsball_replay import replay
from graph.onnx_models import with_head


def network(seed: int = 0) -> Classifier:
    """Return a small convolutional network with batch normalisation, behind a normalisation."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU()
    )
    module.append(nn.Linear(8, 3))
    return Classifier(module.eval(), mean=[0.4], std=[0.3])


@pytest.fixture(scope="module")
def examples() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    x = torch.rand(20, 1, 8, 8)
    return x, network().logits(x).argmax(1)


@pytest.fixture(scope="module")
def cascade(examples) -> Certificates:
    """Return what the cascade finds for linf balls of radius 0.02."""
    return certify(network(), *examples, Ball("linf", 0.02))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_attack_reaches_below_a_certified_margin(norm, examples):
    x, y = examples
    ball = Ball(norm, {"linf": 0.02, "l2": 0.2, "l1": 0.8}[norm])
    found = certify(network(), x, y, ball)
    hit = attack(network(), x, y, ball, method=PGD(steps=20), stop="never")
    assert bool((found.margin <= hit.margin).all())
    assert not bool((found.certified & hit.broken).any())
    assert 0 < int(found.certified.sum()) < len(x) or norm != "linf"


def test_the_cascade_stops_at_the_first_certificate_and_never_loses_one(examples, cascade):
    ball = Ball("linf", 0.02)
    alone = {name: certify(network(), *examples, ball, method=name) for name in ("interval", "crown-ibp", "crown")}
    assert torch.equal(cascade.stable, torch.stack([found.stable for found in alone.values()]).any(0) | cascade.stable)
    for row, method in enumerate(cascade.method):
        run = [name for name, bounds in cascade.margins.items() if not bounds[row].isnan()]
        assert run[-1] == method or method is None
    assert bool((cascade.criterion <= cascade.stable).all()), "the chapter's criterion implies stability"
    assert int(cascade.stable.sum()) > int(cascade.criterion.sum()), "bounds on differences prove more"


def test_stability_is_about_the_prediction_and_certified_accuracy_about_the_label(examples):
    x, y = examples
    wrong = (y + 1) % 3
    ball = Ball("linf", 0.005)
    right, mistaken = (certify(network(), x, labels, ball) for labels in (y, wrong))
    assert torch.equal(right.stable, mistaken.stable)
    assert torch.equal(right.margin, mistaken.margin)
    assert bool(right.certified.any())
    assert not bool(mistaken.certified.any())


def test_radius_zero_certifies_every_example_with_a_clear_margin(examples):
    x, y = examples
    found = certify(network(), x, y, Ball("linf", 0))
    logits = network().logits(x).double()
    gap = logits.topk(2, dim=1).values
    assert bool((found.stable == (gap[:, 0] - gap[:, 1] > 1e-4)).all())


def test_a_radius_larger_than_the_box_is_the_whole_box(examples):
    x, y = examples
    found = certify(network(), x[:4], y[:4], Ball("linf", 1.5))
    assert not bool(found.stable.any())
    assert bool(found.margin.isfinite().all())


def test_a_budget_leaves_expensive_methods_out(examples):
    x, y = examples
    found = certify(network(), x, y, Ball("linf", 0.02), budget=10)
    assert bool(found.margins["crown"].isnan().all())
    assert bool((found.passes <= 10).all())
    assert bool((~found.margins["interval"].isnan()).all())


def test_windows_of_padding_alone_are_bounded_for_every_norm():
    module = nn.Sequential(nn.Conv2d(1, 2, 1, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2)).eval()
    classifier, x = Classifier(module), torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    label = classifier.logits(x).argmax(1)
    found = {
        norm: float(certify(classifier, x, label, Ball(norm, "1/10"), method="crown").margin)
        for norm in ("linf", "l2", "l1")
    }
    assert -1 < found["linf"] <= found["l2"] <= found["l1"]


@pytest.mark.parametrize("normalise", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weights_that_hooks_compute_are_those_of_evaluation(normalise, examples):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), normalise(nn.Linear(64, 8)), nn.ReLU(), normalise(nn.Linear(8, 3)))
    module.eval()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        module(examples[0])
        for hooked, layer in zip(module[1::2], plain[1::2], strict=True):
            layer.weight.copy_(hooked.weight)
            layer.bias.copy_(hooked.bias)
    x, label = examples[0], plain(examples[0]).argmax(1)
    ball = Ball("linf", "1/100")
    assert torch.equal(
        certify(Classifier(module), x, label, ball).margin, certify(Classifier(plain), x, label, ball).margin
    )
    assert module[1]._forward_pre_hooks


def test_batching_changes_no_bound_beyond_rounding(examples):
    x, y = examples
    whole = certify(network(), x, y, Ball("linf", 0.02), method="crown")
    for row in (0, 7, 19):
        one = certify(network(), x[row : row + 1], y[row : row + 1], Ball("linf", 0.02), method="crown")
        torch.testing.assert_close(one.margin, whole.margin[row : row + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.replay is not None])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("semantics", ["float32", "real"])
def test_every_genuine_certificate_is_accepted(method, norm, semantics, examples, tmp_path):
    if norm == "l2" and method in ("lp", "lp-tight"):
        pytest.skip("an l2 ball has no linear program")
    x, y = examples
    ball = Ball(norm, {"linf": 0.01, "l2": 0.05}[norm])
    found = certify(network(), x[:6], y[:6], ball, method=method, semantics=semantics, folder=tmp_path)
    assert set(found.files) == set(torch.nonzero(found.stable)[:, 0].tolist())
    for row, path in found.files.items():
        verdict = replay(path)
        assert verdict.accepted
        assert verdict.stable
        assert verdict.predicted == int(found.predicted[row])
        assert all(
            claim <= bound for claim, bound in zip(verdict.claims.values(), verdict.derived.values(), strict=True)
        )
    if method in ("crown", "optimised"):
        assert found.files


def test_certificates_of_an_onnx_file_are_replayed(tmp_path, monkeypatch, as_users_run):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = with_head(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, (1, 2, 4, 4), 32)
    loaded = models.load(str(file), shape=(2, 4, 4), classes=3)
    clf = loaded.classifier()
    x = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    found = certify(clf, x, clf.logits(x).argmax(1), Ball("linf", 0.001), folder=tmp_path / "certificates")
    assert found.files
    assert all(replay(path).stable for path in found.files.values())


def test_a_network_beyond_the_checker_is_certified_and_said_not_to_be_replayable(examples, tmp_path):
    x, _ = examples
    torch.manual_seed(0)
    clf = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 3)).eval())
    found = certify(clf, x, clf.logits(x).argmax(1), Ball("linf", 0.002), folder=tmp_path)
    assert bool(found.certified.any())
    assert found.files == {}
    assert "gelu" in str(found.not_replayable)
    assert "not replayable" in str(found)


def test_results_print_and_go_to_json_and_arrow(cascade):
    n = len(cascade.margin)
    assert "certified accuracy" in str(cascade)
    assert cascade.to_json()["accuracy"] == cascade.accuracy
    assert cascade.to_arrow().num_rows == n


def test_the_figure_shows_shares_of_the_examples_each_method_was_run_on(cascade):
    n, figure = len(cascade.margin), cascade.plot()
    figure.draw_without_rendering()
    whole, parts = figure.axes
    assert [whole.get_ylabel(), parts.get_ylabel()] == [
        f"share of all {n} examples",
        "share of the examples it was run on",
    ]
    best = next(line for line in whole.lines if line.get_label() == "best bound of all methods")
    assert best.get_ydata()[0] == pytest.approx(int(cascade.margin.isfinite().sum()) / n)
    stable = [text.get_text() for text in whole.get_legend().texts][-1]
    assert stable == f"stable (margin > 0): {int(cascade.stable.sum())} of {n}, 95% interval"
    run = {name: int((~bounds.isnan()).sum()) for name, bounds in cascade.margins.items()}
    assert run["crown"] < n, "a cascade of which the later methods see fewer examples"
    curves = [line for line in parts.lines if "run on" in str(line.get_label())]
    assert [line.get_label().split(",")[0] for line in curves] == [f"{k}: run on {m}" for k, m in run.items() if m]
    assert all(line.get_ydata()[0] == 1.0 for line in curves)


def test_one_method_is_drawn_once(examples):
    x, _ = examples
    clf = network()
    figure = certify(clf, x, clf.logits(x).argmax(1), Ball("linf", 0.01), method="interval").plot()
    (axes,) = figure.axes
    assert next(text.get_text() for text in axes.get_legend().texts) == "interval"


def test_certificates_without_bounds_say_so(cascade):
    none = dataclasses.replace(cascade, margins={"crown": torch.full_like(cascade.margin, torch.nan)})
    assert none.plot().axes[0].texts[0].get_text() == "no example has a bound"


def test_memory_is_a_positive_number_of_bytes(examples):
    x, y = examples
    with pytest.raises(InputError, match="max_memory is -5"):
        certify(network(), x, y, Ball("linf", 0.01), max_memory=-5)


def test_bad_input_is_named(examples, as_users_run):
    x, y = examples
    with pytest.raises(InputError, match="Did you mean 'crown'"):
        certify(network(), x, y, Ball("linf", 0.01), method="crwn")
    with pytest.raises(InputError, match="semantics"):
        certify(network(), x, y, Ball("linf", 0.01), semantics="double")
    with pytest.raises(InputError, match="budget is 0"):
        certify(network(), x, y, Ball("linf", 0.01), budget=0)
    double = Classifier(network().module.double())
    with pytest.raises(ModelError, match="real"):
        certify(double, x.double(), y, Ball("linf", 0.01))
    assert bool(certify(double, x.double(), y, Ball("linf", 0.001), semantics="real").stable.any())
    with pytest.raises(AssumptionError, match="autocast"), torch.autocast("cpu", dtype=torch.bfloat16):
        certify(network(), x, y, Ball("linf", 0.01))


class Shifted(nn.Module):
    """A linear layer plus (large + small) - large, which is small in the reals and 0 in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.large = nn.Parameter(torch.tensor([2.0**25, 1.0, 1.0]))
        self.small = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + ((self.large + self.small) - self.large)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "lipschitz"])
def test_the_rounding_of_computed_constants_is_covered(method):
    torch.manual_seed(0)
    net = Shifted().eval()
    nn.init.zeros_(net.layer.weight)
    net.layer.bias.data = torch.tensor([0.1, 0.0, 0.0])
    x = torch.rand(2, 4)
    y = torch.zeros(2, dtype=torch.int64)
    assert float(certify(Classifier(net), x, y, Ball("linf", 0.01), method=method).margin.max()) <= 0.1
    real = certify(Classifier(net), x, y, Ball("linf", 0.01), method=method, semantics="real")
    assert float(real.margin.min()) == pytest.approx(1.1)


def test_certificates_that_need_optimised_slopes_are_accepted(tmp_path):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3)]
    net = nn.Sequential(*layers).eval()
    for parameter in net.parameters():
        parameter.data *= 2
    x = torch.rand(12, 6)
    found = certify(Classifier(net), x, net(x).argmax(1), Ball("l2", 0.2), folder=tmp_path)
    assert "optimised" in found.method
    assert all(replay(path).stable for path in found.files.values())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.AdaptiveAvgPool2d(3), "different size"),
        (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), "ceil_mode"),
        (nn.Sequential(nn.MaxPool2d(2, 1, 1, dilation=9), nn.Hardtanh()), "padding alone"),
    ],
)
def test_what_the_checker_does_not_know_is_said_and_no_file_written(layer, reason, tmp_path):
    torch.manual_seed(0)
    body = nn.Sequential(layer, nn.Flatten())
    net = nn.Sequential(body, nn.Linear(body(torch.zeros(1, 1, 8, 8)).shape[1], 3)).eval()
    x = torch.rand(2, 1, 8, 8)
    found = certify(Classifier(net), x, net(x).argmax(1), Ball("linf", 0.001), folder=tmp_path)
    assert reason in str(found.not_replayable)
    assert not found.files


def test_a_border_of_minus_infinity_before_max_pooling_is_its_padding(tmp_path):
    torch.manual_seed(0)
    body = nn.Sequential(nn.ConstantPad2d(1, -float("inf")), nn.MaxPool2d(2), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(25, 3)).eval()
    x = torch.rand(2, 1, 8, 8)
    found = certify(Classifier(net), x, net(x).argmax(1), Ball("linf", 0.001), folder=tmp_path)
    assert found.files
    assert all(replay(path).accepted for path in found.files.values())
    border = nn.Sequential(nn.ConstantPad2d(1, -torch.inf), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3)).eval()
    with pytest.raises(UnsupportedOperation, match="padding by -inf"):
        certify(Classifier(border), x, net(x).argmax(1), Ball("linf", 0.001))


class Named(nn.Module):
    """Has a parameter under a name that model files use themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = nn.Parameter(torch.rand(3, 4))

    def forward(self, x):
        return nn.functional.linear(x, self.graph)


def test_a_parameter_whose_name_model_files_use_is_said(tmp_path):
    torch.manual_seed(0)
    net, x = Named(), torch.rand(2, 4)
    found = certify(Classifier(net), x, net(x).argmax(1), Ball("linf", 0), folder=tmp_path)
    assert "'graph' has a name" in str(found.not_replayable)
    assert not found.files


def test_a_float64_network_behind_a_normalisation_has_real_certificates_only(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    classifier, x = Classifier(net, mean=0.3, std=0.5), torch.rand(3, 1, 4, 4, dtype=torch.float64)
    y, ball = classifier(x).argmax(1), Ball("linf", "1/1000")
    found = certify(classifier, x, y, ball, semantics="real", folder=tmp_path)
    assert found.files
    assert all(replay(path).stable for path in found.files.values())
    with pytest.raises(ModelError, match="float64"):
        certify(classifier, x, y, ball)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_certificates_of_overlapping_maxima_are_accepted(norm, tmp_path):
    torch.manual_seed(6)
    pooled = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten()]
    net = nn.Sequential(*pooled, nn.Linear(36, 3)).eval()
    nn.init.constant_(net[1].running_var, 1e-12)  # pyright: ignore[reportArgumentType]
    x = torch.rand(6, 1, 4, 4)
    ball = Ball(norm, {"linf": 0.01, "l2": 0.03, "l1": 0.05}[norm])
    found = certify(Classifier(net), x, net(x).argmax(1), ball, method="crown-ibp", folder=tmp_path)
    assert found.files
    assert all(replay(path).stable for path in found.files.values())


def test_where_no_bound_is_known_the_reason_is_said(examples):
    classifier, x, y, ball = network(), *examples, Ball("linf", 0.02)
    found = certify(classifier, x, y, ball, budget=1)
    assert f"nothing is known of {len(x)} of {len(x)} examples: no method was run on them" in str(found)
    assert "nothing is known" not in str(certify(classifier, x, y, ball, method="interval"))


def test_a_bound_that_knows_nothing_is_minus_infinity():
    found = CascadeResult.nothing(3, ["interval", "crown"])
    found.margins["interval"][:2] = -torch.inf
    found.margins["crown"][1] = 0.5
    assert found.best().nan_to_num(nan=7.0, neginf=-torch.inf).tolist() == [-torch.inf, 0.5, 7.0]


def test_the_logits_own_bounds_are_taken_over_where_no_margin_is_proved(examples, tmp_path):
    """A method may know the logits apart and no margin: then their difference is the bound, and has no file."""
    x, y = examples

    def weak(problem):
        found = METHODS["interval"](problem)
        return dataclasses.replace(found, rows=found.rows.clamp(max=-1.0))

    ball = Ball("linf", 0.001)
    found = certify(network(), x, y, ball, method=weak, folder=tmp_path)
    assert bool(found.criterion.any())
    assert torch.equal(found.stable, found.criterion)
    assert {found.method[row] for row in torch.nonzero(found.stable)[:, 0].tolist()} == {"criterion"}
    assert not found.files
    assert not any(found.replayable(row) for row in range(len(x)))
    assert "criterion  " in str(found)
    hit = attack(network(), x, y, ball, method=PGD(steps=20), stop="never")
    assert bool((found.margin <= hit.margin)[found.stable].all())
