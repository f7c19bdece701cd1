"""Whether the model draws random numbers."""

from epsball.masking.check import Answer, Check
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report the fact."""
    how = f"judged by the mean softmax of {trial.classifier.repetitions} passes" if trial.random else "it does not"
    return Answer(outcome="fails" if trial.random else "passes", measured=how, values={"random": float(trial.random)})


CHECK = Check(
    name="randomness",
    question="Does the model answer the same input differently?",
    threshold="beyond what kernels explain; a fact beside the verdict",
    source="Athalye, Carlini and Wagner 2018, section 3 (stochastic gradients)",
    advice="average gradients over draws (expectation over transformation); judge by repetitions",
    ask=ask,
)
