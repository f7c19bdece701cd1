"""``epsball smooth``."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from epsball.cli.common import (
    Common,
    Data,
    Folder,
    Model,
    Output,
    finished_or_partial,
    load_data,
    load_model,
    load_model_for,
    output,
)
from epsball.cli.radii import Radii, parse_radii
from epsball.cli.sharing import Sharing, on_its_device
from epsball.files import write_atomically, write_json
from epsball.names import NoiseName, NormName, ShareBound

_COMMON, _SHARING = Common(), Sharing()
_Sigma = Annotated[float, Parameter(help="Standard deviation of the noise, in pixels of [0, 1].")]


def smooth(
    model: Model,
    data: Data,
    /,
    *,
    sigma: _Sigma,
    radii: Radii,
    norm: NormName = "l2",
    noise: NoiseName = "gaussian",
    bound: ShareBound = "sequence",
    samples: int = 100_000,
    selection: int = 100,
    alpha: float = 0.001,
    simultaneous: Annotated[bool, Parameter(negative=())] = False,
    denoiser: str | None = None,
    batch_size: int | None = None,
    out: Folder = None,
    sharing: Sharing = _SHARING,
    common: Common = _COMMON,
) -> Output:
    """Certify the smoothed classifier: the class that the model gives most often under noise.

    The certificates are about another classifier than the model, and probabilistic. With --out, they go there as
    smooth.json, smooth.arrow and smooth.png, and the same command goes on where it was interrupted.

    Parameters
    ----------
    norm
        The norm that measures the radii: l2 (gaussian noise), l1 (laplace or uniform), linf (gaussian: l2 over the
        square root of the number of entries).
    noise
        gaussian, laplace or uniform.
    bound
        sequence: stop as soon as every radius is decided; fixed: draw all samples of every example.
    samples
        Samples per example, at most.
    selection
        Samples, of their own, by which the top class is chosen.
    alpha
        Probability, at most, that the certificate of an example is wrong.
    simultaneous
        Divide alpha among the examples, so that all certificates hold together.
    denoiser
        A module that the noisy input passes first, as in FILE.py:function.
    batch_size
        Samples that pass through the model together; by default as many as fit.
    """
    from epsball.figures import png
    from epsball.results import arrow_bytes
    from epsball.smoothing import smooth as run

    wanted, source = parse_radii(radii), _Source(model, data, denoiser, common)
    classifier, dataset, cleaner = source(1)
    votes = None if out is None else out / "votes"
    how = "the same command goes on from there" if out else "with --out, the same command would go on from there"
    result, code = finished_or_partial(
        lambda: run(
            classifier,
            dataset,
            sigma=sigma,
            radii=wanted,
            norm=norm,
            noise=noise,
            bound=bound,
            samples=samples,
            selection=selection,
            alpha=alpha,
            simultaneous=simultaneous,
            denoiser=cleaner,
            seed=common.seed,
            batch_size=batch_size,
            folder=votes,
            workers=sharing.with_source(source),
        ),
        how,
    )
    notes = {}
    if out is not None:
        write_json(out / "smooth.json", result.to_json())
        write_atomically(out / "smooth.arrow", arrow_bytes(result.to_arrow()))
        write_atomically(out / "smooth.png", png(result.plot()))
        notes["written"] = str(out)
    return output(result, common, heading=f"randomised smoothing of {model} on {data}", notes=notes, code=code)


@dataclass(frozen=True)
class _Source:
    """What a smoothing is about, by its texts: a worker loads it anew."""

    model: str
    data: str
    denoiser: str | None
    common: Common

    def __call__(self, number: int) -> tuple[Any, Any, Any]:
        """Return base classifier, data and denoiser; of several GPUs, workers take one each in turn."""
        common = on_its_device(self.common, number)
        dataset = load_data(self.data, self.model, common)
        classifier = load_model(self.model, dataset, common).classifier()
        if self.denoiser is None:
            return classifier, dataset, None
        cleaner = load_model_for(self.denoiser, dataset.shape, None, common).classifier()
        return classifier, dataset, cleaner.network
