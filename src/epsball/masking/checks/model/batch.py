"""Whether an example's logits depend on the rest of its batch."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report what the classifier's own check saw."""
    if trial.random:
        return inconclusive("random models are not compared")
    fails = trial.batch is not None
    return Answer(
        outcome="fails" if fails else "passes",
        measured=trial.batch or "it does not",
        severity="suspect" if fails else "none",
    )


CHECK = Check(
    name="dependence on the batch",
    question="Do an example's logits change with the rest of its batch?",
    threshold="beyond what kernels explain",
    source="the classifier's own check",
    advice="use running statistics (evaluation mode): a verdict must not depend on the company",
    ask=ask,
)
