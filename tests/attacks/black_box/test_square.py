import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import Square
from epsball.attacks.parts.square_moves import Grid, bumps, moves_in
from epsball.randomness import Keys
from helpers import convnet, examples


def keys(n: int) -> Keys:
    return Keys.of_positions(torch.arange(n), 0)


@pytest.mark.parametrize(
    ("shape", "grid"), [((7,), (1, 1, 7)), ((2, 3), (1, 2, 3)), ((3, 5, 4), (3, 5, 4)), ((2, 3, 4, 5), (6, 4, 5))]
)
def test_any_shape_is_a_grid(shape, grid):
    assert Grid.of(shape) == Grid(*grid)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_windows_fit_and_cover_what_the_square_would(height, width, side):
    high, wide = Grid(1, height, width).window(side)
    assert 1 <= high <= height
    assert 1 <= wide <= width
    if side <= min(height, width):
        assert (high, wide) == (side, side)


def test_every_cell_of_the_image_can_be_drawn():
    grid = Grid(1, 4, 4)
    cells = grid.cells(grid.draws(keys(400).bits(grid.words)[:, None], [(2, 2)])[0].first, (2, 2))
    assert cells.shape == (400, 1, 4)
    assert cells.unique().tolist() == list(range(16))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_proposals_lie_in_the_ball_and_change_at_most_two_windows(norm):
    ball = Ball(norm, {"linf": 0.1, "l2": 0.5, "l1": 2.0}[norm])
    x = examples(30, (2, 9, 9))[0] * 0.4 + 0.3
    moves = moves_in(ball.at(x))
    best = moves.first(keys(30))
    assert ball.contains(best, x).all()
    (draw,) = moves.draws(keys(30).bits(moves.grid.words)[:, None], [3])
    points = moves.propose(best, draw)
    assert ball.contains(points, x).all()
    if norm == "linf":
        changed = (points != best).flatten(1).sum(1)
        assert 0 < changed.max() <= 2 * 9
        assert torch.isclose((points - x).abs(), torch.tensor(0.1), atol=1e-6).all()
    else:
        length = ball.distance(points, x)
        assert (length <= float(ball.radius)).all()
        assert (length[norm == "l2" :] > 0.5 * float(ball.radius)).double().mean() > 0.9


@pytest.mark.parametrize("norm", ["l2", "l1"])
@given(st.integers(1, 40), st.integers(1, 40))
def test_the_first_tiles_fit_any_image(norm, height, width):
    ball = Ball(norm, 1)
    x = torch.full((2, 1, height, width), 0.5)
    points = moves_in(ball.at(x)).first(keys(2))
    assert ball.contains(points, x).all()
    assert (points != x).flatten(1).any(1).all()


@pytest.mark.parametrize(("side", "margins"), [(28, (1, 2)), (32, (1, 1)), (14, (0, 0)), (19, (0, 1))])
def test_the_tiles_are_those_published_and_stand_in_the_middle(side, margins):
    """Tiles of a fifth of the side; as many as fit, where released code reaches past the edge (14, 19)."""
    x = torch.full((1, 1, side, side), 0.5)
    changed = (moves_in(Ball("l2", 1).at(x)).first(keys(1)) != x)[0, 0].any(0).nonzero()[:, 0]
    assert (int(changed[0]), side - 1 - int(changed[-1])) == margins


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("window", [(3, 3), (5, 5), (1, 6), (4, 2), (1, 1)])
def test_bumps_have_length_one_and_two_signs(order, window):
    for bump in bumps(window, order):
        values = torch.tensor(bump)
        assert len(values) == window[0] * window[1]
        torch.testing.assert_close(torch.linalg.vector_norm(values, order), torch.tensor(1.0))
    assert window == (1, 1) or any(min(bump) < 0 < max(bump) for bump in bumps(window, order))


def test_the_squares_shrink_as_published():
    grid = Grid(1, 28, 28)
    sides = [Square()._side(query, grid) for query in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001)]
    assert sides == [25, 25, 18, 13, 9, 6, 4, 3, 2]
    assert Square(schedule=100)._side(99, grid) == 1


def test_the_margin_only_falls_and_costs_one_forward_a_query():
    classifier = Classifier(convnet())
    x, _ = examples(20, (1, 8, 8))
    y = classifier.logits(x).argmax(1)
    ball = Ball("linf", 0.1)
    few, many = (attack(classifier, x, y, ball, method=Square(queries=q), stop="never") for q in (10, 60))
    assert many.ledger.summary()["square"] == (20, 61 * 20, 0)
    assert (many.margin <= few.margin).all()
    polished = attack(classifier, x, y, ball, method=Square(queries=10, polish=5), stop="never")
    assert polished.ledger.summary()["square"] == (20, (11 + 6) * 20, 5 * 20)
    assert (polished.margin <= few.margin).all()


@pytest.mark.parametrize(
    "options", [{"queries": 0}, {"share": 0.0}, {"share": 1.5}, {"restarts": True}, {"polish": -1}, {"polish": 0.5}]
)
def test_bad_options_are_refused(options, as_users_run):
    with pytest.raises(InputError):
        Square(**options)
