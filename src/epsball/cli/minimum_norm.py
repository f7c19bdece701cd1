"""``epsball figure minimum-norm``."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from epsball.cli.common import (
    Common,
    Data,
    FigureFile,
    Model,
    Output,
    Perturbation,
    figure_format,
    finished_or_partial,
    load_subject,
    write_figure,
)
from epsball.errors import InputError

if TYPE_CHECKING:
    from epsball.attacks.accuracy_curve import AccuracyCurve
    from epsball.ball import Ball

_COMMON = Common()


def minimum_norm(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    out: FigureFile,
    method: tuple[str, ...] = (),
    common: Common = _COMMON,
) -> Output:
    """Accuracy against radius for one network, a curve for each minimum-norm attack, in one run each.

    Parameters
    ----------
    method
        A minimum-norm attack NAME[,option=value]..., as in ddn,steps=100; may be given several times.
        By default all that define the norm.
    """
    import torch

    from epsball import attacks, results
    from epsball import data as datasets
    from epsball.attacks.accuracy_curve import AccuracyCurve, plot_curves
    from epsball.figures import radius_label

    figure_format(out)
    subject = load_subject(model, data, ball, common, stochastic=False)
    x, y = subject.dataset[:]
    names = method or tuple(_defined_for(subject.ball))
    for name in names:
        _check_minimum_norm(name)
    distances, code = {}, 0
    for name in names:
        search = partial(attacks.attack, subject.classifier, datasets.as_pixels(x), y, subject.ball, method=name)
        result, code = finished_or_partial(
            partial(search, seed=common.seed, stop="never"), "fewer examples take less time"
        )
        distances[f"{name}, interrupted" if code else name] = result.distance.nan_to_num(nan=torch.inf)
        if code:
            break
    if len(distances) > 1:
        distances["the nearest of all"] = torch.stack(list(distances.values())).amin(0)
    curves = {name: AccuracyCurve.of(distance) for name, distance in distances.items()}
    figure = plot_curves(distinct(curves), radius_label(subject.ball.norm), nearest=len(distances) > 1)
    write_figure(figure, out)
    radius = float(subject.ball.radius)
    table = results.text_table(
        ("attack", "median distance", f"accuracy at {radius:g}"),
        [(name, curve.median, curve.at(radius)) for name, curve in curves.items()],
    )
    lines = [f"{model}, {len(y)} examples of {data}", "", table, f"written: {out}"]
    if code:
        lines.append("interrupted: the last attack did not end, and those that follow are missing")
    return Output("\n".join(lines), code)


def distinct(curves: Mapping[str, "AccuracyCurve"]) -> "dict[str, AccuracyCurve]":
    """Return each curve once, under all names that it has."""
    import torch

    found: dict[str, AccuracyCurve] = {}
    for name, curve in curves.items():
        same = [other for other, drawn in found.items() if torch.equal(drawn.distance, curve.distance)]
        for other in same:
            del found[other]
        found[" = ".join([*same, name])] = curve
    return found


def _defined_for(ball: "Ball") -> list[str]:
    """Return the registered minimum-norm attacks that define the ball's norm."""
    from epsball import attacks
    from epsball.attacks.registry import resolve

    return [name for name in attacks.ATTACKS if resolve(name).domain == "box" and ball.norm in resolve(name).norms]


def _check_minimum_norm(name: str) -> None:
    """Raise InputError if the attack looks only into the ball."""
    from epsball.attacks.registry import resolve

    if resolve(name).domain != "box":
        raise InputError(f"'{name}' searches one ball only; a curve needs a minimum-norm attack, such as ddn or fmn.")
