"""What every registered attack must satisfy; a new one is picked up from the registry."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from epsball import Ball, Classifier, attack
from epsball.attacks import ATTACKS, AttackResult
from epsball.attacks.registry import resolve
from epsball.classifier.margins import margins
from helpers import Counter, Wrapped, examples, linear, mlp

SMALL = {
    "second-order": "second-order,steps=2",
    "spsa": "spsa,steps=20,pairs=8,learning_rate=0.03",
    "nes": "nes,steps=15,pairs=8",
    "hop-skip-jump": "hop-skip-jump,iterations=3,first_queries=40,tries=20",
    "distilled": "distilled,points=30,epochs=12,steps=10,restarts=4",
    "pgd": "pgd,steps=15",
    "apgd": "apgd,steps=15",
    "apgd-t": "apgd-t,steps=15,targets=2",
    "square": "square,queries=80",
    "ensemble": "ensemble,queries=20,most=2",
    "adaptive": "adaptive,queries=20,most=2",
    "carlini-wagner": "carlini-wagner,searches=2,steps=20,step_size=0.05,constant=1.0",
    "carlini-wagner-linf": "carlini-wagner-linf,steps=4,step_size=0.05,constant=0.1,least=0.05",
    "ddn": "ddn,steps=20",
    "fmn": "fmn,steps=20",
    "deepfool": "deepfool,steps=20",
    "fab": "fab,steps=6",
    "fab-t": "fab-t,steps=6,targets=2",
    "pdpgd": "pdpgd,steps=40",
    "minimum-norm": "minimum-norm,steps=40",
}
"""Attacks that make many passes, with options for quick tests."""

PRECISE = {
    "second-order": "second-order,steps=3",
    "spsa": "spsa,steps=20,pairs=8,learning_rate=0.03",
    "nes": "nes,steps=25,pairs=8",
    "hop-skip-jump": "hop-skip-jump,iterations=5,first_queries=50,tries=30",
    "pgd": "pgd",
    "apgd": "apgd,steps=40",
    "apgd-t": "apgd-t,steps=30,targets=2",
    "square": "square,queries=120",
    "ddn": "ddn,steps=60",
    "fmn": "fmn,steps=60",
    "fab": "fab,steps=10",
    "fab-t": "fab-t,steps=10,targets=3",
    "minimum-norm": "minimum-norm,steps=80",
}
"""Options that reach the tolerance an attack declares, where the small ones do not."""


def quick(name: str) -> str:
    """Return the text of an attack for quick tests."""
    return SMALL.get(name, name)


BALLS = {"linf": Ball("linf", 0.15), "l2": Ball("l2", 0.6), "l1": Ball("l1", 1.5)}
LONG = ("autoattack", "autoattack-rand")
"""Published compositions, whose length is not an option; test_autoattack.py has their tests."""

NAMES = [name for name in ATTACKS if name not in LONG]
PAIRS = [(name, norm) for name in NAMES for norm in ATTACKS[name].norms]
PROMISED = [(name, norm) for name, norm in PAIRS if ATTACKS[name].tolerance is not None]

each = pytest.mark.parametrize("name", NAMES)
each_in_its_norms = pytest.mark.parametrize(("name", "norm"), PAIRS)


def first_norm(name: str) -> str:
    """Return the first norm for which an attack is defined."""
    return ATTACKS[name].norms[0]


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Return a small network in training mode, with batch norm and dropout."""
    flatten, first, relu, last = mlp()
    return nn.Sequential(flatten, first, nn.BatchNorm1d(32), relu, nn.Dropout(0.5), last).to(dtype).train()


def case(n: int, dtype: torch.dtype = torch.float32) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Return the network, examples, and the classes it predicts in evaluation."""
    x = examples(n)[0].to(dtype)
    return network(dtype), x, network(dtype).eval()(x).argmax(1)


@dataclass(frozen=True, eq=False)
class Run:
    """One search in two chunks, and what it left behind."""

    x: Tensor
    y: Tensor
    result: AttackResult
    module: nn.Sequential
    state: dict[str, Tensor]
    forwards: int
    backwards: int
    drew: bool


@cache
def searched(name: str, norm: str) -> Run:
    """Search the case once under stop="first"; several laws are about this run."""
    module, x, y = case(30)
    counter, classifier = Counter(module), Classifier(module)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    result = attack(classifier, x, y, BALLS[norm], method=quick(name), batch_size=18)
    return Run(
        x=x,
        y=y,
        result=result,
        module=module,
        state=state,
        forwards=counter.rows,
        backwards=classifier.passes.backward,
        drew=not torch.equal(generator, torch.get_rng_state()),
    )


@each_in_its_norms
def test_witnesses_lie_in_the_ball_and_are_misclassified(name, norm):
    ball, run = BALLS[norm], searched(name, norm)
    x, result, classifier = run.x, run.result, Classifier(network())
    assert result.broken.any()
    assert ball.contains(result.x_adv, x).all()
    assert torch.equal(margins(classifier.logits(result.x_adv), run.y) <= 0, result.broken)
    assert torch.equal(ball.distance(result.nearest, x)[result.broken], result.distance[result.broken])
    assert (result.distance[result.broken] <= float(ball.radius) * (1 + 1e-6)).all()


@each_in_its_norms
def test_every_pass_stands_in_the_ledger(name, norm):
    run = searched(name, norm)
    ledger = run.result.ledger
    assert ledger.passes == (run.forwards, run.backwards)
    rows = list(zip(ledger.index.tolist(), ledger.attack, ledger.restart.tolist(), strict=True))
    assert len(set(rows)) == len(rows)


@each_in_its_norms
def test_there_is_no_trace_on_the_model(name, norm):
    run = searched(name, norm)
    assert all(part.training for part in run.module.modules())
    assert all(p.requires_grad and p.grad is None for p in run.module.parameters())
    assert all(torch.equal(run.state[key], value) for key, value in run.module.state_dict().items())
    assert not run.drew


@cache
def in_the_unit_box(name: str, norm: str) -> AttackResult:
    """Search a few examples to the method's own end."""
    module, x, y = case(16)
    return attack(Classifier(module), x, y, BALLS[norm], method=quick(name), stop="never")


@each_in_its_norms
def test_the_unit_of_the_box_does_not_matter(name, norm):
    """In [0, 255] as many break as in [0, 1], up to what other draws do."""
    module, x, y = case(16)
    classifier = Classifier(Wrapped(lambda inner, z: inner(z / 255), module), low=0.0, high=255.0)
    ball = Ball(norm, 255 * float(BALLS[norm].radius), low=0.0, high=255.0)
    wide = attack(classifier, (255 * x).clamp(0, 255), y, ball, method=quick(name), stop="never")
    assert abs(int(in_the_unit_box(name, norm).broken.sum()) - int(wide.broken.sum())) <= 2


@each
@pytest.mark.parametrize("stop", ["first", "never"])
def test_the_same_call_gives_the_same_points(name, stop):
    norm = first_norm(name)
    first = searched(name, norm).result if stop == "first" else in_the_unit_box(name, norm)
    module, x, y = case(len(first.broken))
    size = 18 if stop == "first" else None
    second = attack(Classifier(module), x, y, BALLS[norm], method=quick(name), stop=stop, batch_size=size)
    assert torch.equal(first.x_adv, second.x_adv)


@pytest.mark.parametrize(("name", "norm"), PROMISED)
def test_the_least_radius_of_a_linear_model_is_met_within_the_tolerance_declared(name, norm):
    """Two classes: the boundary is at margin / dual norm of the difference of the rows; the box plays no part."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(2, 16, generator=generator)
    module = linear(weight, -0.5 * weight.sum(1))
    x = 0.5 + 0.02 * torch.randn(40, 16, generator=generator)
    y = module(x).argmax(1)
    z = module(x).detach().double()
    difference = (weight[0] - weight[1]).double()
    order = {"linf": 1.0, "l2": 2.0, "l1": torch.inf}[norm]
    least = (z[:, 0] - z[:, 1]).abs() / torch.linalg.vector_norm(difference, order)
    tolerance = resolve(name).tolerance
    radius = float(least.median()) * (1 + tolerance)
    method = PRECISE.get(name, quick(name))
    result = attack(Classifier(module), x, y, Ball(norm, radius), method=method, stop="never")
    assert result.broken[least <= least.median()].all()
    assert not result.broken[least > radius * (1 + 1e-5)].any()
    if resolve(name).domain == "box":
        assert (result.distance <= least * (1 + tolerance) + 1e-6).all()
        assert (result.distance >= least * (1 - 1e-5) - 1e-6).all()


@each_in_its_norms
def test_batching_and_order_change_nothing_in_float64(name, norm):
    module, x, y = case(12, torch.float64)
    whole = attack(Classifier(module), x, y, BALLS[norm], method=quick(name), stop="never")
    order = torch.arange(len(x)).flip(0)
    other = attack(Classifier(module), x[order], y[order], BALLS[norm], method=quick(name), stop="never", batch_size=7)
    torch.testing.assert_close(other.margin, whole.margin[order], rtol=0, atol=1e-9)


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_logits_may_have_another_dtype_than_the_inputs(name, dtype):
    module, x, _ = case(8)
    other = Wrapped(lambda inner, x: inner(x).to(dtype), module.eval())
    y = other(x).argmax(1)
    ball = BALLS[first_norm(name)]
    wide = Ball(ball.norm, 2 * ball.radius)
    assert attack(Classifier(other), x, y, wide, method=quick(name)).broken.any()


COMBINATIONS = [((7,), 2), ((3, 5, 4), 3), ((2, 3), 200)]
ALL_COMBINATIONS = [
    *COMBINATIONS,
    *(
        pytest.param(shape, classes, marks=pytest.mark.slow)
        for shape in ((7,), (3, 5, 4), (2, 3))
        for classes in (2, 3, 1000)
        if (shape, classes) not in COMBINATIONS
    ),
]


@each
@pytest.mark.parametrize(("shape", "classes"), ALL_COMBINATIONS)
def test_any_shape_and_number_of_classes(name, shape, classes):
    if name == "hop-skip-jump" and (classes, shape) == (2, (3, 5, 4)):
        pytest.skip("this network gives all noise one class, so that decisions alone show no start")
    module = mlp(inputs=int(torch.tensor(shape).prod()), classes=classes)
    x, _ = examples(11, shape)
    y = module(x).argmax(1)
    ball = {"linf": Ball("linf", 0.5), "l2": Ball("l2", 1.5), "l1": Ball("l1", 4)}[first_norm(name)]
    # Untargeted FAB makes one backward pass per other class and step.
    method = "fab,steps=1" if name == "fab" and classes >= 200 else quick(name)
    result = attack(Classifier(module), x, y, ball, method=method, batch_size=6, stop="never")
    natural = attack(Classifier(module), x, y, Ball(ball.norm, 0), method="fgsm")
    assert result.x_adv.shape == x.shape
    assert (result.margin <= natural.margin).all()
    assert (result.margin < natural.margin - 0.01).double().mean() > 0.5
