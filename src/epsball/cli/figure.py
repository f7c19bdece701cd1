"""``epsball figure``: figures of the chapter."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from epsball.cli.common import FigureFile, Output, write_figure
from epsball.cli.minimum_norm import minimum_norm
from epsball.cli.progress import Loudness
from epsball.errors import InputError
from epsball.names import NormName

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from epsball.ball import Ball

_LOUDNESS = Loudness()

figure = App(name="figure", help="Draw a figure of the chapter into a PNG or SVG file.", help_format="plaintext")
figure.command(minimum_norm)


@figure.command
def overlap(*, out: FigureFile, norm: NormName = "l2", loudness: Loudness = _LOUDNESS) -> Output:
    """Figure 17.3: disjoint and meeting neighbourhoods.

    Parameters
    ----------
    norm
        The norm of the neighbourhoods.
    """
    from epsball.limits.figures import overlap_figure

    return _written(overlap_figure(norm), out, "")


@figure.command
def gaussian(
    *,
    out: FigureFile,
    radius: float = 0.5,
    means: tuple[float, float] = (-1.0, 1.0),
    variances: tuple[float, float] = (1.0, 1.0),
    priors: tuple[float, float] = (0.5, 0.5),
    loudness: Loudness = _LOUDNESS,
) -> Output:
    """Section 17.6.3: two Gaussians, the risk of every threshold, and the optimal risk over radii.

    Parameters
    ----------
    radius
        Radius of the adversary in the first two panels.
    means
        Means of the two classes, two numbers.
    variances
        Variances of the two classes, two numbers.
    priors
        Probabilities of the two classes, two numbers.
    """
    import numpy as np

    from epsball.limits.gaussian import UnivariateGaussian, gaussian_curve

    model = UnivariateGaussian(means=means, variances=variances, priors=priors)
    reach = max(1.5 * abs(means[1] - means[0]) / 2, 1.2 * radius)
    curve = gaussian_curve(model, np.linspace(0.0, reach, 61).tolist())
    return _written(curve.plot(radius), out, str(gaussian_curve(model, [0.0, radius])))


@figure.command
def risk(*runs: Path, out: FigureFile, loudness: Loudness = _LOUDNESS) -> Output:
    """Figure 17.4: the risk of a classifier and what the data allow, over radii, and the cross-entropy likewise.

    Parameters
    ----------
    runs
        Folders of audits of one classifier on one data set, at different radii of one norm.
    """
    import numpy as np

    from epsball.limits.figures import risk_figure

    audits = sorted((_read(run) for run in runs), key=lambda audit: audit[0].radius)
    if len(audits) < 2:
        raise InputError(f"{len(audits)} runs were given; a curve needs audits at two radii or more.")
    norms = {ball.norm for ball, _, _ in audits}
    if len(norms) > 1:
        raise InputError(f"the runs are in the norms {', '.join(sorted(norms))}; give runs of one norm.")
    if len({(subject["network"], subject["data"]) for _, _, subject in audits}) > 1:
        raise InputError("the runs are of different classifiers or data; give audits of one.")
    radii, chains = [float(ball.radius) for ball, _, _ in audits], [chain for _, chain, _ in audits]
    if radii[0] > 0:
        # The limit without an adversary stands in every run; of the classifier, natural accuracy does.
        first = chains[0]["limit"]
        still = {"value": first["risk"]["value"] - first["excess"]}
        radii, chains = [0.0, *radii], [{"places": {}, "limit": {"risk": still}}, *chains]
    places = {"under_attack": "accuracy under attack", "certified": "certified accuracy"}
    measured = {name: _risks(chains, place) for name, place in places.items()}
    drawn = risk_figure(
        np.array(radii),
        np.array([chain["limit"]["risk"]["value"] for chain in chains]),
        natural=1.0 - chains[-1]["places"]["natural accuracy"]["value"],
        under_attack=measured["under_attack"][0],
        certified=measured["certified"][0],
        cross_entropy=_cross_entropies(chains),
        intervals={name: (low, high) for name, (_, low, high) in measured.items()},
        unit=f"({norms.pop()}, pixels of [0, 1])",
    )
    return _written(drawn, out, "")


def _read(run: Path) -> "tuple[Ball, dict[str, Any], dict[str, Any]]":
    from epsball.ball import Ball

    try:
        subject = json.loads((run / "run.json").read_text())["identity"]
        ball = Ball.parse(subject["ball"])
        chain = json.loads((run / "chain.json").read_text())
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run} has no finished audit ({error}); make one with epsball audit --out.") from error
    if chain.get("limit") is None:
        raise InputError(f"the audit in {run} has no optimal risk; audit at least two classes, without --no-limit.")
    return ball, chain, subject


def _risks(chains: Sequence[dict[str, Any]], place: str) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Return 1 - the accuracy of a place with the ends of its interval, NaN where it was not measured."""
    import numpy as np

    unknown = {"value": np.nan, "interval": {"low": np.nan, "high": np.nan}}
    found = [chain["places"].get(place, unknown) for chain in chains]
    value, high, low = (
        1.0 - np.array([one["value"] if end is None else one["interval"][end] for one in found], dtype=np.float64)
        for end in (None, "low", "high")
    )
    return value, low, high


def _cross_entropies(chains: Sequence[dict[str, Any]]) -> "tuple[np.ndarray, np.ndarray] | None":
    """Return the least possible and the classifier's cross-entropy, NaN where not finite; None if never measured."""
    import numpy as np

    pairs = [chain.get("cross-entropy") or {} for chain in chains]
    if not any(pairs):
        return None
    optimal, shown = (np.array([p.get(k) for p in pairs], dtype=np.float64) for k in ("optimal", "classifier"))
    return optimal, shown


def _written(drawn: "Figure", out: Path, text: str) -> Output:
    write_figure(drawn, out)
    return Output("\n".join(part for part in (text, f"written: {out}") if part))
