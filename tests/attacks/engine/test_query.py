"""What a query keeps of its calls, against a plain account of the same calls."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball import Ball, Classifier, attack
from epsball.attacks import Attack
from epsball.attacks.losses import cross_entropy
from helpers import Wrapped, examples, mlp

EXAMPLES, NATURAL, SPOILT = 4, 3, 7
BALL = Ball("linf", 0.125)

rows = st.tuples(st.integers(0, EXAMPLES - 1), st.sampled_from([-2, -1, 0, 1, 2, 5, SPOILT]), st.booleans())
calls = st.lists(st.one_of(st.none(), st.lists(rows, min_size=1, max_size=6)), max_size=8)


def levels(_, x):
    """Return logits whose margin is 64 (x_0 - 1/2), NaN from `SPOILT` on; every step is exact."""
    level = 64 * (x[:, 0] - 0.5)
    return torch.stack([torch.where(level < SPOILT, level - 5, torch.nan), torch.full_like(level, -5.0)], 1)


def at(level: int, inside: bool) -> list[float]:
    """Return a point of that margin, in the ball or not."""
    return [0.5 + level / 64, 0.5 if inside else 0.75]


class Account(Attack):
    """An attack that makes given calls, each of rows (example, level, inside); None begins a restart."""

    name = "account"

    def __init__(self, calls) -> None:
        self.calls = calls
        self.lowest, self.forwards, self.spoilt = {}, {}, set()

    def __call__(self, query, ball, *, keys) -> None:
        restart = 0
        for call in self.calls:
            if call is None:
                restart += 1
                query.begin(restart)
                continue
            asked = [row for row in call if row[0] in query.index]
            if asked:
                points = torch.tensor([at(level, inside) for _, level, inside in asked])
                query.logits(points, query.rows_of(torch.tensor([owner for owner, _, _ in asked])))
                self._note(asked, restart)

    def _note(self, asked, restart: int) -> None:
        for owner, level, inside in asked:
            place = owner, restart
            self.forwards[place] = self.forwards.get(place, 0) + 1
            if inside and level == SPOILT:
                self.spoilt.add(owner)
            seen = level if inside and level < SPOILT else math.inf
            self.lowest[place] = min(self.lowest.get(place, math.inf), seen)


@settings(max_examples=40)
@given(calls, st.sampled_from(["first", "never"]))
def test_margins_passes_and_verdicts_are_those_of_all_points_asked_about_in_the_ball(calls, stop):
    account = Account(calls)
    x = torch.tensor([at(NATURAL, inside=True)]).repeat(EXAMPLES, 1)
    y = torch.zeros(EXAMPLES, dtype=torch.int64)
    result = attack(Classifier(Wrapped(levels)), x, y, BALL, method=account, stop=stop)
    own = [i for i, name in enumerate(result.ledger.attack) if name == "account"]
    places = [(int(result.ledger.index[i]), int(result.ledger.restart[i])) for i in own]
    assert dict(zip(places, result.ledger.margin[own].tolist(), strict=True)) == account.lowest
    assert dict(zip(places, result.ledger.forwards[own].tolist(), strict=True)) == account.forwards
    for example in range(EXAMPLES):
        lowest = min([NATURAL, *(m for (owner, _), m in account.lowest.items() if owner == example)])
        assert bool(result.broken[example]) == (lowest <= 0)
        assert (example in result.invalid) == (example in account.spoilt and lowest > 0)
        if example not in result.invalid:
            assert result.margin[example] == lowest


class Uneven(Attack):
    """An attack that asks about the first example alone until that cannot pay, then about all."""

    name = "uneven"

    def __init__(self, way: str) -> None:
        self.way, self.answers = way, []

    def __call__(self, query, ball, *, keys) -> None:
        for _ in range(5):
            self.answers.append((self.ask(query, query.rows_of(torch.tensor([0]))), query.going_on))
            if query.going_on is not None:
                break
        self.ask(query, torch.arange(len(query.x)))

    def ask(self, query, rows):
        if self.way == "evaluate":
            return query.evaluate(query.x[rows], rows)
        loss = lambda logits, points, rows: cross_entropy(logits, query.y[rows])  # noqa: E731
        logits, (value,), (gradient,) = query.gradient(query.x[rows], [loss], rows)
        return logits, value, gradient


@pytest.mark.parametrize(("way", "cost"), [("evaluate", 1), ("gradient", 2)])
def test_an_example_that_cannot_pay_ends_nobody_elses_search(way, cost):
    module, x = mlp(), examples(4)[0]
    y, method = module(x).argmax(1), Uneven(way)
    result = attack(Classifier(module), x, y, Ball("linf", 1e-4), method=method, budget=3 * cost)
    spent = result.ledger.forwards + result.ledger.backwards
    assert spent[result.ledger.searching()].tolist() == [3 * cost, cost, cost, cost]
    assert len(method.answers) == 4
    (logits, value, *gradients), going_on = method.answers[-1]
    assert logits.isnan().all()
    assert value.isnan().all()
    assert all(not gradient.any() for gradient in gradients)
    assert going_on.tolist() == [1, 2, 3]


@pytest.mark.parametrize("way", ["evaluate", "gradient"])
def test_a_call_about_no_row_is_answered_and_costs_nothing(way):
    class Nothing(Attack):
        name = "nothing"

        def __call__(self, query, ball, *, keys):
            answer = Uneven(way).ask(query, torch.zeros(0, dtype=torch.int64))
            assert [len(part) for part in answer] == [0] * len(answer)
            assert query.going_on is None

    module, x = mlp(), examples(4)[0]
    result = attack(Classifier(module), x, module(x).argmax(1), Ball("linf", 1e-4), method=Nothing())
    assert not result.ledger.searching().any()
