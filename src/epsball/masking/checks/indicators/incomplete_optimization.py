"""Indicator 4: incomplete optimization."""

import torch

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.path import path
from epsball.masking.trial import Trial

LAST, MOST = 10, 0.05
"""Last steps that are looked at, and the share of the loss's range by which it may still improve there."""


def ask(trial: Trial) -> Answer:
    """Count failed ways whose best loss, scaled to [0, 1], still moves in the last steps."""
    found = trial.measured(path)
    if found is None:
        return inconclusive("too few examples could be followed")
    failed = found.loss[found.last_fails]
    best = failed.cummax(1).values
    span = (failed.amax(1) - failed.amin(1))[:, None]
    scaled = torch.where(span > 0, (best - failed.amin(1, keepdim=True)) / span.clamp_min(1e-300), 0.0)
    moving = scaled[:, -1] - scaled[:, -LAST:].amin(1) > MOST
    share = float(moving.double().sum()) / len(found.rows)
    return Answer(
        outcome="fails" if share > 0 else "passes",
        measured=f"the loss of {share:.2f} of {len(found.rows)} failed ways still rises in the last {LAST} steps",
        values={"share": share},
    )


CHECK = Check(
    name="indicator: incomplete optimization",
    question="Has the loss of failed attacks converged?",
    threshold=f"any that moves by {MOST} of its range, as published; decides nothing by itself",
    source="Pintor et al. 2022, indicator 4",
    advice="give the attack more steps, or other step sizes",
    ask=ask,
)
