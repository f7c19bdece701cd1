"""`smooth`: certificates of the smoothed classifier."""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from epsball import data as datasets
from epsball import progress
from epsball._version import __version__
from epsball.checks import check_count, check_share
from epsball.classifier import Classifier
from epsball.classifier.guards import PROBED
from epsball.data import Dataset
from epsball.errors import InputError, lookup
from epsball.interruption import carrying
from epsball.names import NoiseName, NormName, ShareBound
from epsball.radius import format_radius, parse_radius
from epsball.randomness import Keys, check_seed
from epsball.smoothing.files import SmoothingFolder
from epsball.smoothing.noise import NOISES, Noise, check_norm
from epsball.smoothing.plan import Plan
from epsball.smoothing.result import Smoothed
from epsball.smoothing.rows import Rows
from epsball.smoothing.share import BOUNDS
from epsball.smoothing.sharing import shared_groups
from epsball.smoothing.voting import PAGE, Ballot
from epsball.workers import Workers, as_workers

GROUP = 16
"""Examples sampled together; what an interruption costs at most."""

_FLOATS = 1 << 22
"""Floats of noise drawn together where no batch size is given."""

_LEAST_BATCH, _MOST_BATCH = PAGE, 1024
_MOST_SAMPLES = 1 << 31


def smooth(
    classifier: Classifier,
    data: object,
    *,
    sigma: float,
    radii: Sequence[str | int | float | Fraction],
    norm: NormName = "l2",
    noise: NoiseName = "gaussian",
    bound: ShareBound = "sequence",
    samples: int = 100_000,
    selection: int = 100,
    alpha: float = 0.001,
    simultaneous: bool = False,
    denoiser: nn.Module | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    folder: str | Path | None = None,
    workers: int | Workers | None = None,
) -> Smoothed:
    """Certify the smoothed classifier: the class that the base classifier gives most often under noise.

    The certificates are about *another* classifier than `classifier`: about g(x) = argmax_c P(f(x + noise) = c), f
    being `classifier`. They are probabilistic: each holds with probability at least 1 - alpha over the noise drawn.

    Parameters
    ----------
    classifier
        The base classifier f. It sees x + noise, which is not clipped to the box.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    sigma
        Standard deviation of the noise on every entry, in pixels.
    radii
        The radii asked about, exact as in `epsball.Ball`.
    norm, noise
        ``"gaussian"`` noise certifies l2, and linf by l2 over the square root of the number of entries; ``"laplace"``
        and ``"uniform"`` certify l1.
    bound
        ``"sequence"``: a confidence sequence, which stops where every radius is certified, or is given up since the
        samples left would certify it with a chance below one in a hundred. ``"fixed"``: as published by Cohen et al.,
        all samples of every example, with the exact binomial bound.
    samples
        Samples per example: at most, or of every example with ``bound="fixed"``.
    selection
        Samples, of their own, by which the top class is chosen.
    alpha
        Probability, at most, that the certificate of an example is wrong.
    simultaneous
        Whether alpha is for all examples together: each gets alpha over their number.
    denoiser
        A module that x + noise passes before `classifier`.
    seed
        Seed of the noise. That of an example is a function of seed, pixels, label and the sample's number.
    batch_size
        Samples that pass through the model together.
    folder
        Where groups of examples are kept; the same call goes on from there.
    workers
        Processes that share the examples; None: this process samples them all.

    Returns
    -------
    Smoothed

    Raises
    ------
    InputError
        If an option breaks a rule, or `samples` and `alpha` can never certify one of the radii.
    ModelError
        If the model is random, or not a classifier.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Smoothed` of the examples finished before, None before the first.

    References
    ----------
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019. Voracek,
    "Treatment of statistical estimation problems in randomized smoothing for adversarial robustness", NeurIPS 2024.

    Examples
    --------
    A linear classifier, whose boundary is .8 / sqrt(2) away:

    >>> import epsball as eb
    >>> classifier, x = eb.Classifier(nn.Flatten()), torch.tensor([[0.9, 0.1]])
    >>> found = smooth(classifier, (x, torch.tensor([0])), sigma=0.5, radii=["0.25", "0.5", "0.6"])
    >>> [bool(held) for held in found.certified_at("0.25")], [bool(held) for held in found.certified_at("0.6")]
    ([True], [False])
    """
    check_count("batch_size", batch_size, unit="samples", optional=True)
    check_seed(seed)
    with carrying(lambda: None):
        dataset = datasets.load(data)
        base = _behind(denoiser, classifier)
        base.check(*dataset[:1])
    plan = _planned(
        dataset,
        sigma=sigma,
        radii=radii,
        norm=norm,
        noise=noise,
        bound=bound,
        samples=samples,
        selection=selection,
        alpha=alpha,
        simultaneous=simultaneous,
    )
    kept = None
    if folder is not None:
        options = {"sigma": sigma, "noise": noise, "norm": norm, "bound": bound, "samples": samples}
        options |= {"selection": selection, "alpha": alpha, "simultaneous": simultaneous, "seed": seed}
        about = {"model": base.fingerprint(), "data": dataset.fingerprint()}
        about |= {"radii": [*map(format_radius, plan.radii)], "epsball": __version__}
        kept = SmoothingFolder(folder, about | options, probe=_probe(base, dataset, plan.noise))
    rows = Rows.none()

    def result(*, interrupted: bool) -> Smoothed:
        return Smoothed(
            rows=rows,
            plan=plan,
            simultaneous=simultaneous,
            total=len(dataset),
            assumption=_assumption(plan.noise, base, denoiser),
            interrupted=interrupted,
        )

    sampler = partial(_sampler, plan=plan, seed=seed, batch_size=batch_size)
    sharing = as_workers(workers)
    with carrying(lambda: result(interrupted=True) if len(rows) else None):
        if sharing is None:
            for found in _groups(len(dataset), kept, sampler(classifier, dataset, denoiser)):
                rows = rows.joined(found)
        else:
            starts = [s for s in range(0, len(dataset), GROUP) if kept is None or kept.load(s) is None]
            with shared_groups(sampler, (classifier, dataset, denoiser), starts, GROUP, sharing) as sample:
                for found in _groups(len(dataset), kept, sample):
                    rows = rows.joined(found)
    return result(interrupted=False)


def check_options(classifier: Classifier, dataset: Dataset, *, seed: int, **options: Any) -> None:
    """Raise the error that `smooth` would, before anything is sampled.

    Raises
    ------
    InputError
        If an option breaks a rule, no votes could certify one of the radii, or the classifier is random.
    """
    check_seed(seed)
    _behind(None, classifier)
    _planned(dataset, **options)


def _planned(
    dataset: Dataset,
    *,
    sigma: float,
    radii: Sequence[str | int | float | Fraction],
    norm: NormName,
    noise: NoiseName,
    bound: ShareBound,
    samples: int,
    selection: int,
    alpha: float,
    simultaneous: bool,
) -> Plan:
    """Return the plan of a smoothing whose options keep their rules."""
    law = lookup(NOISES, noise, "noise:")(sigma)
    check_norm(law, norm)
    lookup(BOUNDS, bound, "bound of a share:")
    check_count("samples", samples, unit="samples per example")
    check_count("selection", selection, unit="samples per example")
    check_share("alpha", alpha)
    plan = Plan(
        noise=law,
        norm=norm,
        radii=_checked_radii(radii),
        entries=math.prod(dataset.shape),
        bound=bound,
        samples=samples,
        selection=selection,
        alpha=alpha / len(dataset) if simultaneous else alpha,
    )
    plan.check_reach()
    return plan


def _probe(base: Classifier, dataset: Dataset, noise: Noise) -> list[float | None]:
    """Return the logits of the first examples, without and with noise: they change with the code of the model."""
    x = base.pixels(dataset[:PROBED][0])
    x = x[torch.arange(PROBED) % len(x)]
    drawn = torch.from_numpy(noise.draw(np.random.Generator(np.random.Philox(0)), tuple(x.shape)))
    clean = base.to_model(x)
    logits = torch.cat([base.logits(clean), base.logits(clean + drawn.to(clean))])
    return [logit if math.isfinite(logit) else None for logit in logits.double().flatten().tolist()]


def _checked_radii(radii: Sequence[str | int | float | Fraction]) -> tuple[Fraction, ...]:
    if isinstance(radii, str | int | float | Fraction) or not len(radii):
        raise InputError(f"radii is {radii!r}; give a sequence of at least one radius, as in ['0.25', '0.5'].")
    return tuple(sorted({parse_radius(radius) for radius in radii}))


def _behind(denoiser: nn.Module | None, classifier: Classifier) -> Classifier:
    """Return the base classifier: the classifier itself, or behind a denoiser."""
    if classifier.stochastic:
        raise InputError(
            "the classifier is stochastic; smoothing is the mean over its own noise, and needs a base classifier that "
            "answers the same input alike. Make it deterministic, or leave stochastic out if it is."
        )
    if denoiser is None:
        return classifier
    vouched = dict(check.split("=") for check in classifier.overruled)
    return Classifier(
        nn.Sequential(denoiser, classifier.network),
        low=classifier.low,
        high=classifier.high,
        rejects=classifier.rejects,
        outputs="logits" if "outputs" in vouched else None,
        deterministic="deterministic" in vouched,
        batch="independent" if "batch" in vouched else None,
    )


def _assumption(noise: Noise, base: Classifier, denoiser: nn.Module | None) -> str:
    dtype = str(base.dtype).removeprefix("torch.")
    return f"ideal {noise.name.capitalize()} noise, {dtype} base classifier{' behind its denoiser' if denoiser else ''}"


def _groups(total: int, kept: SmoothingFolder | None, sample: Callable[[int], Rows]) -> Iterator[Rows]:
    """Yield what the votes say, group by group; what was kept is not sampled again."""
    for start in range(0, total, GROUP):
        found = None if kept is None else kept.load(start)
        if found is None:
            progress.report("examples smoothed", start, total)
            found = sample(start)
            if kept is not None:
                kept.store(start, found)
        yield found
    progress.report("examples smoothed", total, total)


def _sampler(
    classifier: Classifier,
    dataset: Dataset,
    denoiser: nn.Module | None,
    *,
    plan: Plan,
    seed: int,
    batch_size: int | None,
) -> Callable[[int], Rows]:
    """Return what samples the group of examples that starts at a position."""
    base = _behind(denoiser, classifier)
    size = batch_size or min(max(_FLOATS // plan.entries, _LEAST_BATCH), _MOST_BATCH)

    def sample(start: int) -> Rows:
        group = slice(start, start + GROUP)
        x, y = dataset[group]
        with base.in_use(), torch.no_grad():
            return plan.rows(_ballot(base, x, y, plan.noise, seed, size), y, dataset.positions[group])

    return sample


def _ballot(base: Classifier, x: Tensor, y: Tensor, noise: Noise, seed: int, size: int) -> Ballot:
    pixels = base.pixels(x)
    columns = base.check(pixels, y) + base.rejects
    keys = Keys.of_examples(pixels, y, seed).derive("smoothing")
    return Ballot(classifier=base, noise=noise, x=base.to_model(pixels), keys=keys, columns=columns, batch_size=size)
