"""`diagnose`: whether a robustness number can be trusted, and which number may be reported."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from epsball.attacks import Attack, Ensemble, attack
from epsball.attacks.attack import check_subject
from epsball.attacks.registry import resolve
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.classifier.guards import BATCH
from epsball.errors import BatchDependenceError, InputError, RandomModelError, first_line
from epsball.generator_state import preserved
from epsball.interruption import carrying
from epsball.masking.check import Finding
from epsball.masking.diagnosis import Diagnosis
from epsball.masking.examination import examine, follow
from epsball.masking.measurements.plain import NAME, plain_race
from epsball.masking.planted import power
from epsball.masking.trial import Evaluation, Trial
from epsball.masking.verdict import verdict_of
from epsball.randomness import check_seed


def diagnose(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"],
    y: Int[Tensor, " n"],
    ball: Ball,
    *,
    evaluation: str | Attack | None = None,
    surrogate: Classifier | None = None,
    fewest: int = 50,
    seed: int = 0,
) -> Diagnosis:
    """Attack a classifier, and find out whether the number that comes out can be trusted.

    The ensemble is run first; the checks look at what it found, measure gradients, plant witnesses, race attacks
    against each other and, where something is suspicious, try the attacks that this calls for. On models of which
    nothing is suspicious all that takes at most half as many passes as the ensemble, else at most as many.

    Parameters
    ----------
    classifier
        The model under test. One that turns out to be random is judged as if it were marked so.
    x, y
        As for `epsball.attack`.
    ball
        The perturbation set.
    evaluation
        An attack whose power is measured in place of the ensemble's: the one behind a number to be checked.
    surrogate
        A classifier of the same inputs and classes, whose adversarial points are tried too.
    fewest
        Correct examples below which the verdict is at best ``"suspect"``.
    seed
        Seed of every draw.

    Returns
    -------
    Diagnosis

    Raises
    ------
    InputError, ModelError
        As for `epsball.attack`; randomness and dependence on the batch are findings.
    KeyboardInterrupt
        If it is interrupted; nothing of it is kept.

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018. Carlini et al.,
    "On evaluating adversarial robustness", 2019. Tramèr et al., "On adaptive attacks to adversarial example
    defenses", NeurIPS 2020. Zimmermann et al., "Increasing confidence in adversarial robustness evaluations",
    NeurIPS 2022. Pintor et al., "Indicators of attack failure", NeurIPS 2022.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    >>> eb.diagnose(eb.Classifier(network), x, x.argmax(1), eb.Ball("linf", 0.05)).verdict
    'sound'
    """
    options = {"evaluation": evaluation, "surrogate": surrogate, "fewest": fewest, "seed": seed}
    with carrying(lambda: None):  # half an examination is none
        return diagnosis_of(trial_of(classifier, x, y, ball, **options))


def trial_of(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    evaluation: str | Attack | None = None,
    surrogate: Classifier | None = None,
    fewest: int = 50,
    seed: int = 0,
) -> Trial:
    """Check the arguments of `diagnose`, run the ensemble, and return what is to be examined."""
    check_count("fewest", fewest, unit="correct examples")
    check_seed(seed)
    examined = None if evaluation is None else resolve(evaluation)
    check_subject(classifier, ball)
    if surrogate is not None and not isinstance(surrogate, Classifier):
        raise InputError(f"the surrogate is a {type(surrogate).__name__}; give a Classifier.")
    subject, method = _Subject.of(classifier, classifier.pixels(x), y, seed), Ensemble()
    result = attack(subject.classifier, x, y, ball, method=method, seed=seed)
    trial = Trial(
        classifier=subject.classifier,
        x=subject.classifier.pixels(x).cpu(),
        y=y.cpu().long(),
        ball=ball,
        seed=seed,
        classes=subject.classes,
        evaluation=Evaluation.of(result, method.name),
        examined=examined or method,
        fewest=fewest,
        surrogate=surrogate,
        random=subject.classifier.stochastic,
        batch=subject.batch,
    )
    trial.x_adv |= {row: result.x_adv[row].cpu() for row in torch.nonzero(trial.broken & trial.correct)[:, 0].tolist()}
    return trial


def diagnosis_of(trial: Trial) -> Diagnosis:
    """Return the diagnosis of an evaluation that was made."""
    with preserved(trial.seed if trial.random else None), trial.classifier.in_use():
        findings = examine(trial)
    return _summary(trial, findings)


def follow_up(trial: Trial) -> None:
    """Try on further examples of a masked model what such a model calls for; what is found is in the trial."""
    with preserved(trial.seed if trial.random else None), trial.classifier.in_use():
        follow(trial)


def _summary(trial: Trial, findings: tuple[Finding, ...]) -> Diagnosis:
    reported = trial.accuracy.pop("reported")
    race = trial.measured(plain_race)
    estimated = min(trial.accuracy["natural"], reported + race.gap)
    return Diagnosis(
        verdict=verdict_of(findings),
        random=trial.random,
        checks=findings,
        accuracy={**trial.accuracy, f"{NAME}, estimated": estimated, "reported": reported},
        power=trial.measured(power),
        examples=len(trial.x),
        broken=trial.broken,
        by=tuple(trial.by),
        x_adv=dict(trial.x_adv),
        passes=trial.evaluation.passes + trial.spent,
        evaluation_passes=trial.evaluation.passes,
        notes=tuple(trial.notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Subject:
    """A classifier that can be judged as it behaves, and what was found about it."""

    classifier: Classifier
    classes: int
    batch: str | None

    @classmethod
    def of(cls, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> "_Subject":
        """Check the classifier, and take it as random, or as one whose rows depend on each other, where it is."""
        batch = None
        while True:
            try:
                with preserved(seed if classifier.stochastic else None):
                    return cls(classifier=classifier, classes=classifier.check(x, y), batch=batch)
            except RandomModelError:
                classifier = copy.copy(classifier)
                classifier.stochastic = True
            except BatchDependenceError as error:
                batch, classifier = first_line(error), copy.copy(classifier)
                classifier.overruled = (*classifier.overruled, BATCH)
