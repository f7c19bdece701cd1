"""`check`: what is understood of a model and its data before anything is measured, in seconds."""

from epsball import data as datasets
from epsball.attacks.attack import check_subject
from epsball.auditing.checking.about import about
from epsball.auditing.checking.certificates import Tried
from epsball.auditing.checking.costs import Cascade, effort_costs, milliseconds
from epsball.auditing.checking.guards import guard_findings
from epsball.auditing.checking.result import MethodFinding, ModelCheck
from epsball.ball import Ball
from epsball.certificates import METHODS
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.data import Dataset, as_pixels
from epsball.errors import EpsballError
from epsball.models import LoadedModel
from epsball.progress import doing
from epsball.risk import natural_accuracy

FIRST = 200
"""Examples on which natural accuracy is measured."""


def check(model: Classifier | LoadedModel, data: object, ball: Ball | None = None) -> ModelCheck:
    """Say what is understood of a model and its data, what each guard finds, and what an audit would cost.

    It takes seconds: natural accuracy is that of the first 200 examples, each method of certificates is tried on
    one, unless that would take long, and passes are timed on one batch.

    Parameters
    ----------
    model
        The classifier, or what `epsball.models.load` returned, which knows where its preprocessing was read.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    ball
        The perturbation set: which certificates there are depends on its norm. None: linf, of radius 1/255 of the box.

    Returns
    -------
    ModelCheck

    Raises
    ------
    InputError
        If the data cannot be read, or the ball does not fit the classifier. What is wrong with model or data as such
        is a finding, not an error.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> found = eb.check(eb.Classifier(torch.nn.Softmax(1)), (torch.rand(8, 4), torch.arange(8) % 4))
    >>> [guard.name for guard in found.guards if guard.state == "fails"], found.exit_code
    (['logits'], 3)
    """
    dataset = datasets.load(data)
    loaded = model if isinstance(model, LoadedModel) else None
    low, high = (0.0, 1.0) if ball is None else (ball.low, ball.high)
    classifier = model if isinstance(model, Classifier) else model.classifier(low=low, high=high)
    asked = _small(classifier) if ball is None else ball
    check_subject(classifier, asked)
    with doing("looking at model and data"):
        understood = about(classifier, loaded, dataset, asked)
        guards = tuple(guard_findings(classifier, dataset, FIRST))
    found = ModelCheck(about=understood, guards=guards, total=len(dataset))
    return _measured(found, classifier, dataset, asked) if found.passed else found


def _small(classifier: Classifier) -> Ball:
    """Return a small linf ball in a classifier's box."""
    if classifier.low is None or classifier.high is None:
        return Ball("linf", "1/255", low=None, high=None)
    return Ball("linf", (classifier.high - classifier.low) / 255, low=classifier.low, high=classifier.high)


def _measured(found: ModelCheck, classifier: Classifier, dataset: Dataset, ball: Ball) -> ModelCheck:
    """Return the check with what was measured: natural accuracy, certificates, and the costs of the efforts."""
    x, y = dataset[:FIRST]
    with doing("timing passes"):
        per_pass = milliseconds(classifier, dataset)
        logits = classifier.logits(as_pixels(x)).cpu()
    margin = margins(classifier.effective_logits(logits, y), y)
    natural = natural_accuracy(margin > 0, margin.isnan())
    classes = logits.shape[1] - classifier.rejects
    right = float((margin > 0).float().mean()) * len(dataset)
    options = {"classes": classes, "right": right, "stochastic": classifier.stochastic}
    with doing("trying certificates"):
        methods, cascade = _certificates(classifier, dataset, ball)
        efforts = tuple(effort_costs(cascade, per_pass, **options))
    return ModelCheck(
        about=found.about,
        guards=found.guards,
        total=found.total,
        natural=natural,
        first=len(y),
        certificates=methods,
        milliseconds=per_pass,
        efforts=efforts,
    )


def _certificates(classifier: Classifier, dataset: Dataset, ball: Ball) -> tuple[tuple[MethodFinding, ...], Cascade]:
    """Return for each method whether it can run, and what the cascade costs within so many passes."""
    try:
        tried = Tried.of(classifier, dataset, ball)
    except EpsballError as error:
        why = str(error)
        return tuple(MethodFinding(name=name, runs="cannot run", why=why) for name in METHODS), lambda most: (
            0,
            0.0,
            True,
        )
    methods = tuple(tried.methods())
    return methods, lambda most: tried.cascade(methods, most)
