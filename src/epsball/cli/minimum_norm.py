"""``epsball figure minimum-norm``."""

from functools import partial
from pathlib import Path

import torch

from epsball import attacks, results
from epsball import data as datasets
from epsball.attacks.accuracy_curve import AccuracyCurve, plot_curves
from epsball.attacks.registry import resolve
from epsball.ball import Ball
from epsball.cli.common import (
    Common,
    Data,
    Model,
    Output,
    figure_format,
    finished_or_partial,
    load_subject,
    write_figure,
)
from epsball.errors import InputError

_COMMON = Common()


def minimum_norm(
    model: Model,
    data: Data,
    /,
    *,
    ball: str,
    out: Path,
    method: tuple[str, ...] = (),
    common: Common = _COMMON,
) -> Output:
    """Accuracy against radius for one network, a curve for each minimum-norm attack, in one run each.

    Parameters
    ----------
    ball
        NORM:RADIUS; the norm and the box count, and for restarts of FAB the radius.
    out
        The file, .png, .svg or .pdf.
    method
        Minimum-norm attacks NAME[,option=value]...; may be given several times (default: all that
        define the norm).
    """
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
    distances["the nearest of all"] = torch.stack(list(distances.values())).amin(0)
    curves = {name: AccuracyCurve.of(distance) for name, distance in distances.items()}
    figure = plot_curves(curves, f"{subject.ball.norm} radius")
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


def _defined_for(ball: Ball) -> list[str]:
    """Return the registered minimum-norm attacks that define the ball's norm."""
    return [name for name in attacks.ATTACKS if resolve(name).domain == "box" and ball.norm in resolve(name).norms]


def _check_minimum_norm(name: str) -> None:
    """Raise InputError if the attack looks only into the ball."""
    if resolve(name).domain != "box":
        raise InputError(f"'{name}' searches one ball only; a curve needs a minimum-norm attack, such as ddn or fmn.")
