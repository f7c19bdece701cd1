"""``epsball limit``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import (
    Common,
    Folder,
    Output,
    figure_format,
    finished_or_partial,
    output,
    say,
    write_figure,
)
from epsball.cli.radii import Radii, parse_radii
from epsball.files import write_atomically, write_json
from epsball.names import NormName
from epsball.progress import doing

_COMMON = Common()
_QUARTERS = 4


_Data = Annotated[str, Parameter(help="The data, two classes or more, as in digits,first=500.")]


def limit(
    data: _Data,
    /,
    *,
    radii: Radii,
    norm: NormName = "l2",
    confidence: float = 0.95,
    max_memory: float | None = None,
    pairs: Path | None = None,
    out: Folder = None,
    common: Common = _COMMON,
) -> Output:
    """Compute the optimal adversarial risk of a data set: what no classifier can beat.

    With --out, the curve goes there as limit.json, limit.arrow and limit.png.

    Parameters
    ----------
    norm
        The norm that measures the radii.
    confidence
        Of the lower bound for the distribution, between 0 and 1.
    max_memory
        GiB that conflicts may take; default: what this machine has. The need is estimated before the work.
    pairs
        Image file for the nearest pairs that an optimal adversary merges at the largest radius.
    """
    from epsball import data as datasets
    from epsball.figures import png
    from epsball.limits import optimal_risk
    from epsball.limits.figures import hard_pairs
    from epsball.results import arrow_bytes

    wanted = parse_radii(radii)
    with doing(f"reading {data}"):
        dataset = datasets.load(data)
    say(dataset.notes)
    x, y = dataset[:]
    if pairs is not None:
        figure_format(pairs)
    room = None if max_memory is None else int(max_memory * 2**30)
    result, code = finished_or_partial(
        lambda: optimal_risk(x, y, norm=norm, radii=wanted, confidence=confidence, max_memory=room),
        "a limit does not go on from there; smaller radii or fewer examples take less time",
    )
    warning = None
    if len(y) >= _QUARTERS and not code:
        warning = result.sample_curve(seed=common.seed).warning
    notes = {"warning": warning} if warning else {}
    if out is not None:
        write_json(out / "limit.json", {**result.to_json(), **notes})
        write_atomically(out / "limit.arrow", arrow_bytes(result.to_arrow()))
        write_atomically(out / "limit.png", png(result.plot()))
        notes["written"] = str(out)
    if pairs is not None and not code:
        write_figure(hard_pairs(datasets.as_pixels(x), y, norm, result.optimum(wanted[-1])), pairs)
        notes["pairs"] = str(pairs)
    return output(result, common, heading=f"optimal adversarial risk of {data}", notes=notes, code=code)
