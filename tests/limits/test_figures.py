"""The figures say what their arrays say."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from epsball.errors import InputError
from epsball.limits.curve_figure import limit_figure, risk_figure
from epsball.limits.figures import overlap_figure, pairs_figure
from epsball.limits.gaussian import UnivariateGaussian, gaussian_curve

RADII = np.linspace(0.0, 4.0, 9)
OPTIMAL = np.array([0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.45])


def labels(figure: Figure) -> list[str]:
    """Return the texts of the figure's legend, after drawing it without a warning."""
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_overlap_tells_disjoint_from_meeting(norm: str) -> None:
    figure = overlap_figure(norm, separations=(2.6, 2.0, 1.0))
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert ["risk 0" in title for title in titles] == [True, False, False]
    assert ["≤ 2ε" in title for title in titles] == [False, True, True]
    outline = figure.axes[0].patches[0].get_xy()
    order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
    assert np.linalg.norm(outline + np.array([1.3, 0.0]), ord=order, axis=1) == pytest.approx(1.0)


@pytest.mark.usefixtures("as_users_run")
def test_overlap_of_an_unknown_norm_is_refused() -> None:
    with pytest.raises(InputError, match="norm is 'l3'"):
        overlap_figure("l3")


@pytest.mark.parametrize("radius", [0.0, 1.3])
def test_gaussian_figure_draws_the_curve(radius: float) -> None:
    curve = gaussian_curve(UnivariateGaussian(means=(0.0, 2.0)), np.linspace(0.0, 2.0, 11).tolist())
    figure = curve.plot(radius)
    figure.draw_without_rendering()
    midpoint, optimal = figure.axes[2].lines[:2]
    assert np.array_equal(optimal.get_ydata(), curve.optimal)
    assert np.array_equal(midpoint.get_ydata(), curve.midpoint)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert f"robust optimum (shaded): {curve.model.optimum(radius).risk:.3f}" in texts


def test_risk_figure_shades_what_is_avoidable() -> None:
    attacked = np.array([0.02, np.nan, 0.05, np.nan, 0.2, np.nan, np.nan, np.nan, np.nan])
    certified = np.where(RADII <= 1.0, 0.3, np.nan)
    figure = risk_figure(
        RADII,
        OPTIMAL,
        lower=OPTIMAL / 2,
        natural=0.02,
        under_attack=attacked,
        certified=certified,
        unit="(l2)",
    )
    texts = labels(figure)
    assert "avoidable error, at least" in texts
    assert "undecided" in texts
    assert "missed by the attack, at least" not in texts
    measured = next(line for line in figure.axes[0].lines if line.get_label() == "1 − accuracy under attack")
    assert measured.get_xdata().tolist() == [0.0, 1.0, 2.0]
    assert figure.axes[0].get_xlabel() == "radius ε (l2)"
    assert [line.get_linestyle() for line in figure.axes[0].lines if len(line.get_xdata()) > 2] == ["None"] * 4
    widths = {bar.get_width() for bar in figure.axes[0].patches}
    assert max(widths) < 0.1, "bars stand at the radii that were measured, and nothing between them"


def test_risk_figure_shows_a_missed_witness() -> None:
    texts = labels(risk_figure(RADII, OPTIMAL, under_attack=np.full(9, 0.1)))
    assert "missed by the attack, at least" in texts


def test_risk_figure_draws_the_intervals_given() -> None:
    attacked = np.full(9, 0.1)
    figure = risk_figure(
        RADII, OPTIMAL, under_attack=attacked, intervals={"under_attack": (attacked / 2, attacked * 2)}
    )
    texts = labels(figure)
    assert "95% interval of 1 − accuracy under attack" in texts
    (whiskers,) = [part for part in figure.axes[0].collections if hasattr(part, "get_segments")]
    assert whiskers.get_segments()[3][:, 1].tolist() == [0.05, 0.2]


def test_the_limit_is_drawn_at_its_radii_and_between_them_as_far_as_it_is_known() -> None:
    low, high = np.array([0.1, 0.3]), np.array([0.1, 0.4])
    figure = limit_figure(np.array([1.0, 2.0]), low, high, low / 2, zero=0.05, norm="l2", examples=40)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_xlabel() == "radius ε (l2, pixels of [0, 1])"
    limit = next(line for line in axes.lines if line.get_label() == "L* of this sample of 40")
    assert limit.get_xydata().tolist() == [[0.0, 0.05], [1.0, 0.1], [2.0, 0.3]], "radius 0 is there without being asked"
    assert limit.get_linestyle() == "None"
    between = axes.collections[0].get_paths()[0].vertices.tolist()
    assert [0.0, 0.05] in between
    assert [0.0, 0.1] in between
    assert [2.0, 0.1] in between
    assert [2.0, 0.4] in between


def test_a_limit_of_0_says_so() -> None:
    zero = np.zeros(2)
    axes = limit_figure(np.array([0.0, 1.0]), zero, zero, zero, zero=0.0, norm="linf", examples=9).axes[0]
    assert axes.texts[0].get_text().startswith("0 at every radius")


def test_risk_figure_of_the_limit_alone() -> None:
    assert labels(risk_figure(RADII, OPTIMAL)) == ["optimal risk L* of the sample"]
    nothing = risk_figure(RADII, OPTIMAL, under_attack=np.full(9, np.nan))
    assert labels(nothing) == ["optimal risk L* of the sample"]


def test_cross_entropy_stands_beside_the_risk() -> None:
    shown = np.where(RADII == 1.0, np.nan, OPTIMAL + 0.1)
    figure = risk_figure(RADII, OPTIMAL, cross_entropy=(OPTIMAL, shown), unit="linf")
    figure.draw_without_rendering()
    risk, entropy = figure.axes
    assert risk.get_ylabel() == "risk"
    forced, measured = entropy.lines
    assert np.array_equal(forced.get_ydata(), OPTIMAL)
    assert np.array_equal(measured.get_xdata(), RADII[RADII != 1.0])
    assert entropy.get_xlabel() == "radius ε linf"
    legend = entropy.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-1] == "avoidable, at least"


@pytest.mark.parametrize("channels", [1, 3])
def test_pairs_show_the_images(channels: int) -> None:
    x, x_prime = torch.rand(2, 2, channels, 5, 4, generator=torch.Generator().manual_seed(0))
    figure = pairs_figure(x, (x + x_prime) / 2, x_prime, [("3", "in both balls", "7")] * 2)
    figure.draw_without_rendering()
    assert len(figure.axes) == 6
    shown = figure.axes[5].images[0].get_array()
    expected = x_prime[1].permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(shown).reshape(expected.shape), expected)


def test_pairs_of_other_channels_are_refused() -> None:
    x = torch.zeros(1, 2, 4, 4)
    with pytest.raises(InputError, match="2 channels"):
        pairs_figure(x, x, x, [("a", "b", "c")])
