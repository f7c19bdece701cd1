"""Whether gradients at neighbours agree."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.shape import shape
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report cosine and signs."""
    found = trial.measured(shape)
    if found is None:
        return inconclusive("not measured")
    measured = f"median cosine {found.cosine:.2f}, same signs {found.signs:.2f}, of {found.examples} examples"
    return Answer(outcome="inconclusive", measured=measured, values={"cosine": found.cosine, "signs": found.signs})


CHECK = Check(
    name="gradients of neighbours",
    question="Do the gradients at random points of the ball agree with that at the example?",
    threshold="none: honest and masked networks overlap",
    source="Gomes et al. 2022",
    advice="average gradients over the ball, or attack by queries",
    ask=ask,
)
