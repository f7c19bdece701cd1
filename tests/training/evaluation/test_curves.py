from dataclasses import replace

from epsball.risk import Quantities
from epsball.statistics import Interval
from epsball.training import Epoch
from epsball.training.evaluation.curves import QUANTITIES, draw

QUANTITY = Quantities(gap=Interval(-0.1, 0.2), excess=Interval(0.0, 0.3), optimal=Interval(0.0, 0.3))


def history(n: int = 3, **fields) -> list[Epoch]:
    plain = Epoch(
        epoch=1,
        loss=1.0,
        parts={},
        lr=0.1,
        natural=0.9,
        under_attack=0.5,
        seen_natural=0.95,
        seen_under_attack=0.6,
        certified=0.4,
        certificates="interval and crown-ibp certify 4 of 10, 5 of 10 (held out, trained on)",
        quantities=QUANTITY,
        seconds=1.0,
    )
    return [replace(plain, epoch=i + 1, **fields) for i in range(n)]


def test_every_line_of_the_quantities_has_a_label_and_no_legend_covers_the_axes():
    figure = draw(history())
    figure.canvas.draw()
    accuracies, quantities = figure.axes[1:]
    assert [text.get_text() for text in quantities.get_legend().texts] == [label for label, _ in QUANTITIES.values()]
    for axis in (accuracies, quantities):
        legend, inside = axis.get_legend().get_window_extent(), axis.get_window_extent()
        assert legend.y0 >= inside.y1


def test_without_certificates_no_trivial_band_is_drawn_but_the_reason_is_given():
    figure = draw(history(certified=None, certificates="no certificates: too expensive"))
    axis = figure.axes[2]
    assert not axis.lines
    assert not axis.collections
    text = " ".join(axis.texts[0].get_text().split())
    assert "no certificates: too expensive" in text
    assert "optimal risk: at least 0.0000" in text


def test_only_the_epochs_with_certificates_have_bands():
    epochs = history()
    epochs[0] = replace(epochs[0], certified=0.0)
    axis = draw(epochs).axes[2]
    assert list(axis.lines[0].get_xdata()) == [2, 3]


def test_without_a_ball_there_are_two_panels():
    fields = {"under_attack": None, "seen_under_attack": None, "certified": None, "quantities": None}
    assert len(draw(history(**fields)).axes) == 2
