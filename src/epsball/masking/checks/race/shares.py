"""What kinds of attack found what plain PGD did not."""

from epsball.masking.check import Answer
from epsball.masking.finders import Kind, kind_of
from epsball.masking.measurements.plain import plain_race
from epsball.masking.trial import Trial

MOST = 0.04
"""Share of all examples from which a check of this kind fails."""


def share_of(trial: Trial, kind: Kind, what: str) -> Answer:
    """Return how much of the gap between plain PGD and the best attack fell to attacks of a kind."""
    race = trial.measured(plain_race)
    rows = race.rows.tolist()
    mine = sum(kind_of(trial.by[row]) == kind for row in rows)
    share = race.gap * mine / len(rows) if rows else 0.0
    return Answer(
        outcome="fails" if share >= MOST else "passes",
        measured=f"{what} broke {share:.3f} of the examples that plain PGD does not",
        values={"share": share},
    )
