"""Whether the search was stopped while the loss still rose."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.path import path
from epsball.masking.trial import Trial

LAST = 5
"""Steps at the end that are compared with the whole way."""

MOST_RISING = 0.25
"""Share of the fall of the margin that the last steps may make."""


def ask(trial: Trial) -> Answer:
    """Compare the fall of the margin in the last steps with that of the whole way, where the way did not succeed."""
    found = trial.measured(path)
    if found is None:
        return inconclusive("too few examples could be followed")
    way = found.margin[found.last_fails]
    if len(way) == 0:
        return Answer(outcome="passes", measured=f"plain PGD broke all {len(found.rows)} examples followed")
    total, late = way[:, 0] - way.amin(1), way[:, :-LAST].amin(1) - way.amin(1)
    share = float((late / total.clamp_min(1e-300)).where(total > 0, 0.0).mean())
    return Answer(
        outcome="fails" if share >= MOST_RISING else "passes",
        measured=f"the last {LAST} of {way.shape[1] - 1} steps make {share:.2f} of the way, on {len(way)} examples",
        values={"late": share},
    )


CHECK = Check(
    name="loss still rising",
    question="Does the loss still rise when plain PGD ends?",
    threshold=f"{MOST_RISING} of the margin's fall in the last {LAST} steps; decides nothing by itself",
    source="Carlini et al. 2019, section 5 (convergence)",
    advice="give the attack more steps",
    ask=ask,
)
