import dataclasses
import math
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import epsball
from ball.reference import NORMS
from epsball.ball import Ball
from epsball.errors import InputError

ENDS = st.floats(-1e6, 1e6)


def test_construction_keeps_the_exact_radius():
    ball = Ball("linf", 8 / 255)
    assert ball == Ball("linf", "8/255") == Ball.parse("linf:8/255")
    assert ball.radius == Fraction(8, 255)
    assert (ball.low, ball.high) == (0.0, 1.0)
    assert epsball.Ball is Ball


def test_it_is_frozen_hashable_and_survives_pickling_and_replacing():
    ball = Ball("l2", "1/3", low=-1, high=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ball.radius = Fraction(1)
    assert pickle.loads(pickle.dumps(ball)) == ball
    assert len({ball, Ball.parse(str(ball))}) == 1
    assert dataclasses.replace(ball, radius=Fraction(1, 2)) == Ball("l2", 0.5, -1, 1)


@pytest.mark.parametrize(
    ("text", "ball"),
    [
        ("linf:8/255", Ball("linf", Fraction(8, 255))),
        ("l2:0.5", Ball("l2", Fraction(1, 2))),
        ("l1:12,low=none,high=none", Ball("l1", 12, None, None)),
        ("linf:0.1,low=-1,high=1", Ball("linf", Fraction(1, 10), -1.0, 1.0)),
        ("linf : 0.1 , high=2", Ball("linf", Fraction(1, 10), 0.0, 2.0)),
        ("linf:1.5", Ball("linf", Fraction(3, 2))),
        ("l2:0", Ball("l2", 0)),
    ],
)
def test_parse(text, ball):
    assert Ball.parse(text) == ball


@pytest.mark.parametrize("text", ["linf:8/255", "l2:0.5", "linf:0.1,low=-1,high=1", "l1:12,low=none,high=none"])
def test_str_returns_the_usual_text(text):
    assert str(Ball.parse(text)) == text


@given(
    st.sampled_from(("l2", "l1")), st.fractions(0, 99), st.none() | st.tuples(ENDS, ENDS).filter(lambda e: e[0] < e[1])
)
def test_every_ball_round_trips(norm, radius, box):
    ball = Ball(norm, radius, *(box or (None, None)))
    assert Ball.parse(str(ball)) == ball


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("linf", 8), ("radius 8 exceeds the box [0, 1]", "did you mean 8/255?")),
        (("linf", 16, -1, 1), ("radius 16", "[-1, 1]", "did you mean 32/255?")),
        (("linf", 2), ("radius 2 exceeds", "2/255")),
        (("linf", 0.1, 0.0, 0.04), ("radius 0.1 exceeds",)),
        (("linf", -0.1), ("-0.1", "negative")),
        (("linf", math.nan), ("nan",)),
        (("linf", math.inf), ("inf",)),
        (("lin", 0.1), ("'lin'", "linf, l2, l1", "Did you mean 'linf'?")),
        (("L2", 0.1), ("'L2'", "Did you mean 'l2'?")),
        (("l2", 0.1, 1, 0), ("low=1.0, high=0.0", "low < high")),
        (("l2", 0.1, 0, 0), ("low < high",)),
        (("l2", 0.1, 0, math.inf), ("finite ends", "None")),
        (("l2", 0.1, math.nan, 1), ("finite ends",)),
        (("l2", 0.1, None, 1), ("low=None", "both ends")),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_impossible_balls(arguments, words):
    with pytest.raises(InputError) as error:
        Ball(*arguments)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linf", ("'linf'", "colon", "linf:8/255")),
        ("linf:", ("''", "8/255")),
        ("linf:0.1,lo=0", ("'lo'", "Did you mean 'low'?")),
        ("linf:0.1,low=zero", ("'zero'", "number")),
        ("linf:0.1,low=none", ("both ends",)),
        ("linf:0.1,low=0,low=0", ("twice",)),
    ],
)
def test_texts_that_do_not_name_a_ball(text, words):
    with pytest.raises(InputError) as error:
        Ball.parse(text)
    assert all(word in str(error.value) for word in words)


X = torch.full((2, 3), 0.5)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("contains", (X, X[:1]), ("(2, 3)", "(1, 3)", "equal")),
        ("project", (X, X.double()), ("float32", "float64")),
        ("project", (X * math.nan, X), ("x_adv", "nan", "row 0", "finite")),
        ("project", (X + torch.tensor([[0.0], [math.inf]]), X), ("x_adv", "inf", "row 1")),
        ("project", (X, X + 1), ("[1.5, 1.5]", "[0, 1]", "mean=")),
        ("project", (X.double() * 1e200, X.double()), ("5e+199", "float64")),
        ("at", (X * math.nan,), ("x holds nan",)),
        ("at", (X - 1,), ("[-0.5, -0.5]", "[0, 1]")),
        ("at", (X.half(),), ("float16", "float32 and float64")),
        ("at", ((X * 255).to(torch.uint8),), ("uint8", "from_8bit")),
        ("at", (torch.tensor(0.5),), ("batch axis",)),
        ("overlap", (X, (X * 255).to(torch.uint8)), ("uint8",)),
        ("distance", (X, X[:, :2]), ("(2, 3)", "(2, 2)")),
    ],
)
def test_inputs_that_make_no_sense(norm, method, arguments, words):
    with pytest.raises(InputError) as error:
        getattr(Ball(norm, "0.1"), method)(*arguments)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("norm", "order", "dual"), [("linf", math.inf, 1), ("l2", 2, 2), ("l1", 1, math.inf)])
@pytest.mark.parametrize("n", [5, 12_000])
def test_distance_and_dual_norm(norm, order, dual, n):
    """Also for more rows than one piece holds."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, n, 2, 3, dtype=torch.float64, generator=generator)
    ball = Ball(norm, 1, None, None)
    torch.testing.assert_close(ball.distance(a, b), torch.linalg.vector_norm((a - b).flatten(1), order, dim=1))
    found = ball.dual_norm(a.float())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.linalg.vector_norm(a.float().double().flatten(1), dual, dim=1))
