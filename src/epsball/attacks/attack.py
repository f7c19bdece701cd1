"""`attack`: checks what it is given, then searches and verifies."""

import dataclasses

import torch
from torch import Tensor

from epsball.attacks import registry
from epsball.attacks.engine.evaluator import Precision
from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.engine.query import Stop
from epsball.attacks.parts.attack import Attack
from epsball.attacks.result import AttackResult
from epsball.attacks.search import Examples, Options, search
from epsball.attacks.sharing import shared_chunks
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.generator_state import preserved
from epsball.interruption import carrying
from epsball.plain import plain
from epsball.workers import Workers, as_workers


def attack(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    method: str | Attack = "pgd",
    seed: int = 0,
    stop: Stop = "first",
    precision: Precision = "float32",
    budget: int | None = None,
    batch_size: int | None = None,
    workers: int | Workers | None = None,
) -> AttackResult:
    """Search N(x) of each example for a misclassified point.

    Whatever the method claims, a witness lies in ball and box exactly and is misclassified by
    the canonical pass: the deployed module in one fixed batch shape, TF32 and autocast off.
    Random draws for an example depend on `seed` and on the example's own values and label, so
    batching, order and chunking change none.

    Parameters
    ----------
    classifier
        The model under test.
    x, y
        Examples (n, *shape) in the box, or uint8 pixels where that is [0, 1], and their integer labels (n,).
    ball
        The perturbation set; its box lies within the classifier's.
    method
        An attack, or the text of a registered one, ``NAME[,option=value]...``.
    seed
        Seed of every draw, 0 to 2^63 - 1.
    stop
        ``"first"``: an example leaves at its first confirmed witness (verdicts).
        ``"never"``: the method runs to its own end on all of them (margins, diagnosis).
    precision
        ``"float32"``: the search runs in the model's own dtype; ``"bf16"``: under bfloat16
        autocast. Verdicts do not depend on it: they come from the canonical pass.
    budget
        Most passes (forwards and backwards of the method) per example; None: no limit.
    batch_size
        Examples searched together (default 128 on the CPU, 1024 on a GPU).
    workers
        Processes that share the batches of examples; None: this process searches them all.

    Returns
    -------
    AttackResult
        Its tensors lie on the device of `x`, in the dtype of the model.

    Raises
    ------
    InputError
        If data, labels, ball or options break a rule.
    ModelError
        If the model does not behave as a classifier, or passes no gradient that is needed.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `AttackResult` of what was found until then, or None.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> result = eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method="pgd,steps=10")
    >>> result.broken, result.accuracy
    (tensor([True]), 0.0)
    """
    options = Options(
        method=registry.resolve(method),
        seed=seed,
        stop=stop,
        precision=precision,
        budget=budget,
        batch_size=batch_size,
    )
    check_subject(classifier, ball)
    sharing = as_workers(workers)
    x, y = classifier.pixels(x), plain(y) if isinstance(y, Tensor) else y
    before = classifier.passes.forward
    result: AttackResult | None = None
    with carrying(lambda: result), preserved(seed if classifier.stochastic else None), classifier.in_use():
        classes = classifier.check(x, y)
        guards = Ledger.overhead("guards", classifier.passes.forward - before)
        index = torch.arange(len(x), device=x.device)
        examples = Examples(x=x, y=y, index=index, total=len(x), classes=classes)
        if sharing is None:
            found = search(classifier, examples, ball, options)
        else:
            with shared_chunks(classifier, x, y, ball, options, sharing) as keep:
                found = search(classifier, examples, ball, options, keep)
        result = dataclasses.replace(
            found,
            ledger=Ledger.concatenate([guards, found.ledger]),
            overruled=classifier.overruled,
            own_files=registry.files_of(options.method),
        )
        if result.interrupted:
            raise KeyboardInterrupt
    return result


def check_subject(classifier: object, ball: object) -> None:
    """Raise InputError unless these are a classifier and a ball whose box lies within the classifier's."""
    if not isinstance(classifier, Classifier):
        raise InputError(f"the model is a {type(classifier).__name__}; give a Classifier: Classifier(module).")
    if not isinstance(ball, Ball):
        raise InputError(f"the ball is {ball!r}; give a Ball: Ball('linf', 0.1), or Ball.parse('linf:8/255').")
    if classifier.low is None or classifier.high is None:
        return
    if ball.low is None or ball.high is None or ball.low < classifier.low or ball.high > classifier.high:
        box = "no box" if ball.low is None or ball.high is None else f"the box [{ball.low:g}, {ball.high:g}]"
        raise InputError(
            f"the ball has {box}, which leaves the classifier's [{classifier.low:g}, {classifier.high:g}]; "
            "give both the same box (low=, high=)."
        )
