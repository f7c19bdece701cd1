import pytest
import torch

from epsball import Ball, Classifier, InputError, ModelError, attack
from epsball.attacks import FGSM, PGD, RandomisedFGSM
from epsball.attacks.parts.step_size import step_size
from helpers import Counter, Wrapped, examples, linear, mlp

BALLS = [Ball("linf", 0.1), Ball("l2", 0.4), Ball("l1", 1.0)]


def linear_case(ball: Ball, n: int = 30, d: int = 12, seed: int = 0):
    """Return a two-class linear classifier without a box, examples, and the least reachable margin of each."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(d, generator=generator, dtype=torch.float64)
    x = torch.rand(n, d, generator=generator, dtype=torch.float64)
    module = linear(torch.stack([torch.zeros_like(w), w]), torch.tensor([0.0, -float(x.mean(0) @ w)]).double())
    classifier = Classifier(module, low=None, high=None)
    y = classifier.logits(x).argmax(1)
    z = classifier.logits(x)
    margin = (z[:, 1] - z[:, 0]) * (2 * y - 1)
    return classifier, x, y, margin - float(ball.radius) * ball.dual_norm(w[None])


@pytest.mark.parametrize("ball", [Ball(b.norm, b.radius, None, None) for b in BALLS], ids=str)
def test_on_linear_models_the_closed_form_optimum_is_reached(ball):
    classifier, x, y, least = linear_case(ball)
    result = attack(classifier, x, y, ball, method=PGD(steps=60, start="none"), stop="never")
    scale = (least - result.margin).abs().max() / (float(ball.radius) * ball.dual_norm(x[:1]))
    assert (result.margin >= least - 1e-9).all()
    assert (result.margin - least <= 0.01 * least.abs().clamp(min=1)).all(), scale
    assert torch.equal(result.broken, result.margin <= 0)


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_witnesses_lie_in_the_ball_and_are_misclassified(ball, dtype):
    classifier = Classifier(mlp().to(dtype))
    x, y = examples(60)
    x, y = x.to(dtype), classifier.logits(x.to(dtype)).argmax(1)
    result = attack(classifier, x, y, ball, method=PGD(steps=20, restarts=2))
    assert ball.contains(result.x_adv, x).all()
    wrong = classifier.logits(result.x_adv).argmax(1) != y
    assert torch.equal(wrong, result.broken)
    assert 0 < result.broken.sum() < len(x)
    assert torch.equal(result.distance.isnan(), ~result.broken)
    assert (result.distance[result.broken] <= float(ball.radius)).all()


@pytest.mark.parametrize("steps", [1, 5, 40])
@pytest.mark.parametrize("restarts", [1, 3])
def test_k_steps_cost_k_backwards_and_one_forward_more(steps, restarts):
    module = mlp()
    counter = Counter(module)
    classifier = Classifier(module)
    x, y = examples(32)
    result = attack(classifier, x, y, BALLS[0], method=PGD(steps=steps, restarts=restarts), stop="never")
    _, forwards, backwards = result.ledger.summary()[f"pgd-{steps}"]
    assert (forwards, backwards) == (32 * restarts * (steps + 1), 32 * restarts * steps)
    assert result.ledger.passes == (counter.rows, classifier.passes.backward)


@pytest.mark.parametrize("n", [1, 5, 33])
@pytest.mark.parametrize("stop", ["first", "never"])
def test_the_ledger_accounts_for_every_pass(n, stop):
    module = mlp()
    counter = Counter(module)
    classifier = Classifier(module)
    x, y = examples(n)
    result = attack(classifier, x, y, BALLS[0], method=PGD(steps=7, restarts=2), stop=stop, batch_size=20)
    assert result.ledger.passes == (counter.rows, classifier.passes.backward)
    assert classifier.passes.forward == counter.rows


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_batching_order_and_chunking_change_nothing_in_float64(ball):
    classifier = Classifier(mlp().double())
    x, y = examples(25)
    x = x.double()
    method = PGD(steps=8, restarts=2)
    whole = attack(classifier, x, y, ball, method=method, stop="never")
    chunked = attack(classifier, x, y, ball, method=method, stop="never", batch_size=7)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    shuffled = attack(classifier, x[order], y[order], ball, method=method, stop="never")
    single = attack(classifier, x[17:18], y[17:18], ball, method=method, stop="never")
    torch.testing.assert_close(chunked.margin, whole.margin, rtol=0, atol=1e-9)
    torch.testing.assert_close(shuffled.margin, whole.margin[order], rtol=0, atol=1e-9)
    torch.testing.assert_close(single.margin, whole.margin[17:18], rtol=0, atol=1e-9)


def test_in_float32_verdicts_do_not_change_with_batching():
    classifier = Classifier(mlp())
    x, y = examples(40)
    verdicts = [attack(classifier, x, y, BALLS[0], batch_size=size).broken for size in (1, 16, 37, 40)]
    assert all(torch.equal(verdicts[0], other) for other in verdicts)


def test_the_same_seed_repeats_and_another_differs():
    classifier = Classifier(mlp())
    x, y = examples(30)
    runs = [
        attack(classifier, x, y, BALLS[0], method=PGD(steps=3), seed=seed, stop="never").x_adv for seed in (5, 5, 6)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_more_restarts_are_never_worse_per_example():
    classifier = Classifier(mlp())
    x, y = examples(40)
    margins = [
        attack(classifier, x, y, BALLS[0], method=PGD(steps=5, restarts=r), stop="never").margin for r in (1, 2, 6)
    ]
    assert (margins[1] <= margins[0]).all()
    assert (margins[2] <= margins[1]).all()
    assert (margins[2] < margins[0]).any()


def test_stop_first_gives_the_verdicts_of_stop_never_at_fewer_passes():
    classifier = Classifier(mlp())
    x, y = examples(80)
    method = PGD(steps=30, restarts=2)
    first = attack(classifier, x, y, Ball("linf", 0.2), method=method)
    never = attack(classifier, x, y, Ball("linf", 0.2), method=method, stop="never")
    assert torch.equal(first.broken, never.broken)
    assert sum(first.ledger.passes) < 0.5 * sum(never.ledger.passes)


def test_bf16_search_gives_verified_witnesses():
    classifier = Classifier(mlp())
    x, y = examples(80)
    result = attack(classifier, x, y, BALLS[0], precision="bf16")
    exact = attack(classifier, x, y, BALLS[0])
    assert torch.equal(classifier.logits(result.x_adv).argmax(1) != y, result.broken)
    assert (result.broken != exact.broken).sum() <= 2


def test_radius_zero_is_natural_accuracy():
    classifier = Classifier(mlp())
    x, y = examples(50)
    for norm in ("linf", "l2", "l1"):
        result = attack(classifier, x, y, Ball(norm, 0), stop="never", method=PGD(steps=2, step_size=0.1))
        assert torch.equal(result.broken, classifier.logits(x).argmax(1) != y)
        assert torch.equal(result.x_adv, x)


def test_misclassified_examples_are_their_own_witness_and_cost_nothing():
    classifier = Classifier(mlp())
    x, y = examples(50)
    wrong = classifier.logits(x).argmax(1) != y
    result = attack(classifier, x, y, BALLS[0])
    assert wrong.any()
    assert torch.equal(result.x_adv[wrong], x[wrong])
    assert (result.distance[wrong] == 0).all()
    attacked = result.ledger.index[[name == "pgd-40" for name in result.ledger.attack]]
    assert not set(attacked.tolist()) & set(torch.nonzero(wrong)[:, 0].tolist())


def test_targets_lower_the_targets_loss():
    classifier = Classifier(mlp())
    x, _ = examples(40)
    y = classifier.logits(x).argmax(1)
    target = (y + 2) % 4
    result = attack(classifier, x, y, Ball("linf", 0.4), method=PGD(steps=30, targets=target))
    reached = classifier.logits(result.x_adv[result.broken]).argmax(1)
    assert result.broken.sum() > 5
    assert (reached == target[result.broken]).double().mean() > 0.5


@pytest.mark.parametrize("loss", ["cross-entropy", "margin", "dlr", lambda z, y: -z.gather(1, y[:, None])[:, 0]])
def test_every_loss_finds_witnesses(loss):
    classifier = Classifier(mlp())
    x, y = examples(60)
    right = classifier.logits(x).argmax(1) == y
    assert attack(classifier, x[right], y[right], Ball("linf", 0.3), method=PGD(loss=loss)).broken.any()


@pytest.mark.parametrize("start", ["uniform", "gaussian", "none"])
def test_starts_lie_in_the_ball(start):
    classifier = Classifier(mlp())
    x, y = examples(20)
    result = attack(classifier, x, y, BALLS[1], method=PGD(steps=1, start=start), stop="never")
    assert BALLS[1].contains(result.x_adv, x).all()


def test_a_given_start_is_used():
    classifier = Classifier(mlp())
    x, _ = examples(30)
    y = classifier.logits(x).argmax(1)
    ball = Ball("linf", 0.3)
    witnesses = attack(classifier, x, y, ball, method=PGD(steps=50, restarts=3))
    again = attack(classifier, x, y, ball, method=PGD(steps=1, start=witnesses.x_adv, step_size=1e-6))
    assert torch.equal(again.broken, witnesses.broken)


def test_one_step_forms_are_the_loop_with_one_step():
    classifier = Classifier(mlp())
    x, y = examples(20)
    ball = BALLS[0]
    result = attack(classifier, x, y, ball, method=FGSM(), stop="never")
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(mlp()(leaf), y, reduction="sum"), leaf)
    expected = ball.project(x + 0.1 * gradient.sign(), x)
    moved = (result.x_adv != x).flatten(1).any(1)
    assert moved.any()
    torch.testing.assert_close(result.x_adv[moved], expected[moved])
    drawn = attack(classifier, x, y, ball, method=RandomisedFGSM(), stop="never")
    assert drawn.ledger.summary()["fgsm-rs"] == (20, 40, 20)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("2.5*radius/steps", 0.05),
        ("radius/steps", 0.02),
        ("radius", 0.2),
        (0.03, 0.03),
        ("0.03", 0.03),
        ("2/255", 2 / 255),
    ],
)
def test_step_size_rules(rule, value):
    assert step_size(rule, Ball("linf", 0.2), 10) == pytest.approx(value)


@pytest.mark.parametrize("rule", [0, -1.0, float("nan"), "two", "radius*steps", "inf"])
def test_bad_step_sizes_are_refused(rule):
    with pytest.raises(InputError, match="step_size"):
        step_size(rule, Ball("linf", 0.2), 10)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"restarts": 0}, {"steps": 2.5}, {"loss": "hinge"}, {"start": "far"}]
)
def test_bad_options_are_refused(options, as_users_run):
    with pytest.raises(InputError):
        PGD(**options)


def test_targets_must_fit(as_users_run):
    classifier = Classifier(mlp())
    x, y = examples(20)
    for targets in (torch.zeros(5).long(), torch.zeros(20), torch.zeros(20).bool(), torch.full((20,), 7), [0] * 20):
        with pytest.raises(InputError, match="targets"):
            attack(classifier, x, y, BALLS[0], method=PGD(targets=targets))


def test_a_target_is_another_class():
    classifier = Classifier(mlp())
    x, _ = examples(20)
    y = classifier.logits(x).argmax(1)
    targets = (y + 1) % 4
    targets[7] = y[7]
    with pytest.raises(InputError, match="target of example 7 .* its own label"):
        attack(classifier, x, y, BALLS[0], method=PGD(targets=targets), batch_size=5)


def test_a_model_without_gradient_is_named():
    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x.detach())

    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    with pytest.raises(ModelError, match="no gradient reaches the input"):
        attack(Classifier(Cut()), x, y, BALLS[0])


def test_zero_gradients_are_counted():
    saturated = Wrapped(lambda m, x: (m(x) * 1e4).clamp(-1, 1) * 50, mlp())
    x, _ = examples(20)
    classifier = Classifier(saturated)
    y = classifier.logits(x).argmax(1)
    result = attack(classifier, x, y, Ball("linf", 0.01), method=PGD(steps=4, start="none"), stop="never")
    assert result.ledger.zero_gradients.sum() == 4 * 20


@pytest.mark.parametrize("n", [19, 21])
def test_a_given_start_has_one_point_for_each_example(n):
    x, y = examples(20)
    start = examples(n)[0]
    with pytest.raises(InputError, match=f"{n} points; expected one for each of 20"):
        attack(Classifier(mlp()), x, y, BALLS[0], method=PGD(start=start), stop="never")
