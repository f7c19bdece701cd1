"""The laws of CKA, bad input, and that a network is restored."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import epsball as eb
from epsball.errors import InputError, ModelError
from epsball.similarity import RBF, cka
from epsball.similarity.gram import BlockGram
from similarity.networks import ResNet, seeded

KERNELS = ["linear", "rbf"]
ESTIMATORS = ["debiased", "plain"]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_features(X: Tensor, Y: Tensor, **options) -> Tensor:
    return cka(nn.Identity(), nn.Identity(), X, Y, **options).matrix[0, 0]


def by_definition(X: Tensor, Y: Tensor) -> Tensor:
    """Return plain linear CKA as Kornblith et al. print it: |Y'X|_F^2 / (|X'X|_F |Y'Y|_F)."""
    X, Y = (Z.double() - Z.double().mean(0) for Z in (X, Y))
    return (Y.T @ X).square().sum() / ((X.T @ X).norm() * (Y.T @ Y).norm())


@settings(max_examples=10)
@given(n=st.integers(4, 40), p=st.integers(1, 30), q=st.integers(1, 30), seed=st.integers(0, 99))
def test_plain_linear_cka_is_the_published_formula(n, p, q, seed):
    X, Y = drawn(n, p, seed=seed).double(), drawn(n, q, seed=seed + 1).double()
    torch.testing.assert_close(of_features(X, Y, estimator="plain"), by_definition(X, Y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_orthogonal_maps_scales_and_offsets_change_nothing(kernel, estimator):
    X, Y = drawn(60, 12), drawn(60, 12) + drawn(60, 12, seed=1)
    Q = torch.linalg.qr(drawn(12, 12, seed=2)).Q
    before = of_features(X, Y, kernel=kernel, estimator=estimator)
    for changed in (X @ Q, 1e-3 * X, 1e15 * X, 1e-25 * X, X + 100):
        after = of_features(changed, Y, kernel=kernel, estimator=estimator)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-250, 1e-60, 1e60, 1e250])
def test_float64_features_of_any_size(scale):
    X, Y = drawn(60, 12).double(), drawn(60, 12).double() + drawn(60, 12, seed=1)
    torch.testing.assert_close(of_features(scale * X, Y), of_features(X, Y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("batch_size", [None, 17])
def test_a_network_is_identical_with_its_copy_under_a_shuffling_loader(kernel, batch_size):
    model, copy, x = seeded(ResNet), seeded(ResNet), drawn(40, 3, 6, 6)
    loader = DataLoader(TensorDataset(x, torch.zeros(40)), batch_size=7, shuffle=True)
    found = cka(model, copy, loader, kernel=kernel, batch_size=batch_size)
    torch.testing.assert_close(found.matrix.diagonal(), torch.ones(len(found.layers_a), dtype=torch.float64))
    torch.testing.assert_close(found.matrix, found.matrix.T)
    own = cka(model, model, x, kernel=kernel, batch_size=batch_size)
    torch.testing.assert_close(own.matrix.diagonal(), torch.ones(len(own.layers_a), dtype=torch.float64))


def test_one_shuffling_loader_for_both_sides_is_read_once_and_two_are_refused():
    rows = TensorDataset(drawn(60, 6))
    shuffling, other = (DataLoader(rows, batch_size=7, shuffle=True) for _ in range(2))
    assert float(cka(nn.Identity(), nn.Identity(), shuffling, shuffling).matrix) == pytest.approx(1.0)
    for data, data_b in ((shuffling, other), (shuffling, drawn(60, 6)), (drawn(60, 6), shuffling)):
        with pytest.raises(InputError, match="cannot be paired row by row: one is a DataLoader with its own order"):
            cka(nn.Identity(), nn.Identity(), data, data_b)
    in_order = DataLoader(rows, batch_size=7)
    assert float(cka(nn.Identity(), nn.Identity(), in_order, drawn(60, 6)).matrix) == pytest.approx(1.0)


def test_the_order_of_the_rows_does_not_matter_to_the_exact_value():
    model, other, x = seeded(ResNet), seeded(ResNet, seed=1), drawn(50, 3, 6, 6)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cka(model, other, x).matrix, cka(model, other, x[order]).matrix, rtol=1e-5, atol=1e-6)


def test_batch_norm_and_the_in_place_relu_after_it_are_distinguished():
    model, x = seeded(ResNet), drawn(80, 3, 6, 6)
    found = cka(model, model, x, layers=["layer1.0.bn1", "layer1.0.relu:1"], estimator="plain")
    features = model.eval().layer1[0].bn1(model.layer1[0].conv1(model.stem(x))).detach().flatten(1)
    expected = by_definition(features, features.relu())
    assert float(expected) < 0.99
    assert float(found.matrix[0, 1]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.usefixtures("as_users_run")
def test_batches_agree_with_the_exact_value_within_their_error():
    model, other, x = seeded(ResNet), seeded(ResNet, seed=1), drawn(400, 3, 6, 6)
    exact, batched = cka(model, other, x, max_memory=2**30), cka(model, other, x, batch_size=47)
    assert (exact.batches, batched.batches) == (1, 9)
    assert ((exact.matrix - batched.matrix).abs() <= 4 * batched.error).all()
    ratio = batched.error / exact.error
    assert 0.3 < float(ratio.median()) < 3


def test_rbf_of_a_wide_kernel_is_the_linear_kernel_and_of_a_known_width_the_formula():
    X, Y = drawn(40, 5).double(), drawn(40, 5).double() + drawn(40, 5, seed=1).double()
    wide = of_features(X, Y, kernel=RBF(bandwidth=1e4))
    torch.testing.assert_close(wide, of_features(X, Y), rtol=1e-5, atol=1e-6)
    kernels = []
    for Z in (X, Y):
        d2 = torch.cdist(Z, Z).square()
        median = d2[tuple(torch.triu_indices(40, 40, offset=1))].median()
        kernels.append(torch.exp(-d2 / (2 * 0.25 * median)))
    H = torch.eye(40).double() - 1 / 40
    K, L = (H @ kernel @ H for kernel in kernels)
    expected = (K * L).sum() / (K.norm() * L.norm())
    found = of_features(X, Y, kernel=RBF(bandwidth=0.5), estimator="plain")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


class Recorder(RBF):
    """Records the number of rows for each width."""

    def width(self, gram: BlockGram) -> float:
        self.__dict__.setdefault("rows", []).append(len(gram.diagonal()))
        return super().width(gram)


@pytest.mark.parametrize(("batch_size", "rows"), [(300, 256), (None, 256), (40, 40)])
def test_the_width_is_set_once_per_layer_on_a_sample_whatever_the_batches(batch_size, rows):
    kernel = Recorder()
    cka(nn.Identity(), nn.Linear(6, 3), drawn(700, 6), kernel=kernel, batch_size=batch_size)
    assert kernel.__dict__["rows"] == [rows, rows]


def test_rows_that_coincide_do_not_enter_the_width():
    X, Y = 1 + drawn(40, 5), drawn(40, 5).double()
    X[:30] = 3.3
    squared = torch.cdist(X.double(), X.double()).square()[tuple(torch.triu_indices(40, 40, offset=1))]
    width = float(squared[squared > 1e-9].median().sqrt())
    assert (squared > 1e-9).double().mean() < 0.5
    K = torch.exp(-torch.cdist(X.double(), X.double()).square() / (2 * width**2))
    H = torch.eye(40).double() - 1 / 40
    L = torch.exp(-torch.cdist(Y, Y).square() / (2 * float(torch.pdist(Y).square().median())))
    expected = (H @ K @ H * L).sum() / ((H @ K @ H).norm() * (H @ L @ H).norm())
    found = of_features(X, Y, kernel="rbf", estimator="plain")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_low_precision_features_and_autocast_do_not_reach_the_products():
    X, Y = drawn(50, 40), drawn(50, 40) + drawn(50, 40, seed=1)
    exact = of_features(X, Y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(of_features(X, Y), exact)
    precision = torch.get_float32_matmul_precision()
    assert precision == "highest"
    torch.testing.assert_close(of_features(X.bfloat16(), Y.bfloat16()), exact, rtol=0.02, atol=0.01)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x + 0.1


def test_constant_features_are_undefined_and_named():
    torch.manual_seed(8)
    model = nn.Sequential(nn.Linear(6, 5), Constant(), nn.Linear(5, 4))
    found = cka(model, nn.Identity(), drawn(30, 6), layers_b="output")
    assert found.layers_a == ("0", "1", "2")
    assert found.undefined_a == ("1", "2")
    assert found.undefined_b == ()
    assert found.matrix.isnan().tolist() == [[False], [True], [True]]
    assert "undefined in a" in str(found)
    assert "model_a: layer '1': undefined: its features are constant" in found.notes
    assert found.to_json()["matrix"][1] == [None]


def test_a_single_deviating_row_is_undefined_for_the_debiased_estimator():
    X = torch.zeros(30, 6)
    X[11] = 1.0
    found = cka(nn.Identity(), nn.Identity(), X, drawn(30, 6))
    assert found.undefined_a == ("output",)
    assert "as where only one row differs" in found.notes[0]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("estimator", ["debiased", "plain"])
@pytest.mark.parametrize("batch_size", [None, 12])
def test_an_offset_changes_nothing_but_what_it_rounds(kernel, estimator, batch_size):
    """float32 features with an offset of a million: the number of what they store, computed without it in float64."""
    x, other, options = drawn(50, 7), drawn(50, 7, seed=1), {"kernel": kernel, "estimator": estimator}
    y = x + other
    offset = torch.tensor([1e6, -1e6, 1e5, 3e6, 0.0, 1e4, 1e2])
    stored = x + offset
    found = cka(nn.Identity(), nn.Identity(), stored, y, batch_size=batch_size, **options)
    exact = cka(
        nn.Identity(), nn.Identity(), stored.double() - offset.double(), y.double(), batch_size=batch_size, **options
    )
    torch.testing.assert_close(found.matrix, exact.matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.error, exact.error, rtol=0, atol=1e-6)
    if kernel == "linear":
        torch.testing.assert_close(found.shifted, exact.shifted, rtol=0, atol=1e-6)


def test_features_that_rounding_has_made_are_undefined_and_say_so():
    """Around 1e7 float32 stores whole numbers: what is left of the features is rounding."""
    found = cka(nn.Identity(), nn.Identity(), drawn(50, 7) + 1e7, drawn(50, 7))
    assert found.undefined_a == ("output",)
    assert found.matrix.isnan().all()
    assert "model_a: layer 'output': undefined: rounding" in str(found)
    coarse = cka(nn.Identity(), nn.Identity(), drawn(50, 7) + 1e6, drawn(50, 7))
    assert coarse.undefined_a == ()
    assert "are rounded to" in coarse.notes[0]


class Poisoned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 2.0, torch.inf, x)


def test_activations_that_are_not_finite_are_named_and_the_network_is_restored():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), Poisoned()).train()
    with torch.no_grad():
        model[1].bias.fill_(1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"layer '2' are not finite: \d+ of 200 rows hold NaN or infinity"):
        cka(model, model, 3 * drawn(200, 6))
    assert model.training
    assert all(part.training for part in model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_failure_on_a_later_batch_is_explained_and_leaves_no_hook():
    model = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 3)).train()
    tokens = torch.zeros(200, 6, dtype=torch.int64).random_(20, generator=torch.Generator().manual_seed(0))
    tokens[7, 2] = 50
    with pytest.raises(ModelError, match=r"the model fails on an input of shape \(20, 6\).*index out of range"):
        cka(model, model, tokens, batch_size=20)
    assert model.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_reduced_precision_of_the_caller_does_not_reach_the_products_and_is_restored(precision):
    X, Y = drawn(50, 40), drawn(50, 40) + drawn(50, 40, seed=1)
    exact, switch = of_features(X, Y), torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    try:
        switch.fp32_precision = precision
        torch.testing.assert_close(of_features(X, Y), exact)
        assert switch.fp32_precision == precision
    finally:
        switch.fp32_precision = before


@pytest.mark.parametrize("order", [1, -1])
def test_features_of_very_different_sizes(order):
    class Sizes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x.repeat(1, 300) * 1e-8, x.repeat(1, 300) * 1e10][::order], 1)

    assert float(cka(Sizes(), nn.Identity(), drawn(40, 8)).matrix) == pytest.approx(1.0, abs=1e-6)


class Noisy(nn.Module):
    """Draws in evaluation too, counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.fc(x) + 0.01 * torch.randn(len(x), 4)


def test_no_trace_on_modes_buffers_flags_or_the_global_generator():
    model = Noisy()
    model.train()
    model.fc.eval()
    model.fc.bias.requires_grad_(False)
    state = torch.get_rng_state()
    cka(model, seeded(ResNet), drawn(20, 6), drawn(20, 3, 6, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.training, model.fc.training, float(model.calls)) == (True, False, 0.0)
    assert (model.fc.weight.requires_grad, model.fc.bias.requires_grad) == (True, False)
    assert model.fc.weight.grad is None


def test_a_classifier_normalises_and_its_normalisation_is_not_a_layer():
    module, x = seeded(ResNet), torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    classifier = eb.Classifier(module, mean=0.5, std=0.25)
    found = cka(classifier, module, x, (x - 0.5) / 0.25)
    assert found.layers_a == found.layers_b
    torch.testing.assert_close(found.matrix.diagonal(), torch.ones(len(found.layers_a), dtype=torch.float64))


def test_a_classifier_runs_on_more_rows_than_its_blocks_hold():
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    x = torch.rand(600, 6, generator=torch.Generator().manual_seed(0))
    found = eb.cka(eb.Classifier(module), module, x)
    torch.testing.assert_close(found.matrix.diagonal(), torch.ones(3, dtype=torch.float64))


def test_float64_and_compiled_wrappers_and_data_parallel():
    module, x = seeded(ResNet), drawn(40, 3, 6, 6)
    expected = cka(module, module, x)
    parallel = nn.DataParallel(module)
    torch.testing.assert_close(cka(parallel, parallel, x).matrix, expected.matrix)
    compiled = torch.compile(module, backend="eager")
    assert cka(compiled, module, x).layers_a == expected.layers_a
    double = seeded(ResNet).double()
    torch.testing.assert_close(cka(double, double, x).matrix, expected.matrix, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((drawn(20, 6), drawn(21, 6)), {}, "data has 20 rows and data_b 21"),
        ((drawn(3, 6),), {}, "the data have 3 rows; CKA needs at least 4"),
        ((drawn(20, 6),), {"batch_size": 3}, "batch_size is 3"),
        ((drawn(20, 6),), {"max_memory": 1000}, "max_memory is 0 MiB and the kernels of 2 layers"),
        ((drawn(900, 6),), {"max_memory": 2**21, "batch_size": 800}, r"give max_memory=\d+ \* 2\*\*20"),
        ((drawn(20, 6),), {"estimator": "biased"}, "estimator is 'biased'"),
        ((drawn(20, 6),), {"kernel": "rfb"}, "kernel 'rfb' is not one of linear, rbf. Did you mean 'rbf'"),
        ((drawn(20, 6),), {"kernel": RBF}, "kernel is <class"),
        ((drawn(20, 6),), {"kernel": 3}, "kernel is 3; give one of linear, rbf"),
        ((drawn(20, 6),), {"layers": None}, "layers is None; give 'all'"),
        ((drawn(20, 6),), {"layers": [1]}, r"layers is \[1\]; give 'all'"),
        ((17,), {}, "data is a int; give a tensor"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_bad_input(arguments, options, message):
    with pytest.raises(InputError, match=message):
        cka(nn.Identity(), seeded(nn.Linear, 6, 2), *arguments, **options)


@pytest.mark.parametrize("bandwidth", [-1.0, float("inf"), "a"])
@pytest.mark.usefixtures("as_users_run")
def test_bad_bandwidth(bandwidth):
    with pytest.raises(InputError, match=f"bandwidth is {bandwidth!r}"):
        RBF(bandwidth=bandwidth)


@pytest.mark.usefixtures("as_users_run")
def test_what_is_not_a_model_is_refused():
    with pytest.raises(ModelError, match="the model is a int"):
        cka(3, nn.Identity(), drawn(20, 6))


def test_memory_decides_between_the_exact_value_and_batches():
    x = drawn(300, 6)
    assert cka(nn.Identity(), nn.Linear(6, 3), x).batches == 1
    small = cka(nn.Identity(), nn.Linear(6, 3), x, max_memory=2**20)
    assert small.batches == 8
    assert cka(nn.Identity(), nn.Linear(6, 3), x, max_memory=15 * 2**19).batches == 1


@pytest.mark.usefixtures("as_users_run")
def test_many_batches_are_summed_in_at_most_32_parts():
    model, other, x = nn.Linear(6, 5), nn.Linear(6, 4), drawn(200, 6)
    found = cka(model, other, x, batch_size=5)
    assert found.batches == 40
    assert found.replicates.shape == (32, 1, 1)
    exact = cka(model, other, x)
    assert float((found.matrix - exact.matrix).abs()) < 4 * float(found.error)


def test_a_network_without_a_representation_is_refused():
    class Rounded(nn.Module):
        def forward(self, x):
            return (10 * x).long()

    with pytest.raises(InputError, match="no layer of model_a returns a floating-point feature vector"):
        cka(Rounded(), Rounded(), torch.rand(8, 5))
