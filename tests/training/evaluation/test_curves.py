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


def test_every_interval_of_the_quantities_has_a_label_and_no_legend_covers_the_axes():
    figure = draw(history())
    figure.canvas.draw()
    loss, accuracies, quantities = figure.axes
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch"] * 3
    assert loss.get_ylabel() == "training loss (mean per example)"
    assert [text.get_text() for text in quantities.get_legend().texts] == [label for label, *_ in QUANTITIES.values()]
    for axis in (accuracies, quantities):
        legend, inside = axis.get_legend().get_window_extent(), axis.get_window_extent()
        assert legend.y0 >= inside.y1


def test_held_out_and_trained_on_differ_without_colour():
    lines = draw(history()).axes[1].lines
    assert [line.get_label() for line in lines] == [
        "natural, held out",
        "natural, trained on",
        "under PGD-10, held out",
        "under PGD-10, trained on",
        "certified",
    ]
    looks = {(line.get_linestyle(), line.get_marker(), line.get_markerfacecolor()) for line in lines}
    assert len(looks) == len(lines)


def test_without_certificates_there_is_no_empty_panel_but_the_reason_below():
    figure = draw(history(certified=None, certificates="no certificates: too expensive"))
    assert len(figure.axes) == 2
    text = " ".join(figure.get_supxlabel().split())
    assert "no certificates: too expensive" in text
    assert "Optimal risk: at least 0.0000" in text


def test_only_the_epochs_with_certificates_have_intervals():
    epochs = history()
    epochs[0] = replace(epochs[0], certified=0.0)
    axis = draw(epochs).axes[2]
    gap = axis.collections[0].get_segments()
    assert [round(float(segment[0][0])) for segment in gap] == [2, 3]
    assert [segment[:, 1].tolist() for segment in gap] == [[-0.1, 0.2]] * 2


def test_the_certified_accuracy_of_an_epoch_that_proved_nothing_is_drawn():
    lines = draw(history(certified=0.0)).axes[1].lines
    assert lines[-1].get_label() == "certified"
    assert lines[-1].get_ydata().tolist() == [0.0, 0.0, 0.0]


def test_without_a_ball_there_are_two_panels():
    fields = {"under_attack": None, "seen_under_attack": None, "certified": None, "quantities": None}
    assert len(draw(history(**fields)).axes) == 2
