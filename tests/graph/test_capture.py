import copy
import json
import logging
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from epsball.classifier import Classifier
from epsball.errors import ModelError, UnsupportedOperation
from epsball.graph import GraphModule, capture, kinds
from graph.gauntlet import GAUNTLET, Function
from helpers import Wrapped, convnet, mlp

LAYER = nn.Linear(6, 3)


class Several(nn.Module):
    """Several networks on one input, their logits side by side: exporting costs more than running."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


SHAPES = sorted({shape for _, shape in GAUNTLET.values()})
TOGETHER = [
    part
    for shape in SHAPES
    for names in [[name for name, (_, other) in GAUNTLET.items() if other == shape]]
    for part in (names[i : i + 6] for i in range(0, len(names), 6))
]


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_the_gauntlet_is_captured(names: list[str]) -> None:
    shape = GAUNTLET[names[0]][1]
    module = Several(*(GAUNTLET[name][0]() for name in names)).eval()
    graph = capture(module, shape)
    x = 2 * torch.rand(7, *shape, generator=torch.Generator().manual_seed(1)) - 1
    with torch.no_grad():
        assert torch.allclose(graph(x), module(x), rtol=1e-4, atol=1e-5, equal_nan=True)
    assert graph.input.shape == shape
    assert all(graph[given].name in graph.last_use for node in graph.nodes for given in node.inputs)
    assert {type(node.kind).__name__ for node in graph.nodes} <= set(kinds.KINDS)


def test_every_value_has_the_shape_its_node_says() -> None:
    build, shape = GAUNTLET["encoder_layer"]
    graph = capture(build(), shape)
    for name, value in graph.values(torch.rand(5, *shape)).items():
        assert tuple(value.shape[1:]) == graph[name].shape
        assert len(value) == (1 if name in graph.constant else 5)


def test_parameters_have_the_names_of_the_state_dict() -> None:
    module = convnet().eval()
    graph = capture(module, (1, 8, 8))
    assert set(graph.parameters) == set(module.state_dict()) - {"1.num_batches_tracked"}
    x = torch.rand(3, 1, 8, 8)
    live = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    graph(x, live).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    before = graph(x)
    with torch.no_grad():
        module[5].weight.mul_(2)
    assert torch.equal(graph(x), before)
    assert torch.allclose(graph(x, live), module(x), atol=1e-6)


def test_tied_parameters_have_one_name() -> None:
    layer = nn.Linear(6, 6)
    graph = capture(nn.Sequential(layer, nn.ReLU(), layer), (6,))
    assert set(graph.parameters) == {"0.weight", "0.bias"}


def test_the_normalisation_of_a_classifier_is_captured() -> None:
    classifier = Classifier(convnet(), mean=0.3, std=0.5)
    graph = capture(classifier.network, (1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    assert torch.allclose(graph(x), classifier(x), atol=1e-6)
    assert {"0.mean", "0.std"} <= set(graph.parameters)


@pytest.mark.parametrize("training", [True, False])
def test_capture_leaves_no_trace(training: bool) -> None:
    module = convnet().train(training)
    module[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state, level = torch.get_rng_state(), logging.root.manager.disable
    capture(module, (1, 8, 8))
    assert module.training == module[1].training == training
    assert [p.requires_grad for p in module.parameters()] == [False] + [True] * 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert logging.root.manager.disable == level


def test_a_module_in_float64_gives_a_graph_in_float64() -> None:
    module = nn.Sequential(mlp().double(), Function(lambda x: 0.1 * x))
    graph = capture(module, (16,))
    x = torch.rand(3, 16, dtype=torch.float64)
    assert torch.equal(graph(x), module(x))
    assert graph.parameters["constant.0"].item() == 0.1


def test_a_module_in_float64_is_captured_behind_its_normalisation() -> None:
    classifier = Classifier(nn.Sequential(nn.Flatten(), mlp().double()), mean=0.3, std=0.5)
    graph = capture(classifier.network, (1, 4, 4))
    x = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(graph(x), classifier(x))
    assert graph.parameters["0.mean"].item() == torch.tensor(0.3).item()


@pytest.mark.parametrize("cast", [torch.Tensor.double, lambda tensor: tensor.double().view(1, -1)])
def test_arithmetic_in_another_type_is_refused(cast) -> None:
    with pytest.raises(UnsupportedOperation, match="float64"):
        capture(Function(lambda layer, x: layer((cast(layer.weight[0]) * x).float()), LAYER), (6,))


def test_numbers_in_the_source_are_rounded_as_the_network_rounds_them() -> None:
    graph = capture(nn.Sequential(mlp(), Function(lambda x: 0.1 * x)), (16,))
    assert graph.parameters["constant.0"].item() == torch.tensor(0.1).item()


def test_the_graph_is_the_network_as_deployed() -> None:
    graph = capture(Function(lambda x: functional.relu(x + 2.0**25) - 2.0**25), (3,))
    x = torch.rand(4, 3)
    assert [type(node.kind).__name__ for node in graph.nodes if node.name not in graph.constant] == [
        *("Input", "Add", "Elementwise", "Subtract")
    ]
    assert torch.equal(graph(x), torch.relu(x + 2.0**25) - 2.0**25)


def test_batch_norm_is_not_folded() -> None:
    graph = capture(convnet(), (1, 8, 8))
    assert [type(node.kind).__name__ for node in graph.nodes] == [
        *("Input", "Convolution", "BatchNorm", "Elementwise", "Reshape", "Linear")
    ]


def test_what_is_rewritten_is_recorded() -> None:
    build, shape = GAUNTLET["layer_norm"]
    assert capture(build(), shape).rewritten == ("aten.layer_norm (1 (LayerNorm))",)
    assert capture(mlp(), (16,)).rewritten == ()


def test_a_weight_under_a_parametrisation_is_computed_once() -> None:
    build, shape = GAUNTLET["weight_norm"]
    graph = capture(build(), shape)
    assert "derived.0" in graph.parameters
    assert graph.rewritten


def test_unused_parts_are_not_in_the_graph() -> None:
    def unused(layers: nn.Module | None, x: Tensor) -> Tensor:
        torch.sigmoid(x)
        return LAYER(x)

    assert len(capture(Wrapped(unused), (6,)).nodes) == 2


def test_len_of_the_input_leaves_the_batch_free() -> None:
    module = Wrapped(lambda layer, x: layer(x.view(len(x), -1)), LAYER)
    assert capture(module, (2, 3))(torch.rand(5, 2, 3)).shape == (5, 3)


def test_the_graph_of_a_graph_module_is_the_same_function(as_users_run) -> None:
    module = convnet().eval()
    again = capture(GraphModule(capture(module, (1, 8, 8))), (1, 8, 8))
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), module(x))


def test_running_statistics_and_other_buffers_are_not_trained() -> None:
    classifier = Classifier(convnet(), mean=0.3, std=0.5)
    module = GraphModule(capture(classifier.network, (1, 8, 8)))
    assert sum(parameter.numel() for parameter in module.parameters()) == sum(
        parameter.numel() for parameter in classifier.network.parameters()
    )
    assert len(list(module.buffers())) == 4
    before = [buffer.clone() for buffer in module.buffers()]
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module.train()(torch.rand(3, 1, 8, 8)).square().sum().backward()
    optimiser.step()
    assert all(torch.equal(buffer, old) for buffer, old in zip(module.buffers(), before, strict=True))
    assert set(module.state_dict()) == {f"tensors.{i}" for i in range(len(module.graph.parameters))}


@pytest.mark.parametrize("wrap", [nn.DataParallel, partial(torch.compile, backend="eager"), "in place"])
def test_wrappers_are_seen_through_and_left_where_they_are(wrap) -> None:
    plain = mlp()
    inner = copy.deepcopy(plain)
    if wrap == "in place":
        inner.compile(backend="eager")
        wrapped = nn.Sequential(inner)
    else:
        wrapped = nn.Sequential(wrap(inner))
    children, call = list(wrapped.children()), inner._compiled_call_impl
    graph = capture(wrapped, (16,))
    assert graph.fingerprint() == capture(nn.Sequential(plain), (16,)).fingerprint()
    assert list(wrapped.children()) == children
    assert inner._compiled_call_impl is call


def test_the_fingerprint_is_that_of_nodes_and_parameters() -> None:
    graph, same, other = capture(mlp(), (16,)), capture(mlp(), (16,)), capture(mlp(seed=1), (16,))
    assert graph.fingerprint() == same.fingerprint() != other.fingerprint()


def test_kinds_can_be_written_to_files() -> None:
    build, shape = GAUNTLET["encoder_layer"]
    for node in capture(build(), shape).nodes:
        written = json.loads(json.dumps(vars(node.kind)))
        read = {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
        assert kinds.KINDS[type(node.kind).__name__](**read) == node.kind


def _written(logits: Tensor, rows: slice) -> Tensor:
    logits[rows] = 0.0
    return logits


DEPENDENT = {
    "mean": lambda layer, x: layer(x - x.mean(0)),
    "gram": lambda layer, x: layer(x) * (x @ x.T).sum(1, keepdim=True),
    "first row": lambda layer, x: layer(x) + x[0, 0],
    "count": lambda layer, x: layer(x) / x.shape[0],
    "fixed": lambda layer, x: layer(x.view(3, 6)),
    "branch": lambda layer, x: layer(x) if x.shape[0] < 4 else -layer(x),
    "flipped": lambda layer, x: layer(x.flip(0)),
    "joined": lambda layer, x: layer(torch.cat([x, x])[: x.shape[0]]),
    "softmax": lambda layer, x: layer(x.softmax(0)),
    "norm": lambda layer, x: layer(x / x.norm()),
    "transposed": lambda layer, x: layer(x.T.reshape(-1, 6)),
    "last row": lambda layer, x: layer(x) + x[-1:, :3],
    "first rows": lambda layer, x: layer(x) + x[:1, :3],
    "large batches": lambda layer, x: layer(x) if x.shape[0] < 64 else -layer(x),
    "large inputs": lambda layer, x: layer(x) if x.numel() < 900 else -layer(x),
    "one row": lambda layer, x: -layer(x) if len(x) == 1 else layer(x),
    "seven rows": lambda layer, x: -layer(x) if x.shape[0] == 7 else layer(x),
    "even": lambda layer, x: layer(x) if x.shape[0] % 2 else -layer(x),
    "cut": lambda layer, x: torch.cat([layer(x[:64]), layer(x[64:])]),
    "in parts": lambda layer, x: torch.cat([layer(part) for part in x.chunk(2)]),
    "written row": lambda layer, x: _written(layer(x), slice(0, 1)),
    "written last row": lambda layer, x: _written(layer(x), slice(-1, None)),
    "every second row": lambda layer, x: _written(layer(x), slice(None, None, 2)),
    "rolled": lambda layer, x: layer(x.roll(1, 0)),
    "sorted": lambda layer, x: layer(x.sort(0).values),
    "permuted rows": lambda layer, x: layer(x[torch.arange(len(x) - 1, -1, -1)]),
    "at most five": lambda layer, x: layer(x) * min(x.shape[0], 5),
    "greatest": lambda layer, x: layer(x - x.amax(0)),
    "cumulative": lambda layer, x: layer(x.cumsum(0)),
    "statistics": lambda layer, x: layer(functional.batch_norm(x, None, None, training=True)),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_model_that_depends_on_its_batch_is_refused(name: str) -> None:
    with pytest.raises((ModelError, UnsupportedOperation), match="batch|has no rule"):
        capture(Wrapped(DEPENDENT[name], LAYER), (6,))


WHOLE = {
    "all": lambda layer, x: layer(x[:]),
    "from 0": lambda layer, x: layer(x[0:]),
    "its length": lambda layer, x: layer(x[: x.shape[0]]) + layer(x[: len(x)]),
    "written": lambda layer, x: _written(layer(x), slice(None)) + layer(x),
    "more than none": lambda layer, x: layer(x) if x.shape[0] > 0 else -layer(x),
    "at most a thousand": lambda layer, x: layer(x) if x.shape[0] <= 1000 else -layer(x),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_batch_may_be_taken(name: str) -> None:
    module, x = Wrapped(WHOLE[name], LAYER), torch.rand(4, 6)
    assert torch.allclose(capture(module, (6,))(x), module(x), atol=1e-6)


class Stateful(nn.Module):
    """Keeps numbers in its attributes, and may count its calls."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.layer, self.counts, self.calls, self.seen = nn.Linear(6, 3), counts, 0, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen = [x.shape[1]]
        self.calls += self.counts
        return self.layer(x) if self.calls < 1000 else -self.layer(x)


def test_a_model_that_counts_its_calls_is_refused_and_left_as_it_was() -> None:
    module = Stateful(counts=True)
    with pytest.raises(ModelError, match="writes to its attribute 'calls'"):
        capture(module, (6,))
    assert (module.calls, module.seen) == (0, [])
    assert capture(Stateful(counts=False), (6,)).classes == 3


def _once(module: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    logits = -layer(x) if module.seen else layer(x)
    module.seen = True
    return logits


def _remembering(module: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    if module.seen is None:
        module.seen = x.mean()
    return layer(x) + module.seen


@pytest.mark.parametrize(("function", "words"), [(_once, "second call"), (_remembering, "batch")])
def test_a_model_that_remembers_its_first_call_is_refused_and_left_as_it_was(function, words: str) -> None:
    module = Wrapped(lambda layer, x: function(module, layer, x), LAYER)
    module.seen = None
    with pytest.raises(ModelError, match=words):
        capture(module, (6,))
    assert module.seen is None


def test_what_is_built_in_the_first_call_is_captured() -> None:
    def lazily(layer: nn.Module, x: Tensor) -> Tensor:
        if module.scale is None:
            module.scale = torch.arange(6.0)
        return layer(x * module.scale)

    module = Wrapped(lazily, LAYER)
    module.scale = None
    x = torch.rand(4, 6)
    assert torch.allclose(capture(module, (6,))(x), LAYER(x * torch.arange(6.0)), atol=1e-5)
    assert module.scale is None


GRADIENT_MODES = {
    "mode": lambda layer, x: layer(x) if torch.is_grad_enabled() else -layer(x),
    "input": lambda layer, x: layer(x) if x.requires_grad else -layer(x),
    "corner": lambda layer, x: layer(x) - (100 * torch.relu(x - 1e3)[:, :3] if torch.is_grad_enabled() else 0),
    "inference": lambda layer, x: (
        layer(x) * (2 if torch.is_inference_mode_enabled() else 1)
        if torch.is_grad_enabled()
        else layer(x) + torch.relu(x - 1e3)[:, :3]
    ),
}


@pytest.mark.parametrize("name", GRADIENT_MODES)
def test_a_model_that_depends_on_the_gradient_mode_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="gradients on than under torch.no_grad"):
        capture(Wrapped(GRADIENT_MODES[name], LAYER), (6,))


def test_a_model_may_ask_for_the_gradient_mode_and_do_the_same() -> None:
    def asking(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x.clone() if torch.is_grad_enabled() else x)

    assert capture(Wrapped(asking, LAYER), (6,)).classes == 3


REFUSED = {
    "sign": (lambda layer, x: layer(x.sign()), UnsupportedOperation, r"aten.sign in Wrapped, helpers.py:\d+"),
    "count": (lambda layer, x: layer(x) * (x > 0).sum(1, keepdim=True), UnsupportedOperation, "may jump"),
    "infinite": (
        lambda layer, x: layer(x).masked_fill(x[:, :1] > 0, -float("inf")),
        UnsupportedOperation,
        "-inf.*depends on the input",
    ),
    "scatter": (
        lambda layer, x: layer(x.scatter(1, torch.zeros(len(x), 2, dtype=torch.int64), x[:, :2])),
        UnsupportedOperation,
        "twice",
    ),
    "argmax": (lambda layer, x: layer(x) + x.argmax(1, keepdim=True), UnsupportedOperation, "torch.int64"),
    "half": (lambda layer, x: layer(x).half().float(), UnsupportedOperation, "torch.float16"),
    "random": (lambda layer, x: layer(x + torch.randn_like(x)), UnsupportedOperation, "randn_like"),
    "dropout": (lambda layer, x: layer(functional.dropout(x)), UnsupportedOperation, "self.training"),
    "places": (lambda layer, x: layer(x) + x.max(1, keepdim=True).indices, UnsupportedOperation, "int64|indices"),
    "branch": (lambda layer, x: layer(x) if x.sum() > 0 else x, ModelError, r"torch.export cannot take.*no branch"),
    "numpy": (lambda layer, x: layer(torch.from_numpy(x.numpy())), ModelError, "torch.export cannot take"),
    "tuple": (lambda layer, x: (layer(x), x), ModelError, "returns 2 things"),
    "dictionary": (lambda layer, x: {"logits": layer(x)}, ModelError, "returns a dict"),
    "rank": (lambda layer, x: layer(x)[:, None], ModelError, r"\(n, 1, 3\)"),
    "constant": (lambda layer, x: torch.zeros(x.shape[0], 3), ModelError, "same logits for every input"),
    "causal": (
        lambda layer, x: functional.scaled_dot_product_attention(*[x[:, None]] * 3, is_causal=True)[:, 0],
        UnsupportedOperation,
        "masked",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_named(name: str) -> None:
    function, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        capture(Wrapped(function, LAYER), (6,))


def test_the_module_and_the_line_of_a_failure_are_named() -> None:
    inner = Wrapped(lambda _, x: x if x.sum() > 0 else -x)
    with pytest.raises(ModelError, match=r"1 \(Wrapped\), (helpers|test_capture).py:\d+"):
        capture(nn.Sequential(LAYER, inner), (6,))
    with pytest.raises(UnsupportedOperation, match=r"aten.sign in 1 \(Wrapped\), helpers.py:\d+"):
        capture(nn.Sequential(LAYER, Wrapped(lambda _, x: x.sign())), (6,))


def test_inputs_of_another_shape_are_explained() -> None:
    with pytest.raises(ModelError, match=r"fails on 3 inputs of shape \(7,\)"):
        capture(LAYER, (7,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match="float32 or float64"):
        capture(nn.Linear(6, 3).to(dtype), (6,))


class Counting(nn.Module):
    """Writes to its buffer in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


def test_a_model_that_writes_to_itself_is_refused() -> None:
    module = Counting()
    with pytest.raises(ModelError, match="writes to its own 'calls'"):
        capture(module, (6,))
    assert module.calls.item() == 0


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_an_uneven_border_is_padded_after_the_input() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, (4, 2), padding="same"), nn.Flatten())
    x = torch.rand(3, 2, 5, 5)
    assert torch.allclose(capture(module, (2, 5, 5))(x), module(x), atol=1e-6)


class Named(nn.Module):
    """Has a parameter with a name that capture gives to numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.ParameterList([torch.ones(6)])
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(0.5 * x + self.constant[0])


def test_names_of_numbers_are_not_taken_by_parameters() -> None:
    graph = capture(Named(), (6,))
    assert {"constant.0", "constant.1"} <= set(graph.parameters)
    assert graph.parameters["constant.1"].item() == 0.5


class InAutocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x).float()


def test_a_region_in_autocast_is_refused_by_name():
    with pytest.raises(UnsupportedOperation, match="autocast"):
        capture(InAutocast().eval(), (4,))
