"""One step against many."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.path import path
from epsball.masking.trial import Trial

MOST = 0.1
"""Share of the examples."""


def ask(trial: Trial) -> Answer:
    """Count examples that one long step breaks and many short ones do not."""
    found = trial.measured(path)
    if found is None:
        return inconclusive("too few examples could be followed")
    many = (found.margin <= 0).any(1)
    share = float((found.one_step & ~many).double().mean())
    return Answer(
        outcome="fails" if share >= MOST else "passes",
        measured=f"one step breaks {float(found.one_step.double().mean()):.2f}, {found.margin.shape[1] - 1} steps "
        f"{float(many.double().mean()):.2f} of {len(found.rows)} examples; one step alone {share:.2f}",
        values={"one step alone": share},
    )


CHECK = Check(
    name="many steps against one",
    question="Does one long step break what many short ones do not?",
    threshold=f"{MOST} of the examples; decides nothing by itself",
    source="Athalye, Carlini and Wagner 2018, section 3.1",
    advice="gradients mislead along the way: attack with 'ensemble' or 'adaptive'",
    ask=ask,
)
