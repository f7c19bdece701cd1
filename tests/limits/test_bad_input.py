from fractions import Fraction

import numpy as np
import pytest

from epsball.errors import InputError
from epsball.limits import distribution_bound, optimal_risk, prior_weights, separation
from epsball.progress import listening

X = np.arange(12, dtype=np.uint8).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.zeros(6, int)}, "1 class"),
        ({"y": Y[:5]}, "one label per row"),
        ({"y": Y.astype(float)}, "labels are integers"),
        ({"x": np.where(X == 3, np.nan, X).astype(np.float32)}, "not finite in row 1"),
        ({"x": X.astype(np.float64) * 1e300}, "values up to"),
        ({"x": X.astype(np.int64)}, "uint8 pixels or floats"),
        ({"x": np.empty((6, 0), np.uint8)}, "no coordinates"),
        ({"weights": np.full(6, 0.1)}, "sum to 0.6"),
        ({"weights": [Fraction(1, 3)] * 6}, "sum to 2"),
        ({"weights": [1.5, -0.5, 0, 0, 0, 0]}, "not negative"),
        ({"weights": [1.0]}, "1 weights for 6"),
        ({"weights": [float("nan")] * 6}, "finite"),
        ({"radii": [-1]}, "negative"),
        ({"radii": []}, "no radii"),
        ({"radii": [2, 1]}, "increase strictly"),
        ({"radii": [1, 1]}, "increase strictly"),
        ({"radii": 3}, "radii are 3; give a sequence"),
        ({"radii": "0:1:0.25"}, "give a sequence"),
        ({"radii": range(40_000)}, "more than 32766 radii"),
        ({"radii": [1, 10**31]}, "radius is larger than"),
        ({"radii": ["wide"]}, "wide"),
        ({"weights": ["1/0"] * 6}, "texts such as '1/3'"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"norm": None}, "norm is None"),
        ({"norm": "L2"}, "Did you mean 'l2'"),
        ({"max_memory": 1000}, "raise max_memory"),
    ],
)
def test_each_names_what_it_saw(change, words):
    arguments = {"x": X, "y": Y, "radii": [1], **change}
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(InputError, match=words):
        optimal_risk(x, y, **arguments)


def test_separation_of_marks():
    with pytest.raises(InputError, match=r"shape \(5,\) for 6 examples"):
        separation(X, Y, queries=np.zeros(5, bool))
    with pytest.raises(InputError, match="exactly one marked example"):
        separation(X, Y, queries=np.ones(6, bool))


def test_risks_and_samples_of_the_bound():
    with pytest.raises(InputError, match="risk is 1.5"):
        distribution_bound(1.5, np.full(4, 0.25), 0.95)
    with pytest.raises(InputError, match="sum 0.5"):
        distribution_bound(0.5, np.full(4, 0.125), 0.95)
    with pytest.raises(InputError, match="3 examples; quarters"):
        optimal_risk(X[:3], Y[:3], radii=[1]).sample_curve()


def test_priors_for_every_label():
    with pytest.raises(InputError, match=r"labels \[1\]"):
        prior_weights(Y, {0: 1})


def test_radius_off_the_curve():
    with pytest.raises(InputError, match="not on the curve"):
        optimal_risk(X, Y, radii=[1, 2]).at("3/2")


def test_memory_is_stated_before_the_work():
    said = []
    with listening(lambda what, done, total: said.append((what, done, total))):
        optimal_risk(X, Y, radii=[1])
    assert "MiB beside the data" in said[0][0]
    assert said[0][1] == 0
    assert any(what == "neighbour graph" for what, _, _ in said)


def test_data_larger_than_memory_are_read_in_blocks(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (700, 6)).astype(np.uint8)
    mapped = np.memmap(tmp_path / "x", dtype=np.uint8, mode="w+", shape=x.shape)
    mapped[:] = x
    y = rng.integers(0, 3, 700)
    for norm in ("l2", "linf", "l1"):
        ours, theirs = (optimal_risk(form, y, norm=norm, radii=["20/255"]) for form in (x, mapped))
        assert ours.curve == theirs.curve
