"""`Distilled`: gradients of a small network that is taught what the model says inside the balls; needs no gradient."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.ascent import auto_pgd_from
from epsball.attacks.black_box.student import Student, teach
from epsball.attacks.engine.evaluator import Evaluator
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Lesson
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.attacks.parts.starts import block_corners
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_counts
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.generator_state import preserved
from epsball.randomness import Keys

BLOCK = 256
"""Points passed through the model together."""


@dataclass(frozen=True, kw_only=True)
class Distilled(Attack):
    """Teach a small network the model's logits inside the balls of the examples, and follow its gradients.

    For parts of a model that no gradient reaches: TorchScript, code outside torch, a custom backward. The student sees
    random points and corners of the balls, then in each round the points at which the student of the round before is
    most wrong. The search is Auto-PGD: the loss is the model's own margin, only the gradient is the student's.

    The examples of a call are one set, in an order of their own that neither batches nor the order of the call
    change: another set teaches another student. An audit's shard is a call. The student's own passes are not the
    model's and are counted nowhere.

    Parameters
    ----------
    points
        Points per example that the student is taught on; forwards of the model.
    rounds
        Times that the student is taught.
    taught
        Most examples that it is taught on.
    epochs
        Times that a round sees all its points.
    steps, restarts
        Of the search; a restart costs `steps` + 1 forwards.

    References
    ----------
    Papernot, McDaniel, Goodfellow, Jha, Celik and Swami, "Practical black-box attacks against machine learning",
    AsiaCCS 2017, which augments with the surrogate's own directions. Hinton, Vinyals and Dean, "Distilling the
    knowledge in a neural network", 2015.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.Distilled(points=20)
    >>> eb.attack(eb.Classifier(torch.nn.Identity()), x, y, eb.Ball("linf", 0.4), method=method).broken
    tensor([True])
    """

    name: ClassVar[str] = "distilled"
    gradient_free: ClassVar[bool] = True

    points: int = 60
    rounds: int = 3
    taught: int = 256
    epochs: int = 10
    steps: int = 20
    restarts: int = 4

    def __post_init__(self) -> None:
        check_counts(self, "points", "rounds", "taught", "epochs", "steps", "restarts")

    def prepared(self, lesson: Lesson) -> Attack:
        """Return the search with a student's gradients; teaches it."""
        return _Taught(plan=self, student=_Lessons(self, lesson).student())

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Raise InputError: there is no student yet."""
        raise InputError(
            "the attack 'distilled' teaches its network before a search begins, on all examples of the call; "
            "give it as the method itself, not as a part of another attack."
        )


class _Lessons:
    """Teaching one student."""

    def __init__(self, plan: Distilled, lesson: Lesson) -> None:
        order = lesson.keys.words.argsort(stable=True)[: plan.taught]
        self.plan, self.evaluator = plan, lesson.evaluator
        classifier = lesson.evaluator.classifier
        self.x = classifier.to_model(lesson.x[order])
        self.y = lesson.y[order].to(self.x.device, torch.int64)
        self.keys = lesson.keys[order.to(lesson.keys.words.device)]
        self.around = lesson.ball.at(self.x)
        self.classes = lesson.classes
        self.box = classifier.low, classifier.high
        self.known: list[Tensor] = []
        self.seed = int(self.keys.words.sum()) % 2**62

    def student(self) -> Classifier:
        """Return a taught network, as a classifier."""
        with preserved(self.seed):
            first = self.x.float()
            answers = self._answers(self.x)
            # A class that the model masks is -infinity at every input.
            self.taught = answers.isfinite().any(0)
            self.known.append(self._centred(answers))
            student = Student(
                tuple(first.shape[1:]), self.taught, centre=float(first.mean()), spread=float(first.std(correction=0))
            ).to(first.device)
            points = [self.x]
            for number in range(self.plan.rounds):
                count = (
                    self.plan.points * (number + 1) // self.plan.rounds - self.plan.points * number // self.plan.rounds
                )
                drawn = [self._draw(number, draw) for draw in range(count)]
                points += [self._towards(student, start) for start in drawn] if number else drawn
                self._teach(student, points)
            return Classifier(student.to(self.x.dtype), low=self.box[0], high=self.box[1], outputs="logits")

    def _draw(self, number: int, draw: int) -> Tensor:
        """Return one random point per ball: inside, and corners constant on blocks, in turn."""
        own = self.keys.derive("lesson", number, draw)
        return self.around.sample(own) if draw % 3 == 0 else block_corners(self.around, own, draw)

    def _towards(self, student: Student, points: Tensor) -> Tensor:
        """Return points moved to where the student is most wrong, in a few steps."""
        for _ in range(3):
            leaf = points.float().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(losses.margin(student(leaf), self.y).sum(), leaf)
            step = 0.7 * self.around.radius * self.around.ascent(gradient.to(points.dtype), points)
            points = self.around.project(points + step)
        return points

    def _teach(self, student: Student, points: list[Tensor]) -> None:
        """Teach what the model says of points, example by example in each of the list's entries."""
        self.known += [self._centred(self._answers(part)) for part in points[len(self.known) :]]
        example = torch.arange(len(self.x), device=self.x.device).repeat(len(points))
        teach(student, torch.cat(points).float(), torch.cat(self.known), example, self.plan.epochs)

    def _answers(self, points: Tensor) -> Tensor:
        """Return the model's logits of one point per example."""
        logits = torch.cat([self.evaluator.logits(block) for block in points.split(BLOCK)])
        return self.evaluator.classifier.effective_logits(logits, self.y).double()

    def _centred(self, answers: Tensor) -> Tensor:
        """Return the logits that are taught, with mean 0; entries that are not finite are 0."""
        logits = answers[:, self.taught]
        logits = torch.where(logits.isfinite(), logits, 0.0)
        return logits - logits.mean(1, keepdim=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Taught(Attack):
    """The search of `Distilled`, with its student."""

    name: ClassVar[str] = Distilled.name
    gradient_free: ClassVar[bool] = True

    plan: Distilled
    student: Classifier

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        with self.student.in_use():
            evaluator = Evaluator(self.student, "float32")
            for restart in range(self.plan.restarts):
                query.begin(restart)
                start = self._start(query.neighbourhood, keys[query.index].derive(restart), restart)
                auto_pgd_from(start, _ByStudent(query, evaluator), self.plan.steps)

    @staticmethod
    def _start(around: Neighbourhood, keys: Keys, restart: int) -> Tensor:
        """Return the examples themselves, then points of the ball and corners of it in turn."""
        if restart == 0:
            return around.x
        return around.sample(keys) if restart % 2 else block_corners(around, keys, restart // 2)


class _ByStudent(RowObjective):
    """The model's margin, with the gradient of a student's."""

    def __init__(self, query: Query, student: Evaluator) -> None:
        super().__init__(query, untargeted(losses.margin))
        self._student = student

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the model's losses, the student's gradients, and the rows that go on; one forward of the model."""
        y = self.y
        _, _, (gradient,) = self._student.gradients(points, [lambda logits, leaf: losses.margin(logits, y)])
        value, kept = self.value(points)
        return value, torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0), kept
