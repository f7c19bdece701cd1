"""``epsball landscape``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from epsball.cli.common import (
    Common,
    Data,
    Folder,
    Model,
    Output,
    Perturbation,
    Stochastic,
    Subject,
    load_model,
    load_subject,
    output,
    shown_by,
    write_figure,
)
from epsball.files import write_atomically, write_json

if TYPE_CHECKING:
    from epsball.classifier import Classifier
    from epsball.masking.landscape import Landscape, Landscapes


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class View:
    """What to look at.

    Parameters
    ----------
    directions
        Two of gradient, witness, second-witness, random and curvature, as in gradient,random.
    method
        The attack that looks for the witness, NAME[,option=value]...
    examples
        How many of the data's examples, from the first on.
    reach
        Ends of the axes, in radii; by default 1.5, or farther where a point that is marked lies farther out.
    points
        Points per axis, an odd number.
    """

    directions: str = "gradient,witness"
    method: str = "ensemble"
    examples: int = 4
    reach: float | None = None
    points: int = 61


_VIEW, _COMMON = View(), Common()


def landscape(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    against: str | None = None,
    view: View = _VIEW,
    stochastic: Stochastic = False,
    out: Folder = None,
    common: Common = _COMMON,
) -> Output:
    """Show margin, loss and class in a plane around examples, with what the gradient predicts there.

    With --out, the figures go there as landscape.png, landscape.svg and landscape.html (one page without network),
    the numbers as landscape.json and landscape.arrow, the maps as points.arrow. In RUN/landscape, RUN the folder of an
    audit, epsball report shows them in the run's page.

    Parameters
    ----------
    against
        Another model, drawn beside the first on the same examples.
    """
    from epsball.checks import check_count

    check_count("--examples", view.examples)
    subject = load_subject(model, data, ball, common, stochastic=stochastic)
    classifiers = {model: subject.classifier}
    if against is not None:
        low, high = subject.ball.low, subject.ball.high
        other = load_model(against, subject.dataset, common).classifier(low=low, high=high, stochastic=stochastic)
        classifiers[against if against != model else f"{against} again"] = other
    result = _result({title: _look(classifier, subject, view, common) for title, classifier in classifiers.items()})
    count, total = min(view.examples, len(subject.dataset)), len(subject.dataset)
    notes = {} if count == total else {"drawn": f"{count} of {total} examples; --examples N draws more"}
    heading = f"landscape of {' and '.join(classifiers)}, {count} examples of {data}, {subject.ball}"
    if out is not None:
        _write(result, out, heading)
        notes["written"] = str(out)
        notes |= shown_by(out)
    return output(result, common, heading=heading, notes=notes)


def _look(classifier: "Classifier", subject: Subject, view: View, common: Common) -> "Landscape":
    from epsball import data as datasets
    from epsball.masking.landscape import landscape as measure
    from epsball.masking.landscape import parsed

    x, y = subject.dataset[: view.examples]
    return measure(
        classifier,
        datasets.as_pixels(x),
        y,
        subject.ball,
        directions=parsed(view.directions),
        method=view.method,
        reach=view.reach,
        points=view.points,
        seed=common.seed,
    )


def _result(found: "dict[str, Landscape]") -> "Landscape | Landscapes":
    from epsball.masking.landscape import Landscapes

    return Landscapes(by_title=found) if len(found) > 1 else next(iter(found.values()))


def _write(result: "Landscape | Landscapes", out: Path, heading: str) -> None:
    from epsball.results import arrow_bytes

    write_json(out / "landscape.json", result.to_json())
    write_atomically(out / "landscape.arrow", arrow_bytes(result.to_arrow()))
    write_atomically(out / "points.arrow", arrow_bytes(result.points()))
    figure = result.plot()
    write_figure(figure, out / "landscape.png")
    write_figure(figure, out / "landscape.svg")
    write_atomically(out / "landscape.html", result.to_html(heading).encode())
