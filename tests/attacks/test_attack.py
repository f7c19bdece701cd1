import pytest
import torch

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import PGD, Attack
from helpers import Counter, Wrapped, convnet, examples, mlp

BALL = Ball("linf", 0.1)


class Script(Attack):
    """An attack that proposes given points, a list of (points, rows)."""

    name = "script"

    def __init__(self, *calls) -> None:
        self.calls = calls

    def __call__(self, query, ball, *, keys) -> None:
        for points, rows in self.calls:
            query.logits(points, rows)


def case(n: int = 20):
    classifier = Classifier(mlp())
    x, _ = examples(n)
    return classifier, x, classifier.logits(x).argmax(1)


def test_points_outside_the_ball_are_counted_but_are_no_candidates():
    classifier, x, y = case()
    far = (x + 0.5) % 1.0
    assert (classifier.logits(far).argmax(1) != y).any()
    result = attack(classifier, x, y, BALL, method=Script((far, None)), stop="never")
    assert torch.equal(result.x_adv, x)
    assert not result.broken.any()
    assert result.ledger.summary()["script"] == (20, 20, 0)


def test_points_outside_the_box_are_no_candidates():
    classifier, x, y = case()
    x = x.clamp(max=0.99).index_fill(1, torch.tensor([0]), 1.0)
    y = classifier.logits(x).argmax(1)
    beyond = x.clone()
    beyond[:, 0] += 0.05
    result = attack(classifier, x, y, BALL, method=Script((beyond, None)), stop="never")
    assert torch.equal(result.x_adv, x)


def test_several_points_per_example_are_attributed_to_their_owners():
    classifier, x, y = case()
    found = attack(classifier, x, y, Ball("linf", 0.4), method=PGD(steps=40))
    assert found.broken.sum() >= 3
    owners = torch.tensor([3, 0, 3, 7, 3])
    points = torch.stack([x[3], found.x_adv[0], found.x_adv[3], found.x_adv[7], x[3]])
    result = attack(classifier, x, y, Ball("linf", 0.4), method=Script((points, owners)), stop="never")
    for owner in (0, 3, 7):
        torch.testing.assert_close(result.x_adv[owner], found.x_adv[owner])
    untouched = [i for i in range(20) if i not in (0, 3, 7)]
    assert torch.equal(result.x_adv[untouched], x[untouched])
    spent = {row["index"]: row["forwards"] for row in result.ledger.to_arrow().to_pylist() if row["attack"] == "script"}
    assert spent == {0: 1, 3: 3, 7: 1}


def test_the_lowest_of_several_points_is_kept_and_ties_keep_the_first():
    classifier, x, y = case(1)
    points = x[:1] + torch.tensor([0.0, 0.01, -0.02, 0.03, 0.03])[:, None] * torch.ones(5, 16)
    points = BALL.project(points, x.expand(5, -1))
    rows = torch.zeros(5, dtype=torch.int64)
    z = classifier.logits(points).double()
    margins = z[:, y[0]] - z.scatter(1, y.expand(5)[:, None], -torch.inf).amax(1)
    result = attack(classifier, x, y, BALL, method=Script((points, rows)), stop="never")
    assert torch.equal(result.x_adv[0], points[int(margins.argmin())])


def test_a_budget_is_never_exceeded_and_what_was_found_is_kept():
    classifier, x, y = case()
    free = attack(classifier, x, y, BALL, method=PGD(steps=20), stop="never")
    for budget in (1, 2, 3, 10, 41, 100):
        result = attack(classifier, x, y, BALL, method=PGD(steps=20), stop="never", budget=budget)
        attack_rows = torch.tensor([name == "pgd-20" for name in result.ledger.attack])
        spent = (result.ledger.forwards + result.ledger.backwards)[attack_rows]
        assert (spent <= budget).all()
        assert spent.numel() == 0 or int(spent.max()) >= min(budget, 41) - 1
        assert (result.margin >= free.margin - 1e-6).all()
    assert torch.equal(result.margin, free.margin)


def test_ctrl_c_keeps_what_was_found():
    classifier, x, y = case(60)
    found = attack(classifier, x, y, Ball("linf", 0.4), method=PGD(steps=40))

    class Interrupted(Attack):
        name = "interrupted"

        def __call__(self, query, ball, *, keys):
            query.logits(found.x_adv[query.index])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        attack(classifier, x, y, Ball("linf", 0.4), method=Interrupted(), batch_size=20)
    result = stop.value.partial
    assert result.interrupted
    assert torch.equal(result.broken[:20], found.broken[:20])
    assert found.broken[:20].any()
    assert not result.broken[20:].any()
    assert result.margin[20:].isnan().all()
    assert len(result.x_adv) == 60
    assert "interrupted" in str(result)
    assert result.invalid == {}


def test_an_interruption_ends_the_callers_loop():
    def logits(inner, x):
        calls.append(len(x))
        if len(calls) == 12:
            raise KeyboardInterrupt
        return inner(x)

    def loop(method):
        for radius in (0.01, 0.02, 0.03):
            attack(Classifier(Wrapped(logits, mlp())), x, y, Ball("linf", radius), method=method)

    _, x, y = case(20)
    for method in ("pgd,steps=5", "apgd,steps=5", "square,queries=20"):
        calls: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            loop(method)
        assert len(calls) <= 12 + 2  # the candidates of the batch in progress are verified


def test_examples_with_non_finite_logits_are_set_aside_with_their_reason():
    def spoilt(module, x):
        logits = module(x)
        logits = torch.where(x[:, :1] == 1.0, torch.nan, logits)
        return torch.where(x[:, 1:2] > 0.95, torch.inf, logits)

    module = Wrapped(spoilt, mlp())
    x, _ = examples(30)
    x = x.clamp(0.2, 0.8)
    x[4, 0], x[9, 1] = 1.0, 0.9
    y = mlp()(x).argmax(1)
    start = x.clone()
    start[9, 1] = 0.99
    method = PGD(steps=30, start=start)
    result = attack(Classifier(module), x, y, BALL, method=method, stop="never")
    assert result.invalid[4] == "the logits are not finite at the example itself"
    assert result.invalid[9] == "the logits are not finite at a point of its ball"
    assert set(result.invalid) == {4, 9}
    assert result.margin[[4, 9]].isnan().all()
    assert not result.broken[[4, 9]].any()
    others = [i for i in range(30) if i not in (4, 9)]
    plain = attack(Classifier(mlp()), x[others], y[others], BALL, method=PGD(steps=30, start="none"), stop="never")
    assert torch.equal(result.broken[others], plain.broken)


def test_no_trace_on_a_module_in_training_mode():
    module = convnet().train()
    x, y = examples(30, (1, 8, 8))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    generator = torch.get_rng_state()
    attack(Classifier(module), x, y, BALL, method=PGD(steps=5), precision="bf16")
    attack(Classifier(module), x, y, BALL, method=PGD(steps=5))
    assert all(part.training for part in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_a_stochastic_model_is_judged_by_its_mean_softmax_and_repeats_by_seed():
    noisy = Wrapped(lambda m, x: m(x + 0.05 * torch.randn_like(x)), mlp())
    counter = Counter(noisy)
    x, _ = examples(30)
    y = mlp()(x).argmax(1)
    classifier = Classifier(noisy, stochastic=True, repetitions=50)
    generator = torch.get_rng_state()
    runs = [attack(classifier, x, y, Ball("linf", 0.2), method=PGD(steps=10), seed=3) for _ in range(2)]
    assert torch.equal(runs[0].x_adv, runs[1].x_adv)
    assert torch.equal(generator, torch.get_rng_state())
    assert runs[0].broken.any()
    assert sum(r.ledger.passes[0] for r in runs) == counter.rows
    assert runs[0].ledger.summary()["natural"][1] == 30 * 50


def test_the_balls_box_must_lie_within_the_classifiers():
    classifier, x, y = case()
    with pytest.raises(InputError, match="leaves the classifier's"):
        attack(classifier, x, y, Ball("linf", 0.1, -1.0, 1.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop": "last"}, "known: first, never"),
        ({"precision": "fp16"}, "Did you mean 'bf16'"),
        ({"budget": 0}, "budget is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"method": "pgdd"}, "Did you mean 'pgd'"),
        ({"method": "pgd,step=3"}, "Did you mean 'steps'"),
        ({"method": "pgd,steps=many"}, "is not a whole number; write it like steps=40"),
    ],
)
def test_bad_options_are_explained(options, words, as_users_run):
    classifier, x, y = case()
    with pytest.raises(InputError, match=words):
        attack(classifier, x, y, BALL, **options)


def test_what_is_not_a_classifier_or_not_a_ball_is_refused(as_users_run):
    x, y = examples(4)
    with pytest.raises(InputError, match="the model is a Sequential; give a Classifier"):
        attack(mlp(), x, y, Ball("linf", 0.1))
    with pytest.raises(InputError, match="the ball is 'linf:0.1'; give a Ball"):
        attack(Classifier(mlp()), x, y, "linf:0.1")


def test_methods_by_text_take_options():
    classifier, x, y = case()
    result = attack(classifier, x, y, BALL, method="pgd,steps=3,restarts=2,start=none", stop="never")
    assert result.ledger.summary()["pgd-3"] == (20, 20 * 8, 20 * 6)


def test_the_result_prints_and_exports():
    classifier, x, y = case()
    result = attack(classifier, x, y, BALL, method=PGD(steps=3))
    assert f"{result.accuracy:.4f}" in str(result)
    assert result.to_arrow().num_rows == 20
    assert result.to_json()["passes"]["forward"] == classifier.passes.forward - 20
    assert result.ledger.to_arrow().column_names[0] == "index"
    (axes,) = result.plot().axes
    assert axes.get_xlabel() == "margin left by the attack"
    assert axes.get_ylabel() == "share of all 20 examples at or above"
    assert axes.lines[0].get_ydata()[0] == 1.0


def test_natural_accuracy_stands_beside_accuracy_under_attack_and_its_passes_have_a_row():
    classifier, x, y = case()
    y[:5] = (y[:5] + 1) % 10
    result = attack(classifier, x, y, BALL, method=PGD(steps=3))
    logits = classifier.logits(x)
    right = logits.argmax(1) == y
    assert torch.equal(result.natural > 0, right)
    assert result.natural_accuracy == result.to_json()["natural_accuracy"] == 0.75
    assert str(result).splitlines()[0] == "natural accuracy      0.7500 [0.5090, 0.9134] (15 of 20)"
    assert result.ledger.summary()["natural"] == (20, 20, 0)


def test_an_example_without_a_verdict_counts_for_natural_accuracy_and_widens_its_interval():
    module = Wrapped(lambda inner, x: torch.where(x[:, :1] == 1.0, torch.nan, inner(x)), mlp())
    x, _ = examples(20)
    x[3, 0] = 1.0
    y = mlp()(x).argmax(1)
    result = attack(Classifier(module), x, y, BALL, method=PGD(steps=3))
    assert result.natural.isnan().tolist() == [i == 3 for i in range(20)]
    assert result.natural_accuracy == 1.0 >= result.accuracy
    assert "natural accuracy      1.0000 [0.7513, 1.0000] (20 of 20)" in str(result)
