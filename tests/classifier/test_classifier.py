import pytest
import torch
from torch import nn

from epsball import Classifier, InputError, ModelError, Normalise
from epsball.pixels import from_8bit
from helpers import Counter, Wrapped, convnet, examples, mlp


def state_of(module):
    return (
        {name: tensor.clone() for name, tensor in module.state_dict().items()},
        [part.training for part in module.modules()],
        [parameter.requires_grad for parameter in module.parameters()],
        [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        torch.get_rng_state(),
    )


def assert_same_state(before, after):
    assert before[0].keys() == after[0].keys()
    for name in before[0]:
        assert torch.equal(before[0][name], after[0][name]), name
    assert before[1] == after[1]
    assert before[2] == after[2]
    assert [g is None for g in before[3]] == [g is None for g in after[3]]
    assert torch.equal(before[4], after[4])


class Drifting(nn.Module):
    """Changes a buffer, rebinds another and draws a number in every forward."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(3))
        self.layer = nn.Linear(16, 4)

    def forward(self, x):
        self.calls += 1
        self.last = torch.rand(3)
        return self.layer(x)


def test_use_leaves_no_trace_on_mode_flags_buffers_or_generators():
    module = convnet().train()
    module[1].eval()
    next(module.parameters()).requires_grad_(False)
    x, y = examples(20, (1, 8, 8))
    before = state_of(module)
    classifier = Classifier(module)
    classifier.check(x, y)
    classifier.logits(x)
    assert_same_state(before, state_of(module))


def test_buffers_changed_or_rebound_by_a_forward_are_restored():
    module = Drifting()
    buffer = module.last
    before = state_of(module)
    Classifier(module).logits(examples()[0])
    assert_same_state(before, state_of(module))
    assert module.last is buffer


def test_state_is_restored_after_an_exception():
    def fail(module, x):
        torch.rand(1)
        raise ValueError("broken inside")

    module = Wrapped(fail, convnet())
    module.train()
    before = state_of(module)
    with pytest.raises(ModelError, match="broken inside"):
        Classifier(module).check(*examples(20, (1, 8, 8)))
    assert_same_state(before, state_of(module))


def test_logits_run_in_evaluation_mode():
    module = convnet().train()
    x, _ = examples(20, (1, 8, 8))
    expected = module.eval()(x)
    module.train()
    assert torch.equal(Classifier(module).logits(x), expected)


def test_passes_equal_a_hooks_count():
    module = mlp()
    counter = Counter(module)
    classifier = Classifier(module)
    x, y = examples(7)
    classifier.check(x, y)
    classifier.logits(x)
    with classifier.in_use():
        leaf = x.clone().requires_grad_()
        gradient = classifier.gradient(classifier.forward(leaf).amax(1), leaf)
    assert gradient.shape == x.shape
    assert classifier.passes.forward == counter.rows
    assert classifier.passes.backward == 7


def test_normalisation_comes_first_and_pixels_stay_pixels():
    x, _ = examples(5, (3, 8, 8))
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    expected = module((x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    classifier = Classifier(module, mean, std)
    assert torch.equal(classifier.logits(x), expected)
    assert isinstance(classifier.network[0], Normalise)
    assert classifier.network[1] is module


def test_mean_or_std_may_be_given_alone():
    x, _ = examples(5)
    module = mlp()
    assert torch.allclose(Classifier(module, mean=0.5).logits(x), module(x - 0.5))
    assert torch.allclose(Classifier(module, std=[0.5]).logits(x), module(x / 0.5))


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ([0.1, 0.2], [0.1], "one of each per channel"),
        ([0.1], [0.0], "positive"),
        ([float("nan")], [1.0], "finite"),
    ],
)
def test_bad_normalisation_is_refused(mean, std, words):
    with pytest.raises(InputError, match=words):
        Classifier(mlp(), mean, std)


def test_normalisation_of_another_channel_count_is_refused():
    with pytest.raises(ModelError, match="3 channels|3 values"):
        Classifier(convnet(), [0.1] * 3, [1.0] * 3).check(*examples(20, (1, 8, 8)))


def check(module, x=None, y=None, **options):
    default_x, default_y = examples(20)
    return Classifier(module, **options).check(default_x if x is None else x, default_y if y is None else y)


def test_a_plain_network_passes_and_its_classes_are_counted():
    assert check(mlp()) == 4
    assert check(mlp(), *examples(3)) == 4


OUTPUTS = {
    "probabilities": (lambda m, x: m(x).softmax(1), "probabilities, not logits"),
    "nan": (lambda m, x: m(x) * float("nan"), "NaN or infinite"),
    "infinite": (lambda m, x: m(x) / 0.0, "NaN or infinite"),
    "rank 3": (lambda m, x: m(x)[..., None], r"returned \(16, 4, 1\)"),
    "rank 1": (lambda m, x: m(x).amax(1), r"returned \(16,\)"),
    "one score": (lambda m, x: m(x)[:, :1], r"two logits, \(0, score\)"),
    "labels": (lambda m, x: m(x).argmax(1, keepdim=True).expand(-1, 4), "floating logits"),
    "tuple": (lambda m, x: (m(x), x), "returned a tuple"),
    "dict": (lambda m, x: {"logits": m(x)}, "returned a dict"),
    "random": (lambda m, x: m(x) + torch.randn(len(x), 4), "stochastic=True"),
    "batch statistics": (lambda m, x: m((x - x.mean(0)) / x.std(0)), "rest of its batch"),
    "centred batch": (lambda m, x: m(x - x.mean()), "rest of its batch"),
    "fewer rows": (lambda m, x: m(x)[1:], r"returned \(15, 4\) for 16 inputs"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_models_that_are_not_classifiers_are_explained(kind, as_users_run):
    function, words = OUTPUTS[kind]
    with pytest.raises(ModelError, match=words):
        check(Wrapped(function, mlp()))


def test_dropout_left_on_is_random():
    class Stubborn(nn.Module):
        def forward(self, x):
            return mlp()(nn.functional.dropout(x, 0.5, training=True))

    with pytest.raises(ModelError, match="random"):
        check(Stubborn())
    assert check(Stubborn(), stochastic=True) == 4


def test_log_probabilities_are_logits():
    assert check(Wrapped(lambda m, x: m(x).log_softmax(1), mlp())) == 4


def test_a_few_rows_that_are_not_finite_do_not_stop_the_others():
    def spoilt(module, x):
        logits = module(x)
        return torch.where(x[:, :1] > 0.9, torch.nan, logits)

    x, y = examples(20)
    x[0, 0], x[1, 0] = 1.0, 0.0
    assert check(Wrapped(spoilt, mlp()), x, y) == 4


INPUTS = {
    "integers": (lambda x: (x > 0.5).long(), "takes floats"),
    "nan": (lambda x: x.index_fill(0, torch.tensor([3]), float("nan")), "1 of 20 inputs.*index 3"),
    "normalised": (lambda x: (x - 0.5) / 0.2, "looks normalised"),
    "0..255": (lambda x: x * 255, "divide by 255"),
    "rounding": (lambda x: x + (1.0 + 1e-7 - x.max()), "looks like rounding"),
    "no batch axis": (lambda x: x[0], r"x\[None\]"),
    "empty": (lambda x: x[:0], "n >= 1"),
    "array": (lambda x: x.numpy(), "pass a torch tensor"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_that_break_a_rule_are_explained(kind, as_users_run):
    function, words = INPUTS[kind]
    x, y = examples(20)
    with pytest.raises(InputError, match=words):
        Classifier(mlp()).check(function(x), y)


def test_8_bit_pixels_are_taken_where_the_box_is_theirs():
    x, y = (255 * torch.rand(20, 16)).byte(), examples(20)[1]
    classifier = Classifier(mlp())
    assert classifier.check(x, y) == 4
    assert torch.equal(classifier(x), classifier(from_8bit(x)))
    with pytest.raises(InputError, match="from_8bit"):
        Classifier(mlp(), low=-1.0, high=1.0).check(x, y)


LABELS = {
    "float": (lambda y: y.float(), "y.long"),
    "one-hot": (lambda y: nn.functional.one_hot(y, 4), r"y.argmax\(1\)"),
    "too few": (lambda y: y[:-1], r"expected \(20,\)"),
    "negative": (lambda y: y - 1, "labels start at 0"),
    "from 1": (lambda y: torch.tensor([1, 4] * 10), "Subtract 1"),
    "too large": (lambda y: y.index_fill(0, torch.tensor([5]), 9), "label 9 at index 5"),
    "boolean": (lambda y: y > 1, "integers"),
    "list": (lambda y: y.tolist(), "torch.as_tensor"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_break_a_rule_are_explained(kind, as_users_run):
    function, words = LABELS[kind]
    x, y = examples(20)
    y[:2] = torch.tensor([0, 3])
    with pytest.raises(InputError, match=words):
        Classifier(mlp()).check(x, function(y))


def test_channels_last_is_suspected():
    with pytest.raises(ModelError, match=r"permute\(0, 3, 1, 2\)"):
        Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())).check(torch.rand(4, 8, 8, 3), torch.zeros(4).long())


def test_a_cast_that_moves_the_centre_is_refused_and_an_exact_one_is_not():
    x, y = examples(20)
    classifier = Classifier(mlp())
    with pytest.raises(InputError, match="centre of the"):
        classifier.check(x.double() + 1e-12 - 1e-12 * x.double(), y)
    assert classifier.check(x.double(), y) == 4
    assert Classifier(mlp().double()).logits(x).dtype == torch.float64


def test_a_model_must_be_a_module_and_a_box_well_formed(as_users_run):
    with pytest.raises(ModelError, match="Wrap a function"):
        Classifier(lambda x: x)
    for low, high in ((1.0, 0.0), (None, 1.0), (0.5, 0.5)):
        with pytest.raises(InputError, match="low < high"):
            Classifier(mlp(), low=low, high=high)
    assert check(mlp(), low=None, high=None, x=5 * examples(20)[0]) == 4


def test_the_fingerprint_follows_weights_normalisation_and_structure():
    prints = {
        Classifier(mlp()).fingerprint(),
        Classifier(mlp(seed=1)).fingerprint(),
        Classifier(mlp(), mean=0.5).fingerprint(),
        Classifier(mlp().double()).fingerprint(),
    }
    assert len(prints) == 4
    assert Classifier(mlp()).fingerprint() in prints


def test_exported_programs_that_refuse_eval_are_used_as_they_are():
    program = torch.export.export(
        mlp().eval(), (torch.rand(4, 16),), dynamic_shapes=({0: torch.export.Dim("n", min=1)},)
    )
    module = program.module()
    x, y = examples(20)
    assert Classifier(module).check(x, y) == 4
    assert torch.allclose(Classifier(module).logits(x), mlp()(x), atol=1e-6)


def test_models_that_work_in_place_change_nothing_outside():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.ReLU(inplace=True), mlp())

        def forward(self, x):
            x -= 0.25
            return self.net(x)

    x, y = examples(20)
    before = x.clone()
    classifier = Classifier(InPlace())
    assert classifier.check(x, y) == 4
    classifier.logits(x)
    assert torch.equal(x, before)
    with classifier.in_use():
        leaf = x.clone().requires_grad_()
        assert classifier.gradient(classifier.forward(leaf).amax(1), leaf).abs().sum() > 0


def test_buffers_that_a_forward_adds_are_removed():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            self.register_buffer("seen", x.mean(0))
            return self.net(x)

    module = Growing()
    before = Classifier(module).fingerprint()
    Classifier(module).logits(examples()[0])
    assert "seen" not in dict(module.named_buffers())
    assert Classifier(module).fingerprint() == before


def test_buffers_that_are_not_saved_are_in_the_fingerprint():
    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.register_buffer("scale", torch.tensor(scale), persistent=False)

    assert Classifier(Scaled(1.0)).fingerprint() != Classifier(Scaled(2.0)).fingerprint()


def test_lazy_models_and_inference_mode_are_explained():
    with pytest.raises(ModelError, match="lazy layers"):
        Classifier(nn.LazyLinear(3))
    with pytest.raises(InputError, match="inference mode"), torch.inference_mode():
        check(mlp())


def test_frozen_torchscript_is_accepted():
    frozen = torch.jit.freeze(torch.jit.script(mlp().eval()))
    assert check(frozen) == 4
