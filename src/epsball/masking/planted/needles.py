"""Needles: refitted last layers that separate samples inside a ball from one witness on its boundary."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.evaluator import Evaluator
from epsball.ball import Neighbourhood
from epsball.masking.trial import Trial
from epsball.randomness import Keys

SAMPLES = 512
"""Random points of the ball: all but the few of highest score must miss the needle, and those must hit it."""

MOST_HITS = 4
"""Of the random points, at most, that find a needle."""

WITNESSES = 32
"""Boundary points among which a needle's witness is chosen."""

COST = SAMPLES + WITNESSES + 1
"""Forwards per example."""

RIDGE = 1e-3
"""Added to the covariance of the logits, as a share of its mean variance."""

DEPTH = 1.05
"""A witness scores at least so many times the threshold, both counted from the samples' mean."""

BLOCK = 1024
"""Points passed through the model together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Needles:
    """Binary last layers, several per example: label 0 inside the ball, 1 around a witness.

    The margin of label 0 is scale (threshold - w . (z - mean)), z the logits; at the example it is the network's
    own margin, so that what hides in saturated logits stays hidden.

    Parameters
    ----------
    rows
        The example of each set of needles.
    mean
        Mean logits of the samples (k, columns).
    weight
        w (k, needles, columns).
    threshold, scale
        (k, needles); NaN where no needle could be planted.
    """

    rows: Int64[Tensor, " k"]
    mean: Float[Tensor, "k columns"]
    weight: Float[Tensor, "k needles columns"]
    threshold: Float[Tensor, "k needles"]
    scale: Float[Tensor, "k needles"]


def plant(trial: Trial, rows: Int64[Tensor, " k"], count: int) -> Needles:
    """Return up to `count` needles in the ball of each of some examples.

    The last layer is refitted by linear discriminant analysis on logits: w = (S + ridge)^-1 (z' - mean), with mean
    and covariance S those of the samples and z' the witness's. A combination of logits is a refitted last layer
    wherever the network ends in one, and can be had of any file. The threshold lies below the highest-scoring
    samples: so a needle is one that almost all random points miss, yet not one that none can find.
    """
    evaluator = Evaluator(trial.classifier, "float32")
    x = trial.classifier.to_model(trial.x[rows])
    fitted = [
        _fit(evaluator, trial.ball.at(x[at : at + 1]), trial, rows[at : at + 1], count) for at in range(len(rows))
    ]
    stacked = [torch.stack(parts) for parts in zip(*fitted, strict=True)]
    return Needles(rows=rows, mean=stacked[0], weight=stacked[1], threshold=stacked[2], scale=stacked[3])


def _fit(
    evaluator: Evaluator, around: Neighbourhood, trial: Trial, row: Int64[Tensor, " 1"], count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean, weights, thresholds and scales of one example's needles."""
    inside, witnesses = _points(around, trial, row)
    points = torch.cat([around.x, inside, witnesses])
    dtype = around.x.dtype
    z = torch.cat([evaluator.logits(block) for block in points.split(BLOCK)]).double()
    own, samples, far = z[0], z[1 : 1 + len(inside)], z[1 + len(inside) :]
    mean = samples.mean(0)
    spread = (samples - mean).T @ (samples - mean) / len(samples)
    ridge = RIDGE * spread.diagonal().mean() + torch.finfo(torch.float64).tiny
    inverse = torch.linalg.pinv(spread + ridge * torch.eye(len(mean), dtype=z.dtype, device=z.device), hermitian=True)
    weight = (far - mean) @ inverse
    # Unit spread, so that float32 holds the layer whatever the scale of the logits.
    weight = weight / ((samples - mean) @ weight.T).std(0).clamp_min(torch.finfo(z.dtype).tiny)[:, None]
    scores = torch.cat([samples, own[None]]).sub(mean) @ weight.T
    threshold = _thresholds(scores[:-1])
    reached = ((far - mean) * weight).sum(1)
    natural = float(trial.evaluation.natural[row])
    scale = natural / (threshold - scores[-1])
    planted = (reached >= DEPTH * threshold) & (scale > 0) & scale.isfinite() & (threshold > 0)
    order = torch.where(planted, 0, 1).argsort(stable=True)[:count]
    empty = torch.where(planted, 0.0, torch.nan)
    found = [mean, weight[order], (threshold + empty)[order], (scale + empty)[order]]
    mean, weight, threshold, scale = (part.to(dtype) for part in found)
    return mean, weight, threshold, scale


def _points(around: Neighbourhood, trial: Trial, row: Int64[Tensor, " 1"]) -> tuple[Tensor, Tensor]:
    """Return random points of the ball, and points of its boundary in random directions."""
    key = trial.keys(row, "needles")
    same = torch.zeros(SAMPLES, dtype=torch.int64, device=around.x.device)
    inside = around.take(same).sample(_many(key.derive("inside"), SAMPLES))
    near = around.take(same[:WITNESSES])
    ways = _many(key.derive("witness"), WITNESSES).normal(near.x.shape[1:], near.x.dtype)
    return inside, near.project(near.x + near.radius * near.ascent(ways, near.x))


def _many(key: Keys, count: int) -> Keys:
    """Return as many keys, all drawn from one."""
    high, low = key.bits(2 * count).view(count, 2).unbind(1)
    return Keys((high << 32) ^ low)


def _thresholds(scores: Float64[Tensor, "n needles"]) -> Float64[Tensor, " needles"]:
    """Return, for each needle, the middle between its highest score and the next lower one; NaN where many share it."""
    ordered = scores.sort(dim=0, descending=True).values
    below = ordered < ordered[0]
    hits = below.int().argmax(0)
    following = ordered.gather(0, hits[None])[0]
    rare = below.any(0) & (hits <= MOST_HITS)
    return torch.where(rare, (ordered[0] + following) / 2, torch.nan)
