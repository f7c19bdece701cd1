"""Attacks of other libraries as attacks of this one: what they return is projected, verified and counted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.errors import EpsballError, InputError, MissingExtra
from epsball.generator_state import preserved
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class Task:
    """What another library's attack receives.

    Parameters
    ----------
    module
        The model, differentiable; every pass is counted.
    x, y
        The active examples and their labels.
    norm, radius, low, high
        The ball and its box.
    classes
        Number of classes.
    """

    module: nn.Module
    x: Tensor
    y: Tensor
    norm: str
    radius: float
    low: float
    high: float
    classes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherLibraryAttack(Attack):
    """An attack of another library, run on all active examples at once.

    The points it returns are projected onto ball and box and verified like any others. The ledger divides
    its passes evenly over the examples, and its name there says so. A budget per example does not bind it.
    Its draws follow from the keys of the examples in the batch: other batches have other draws.

    Parameters
    ----------
    label
        Library and attack.
    run
        Returns adversarial points (n, *shape) for a `Task`.
    """

    label: str
    run: Callable[[Task], Tensor]

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"{self.label} (even shares)"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the library's attack and try the points that it returns."""
        if ball.low is None or ball.high is None:
            raise InputError(f"{self.label} needs a box, but the ball has none; give low= and high=.")
        query.begin(0)
        x, seed = query.x, int(keys[query.index].words.sum()) % 2**32
        with query.module() as module, preserved(seed), torch.enable_grad():
            task = Task(
                module=module,
                x=x.clone(),
                y=query.y.clone(),
                norm=ball.norm,
                radius=float(ball.radius),
                low=ball.low,
                high=ball.high,
                classes=query.classes,
            )
            points = self._points(task)
        points = query.neighbourhood.project(points.detach().to(x))
        lost = int(points.isnan().flatten(1).any(1).sum())
        if lost:
            warnings.warn(
                f"{self.label} returned NaN for {lost} of {len(x)} examples, which stay unbroken.", stacklevel=2
            )
        query.logits(points)

    def _points(self, task: Task) -> Tensor:
        """Return the library's points; an error names the library as its source.

        Raises
        ------
        EpsballError
            If the library's attack fails, or does not return a tensor of the right shape.
        """
        try:
            points = self.run(task)
        except EpsballError:
            raise
        except Exception as error:
            raise EpsballError(f"{self.label} failed: {type(error).__name__}: {error}") from error
        if not isinstance(points, Tensor):
            raise EpsballError(f"{self.label} returned a {type(points).__name__}; expected a tensor of points.")
        if points.shape != task.x.shape:
            raise EpsballError(f"{self.label} returned {tuple(points.shape)} for inputs {tuple(task.x.shape)}.")
        return points


def from_foolbox(attack: Any) -> OtherLibraryAttack:
    """Return a Foolbox attack as an attack: ``from_foolbox(foolbox.attacks.LinfPGD(steps=40))``.

    It runs at the ball's radius; that it works in the ball's norm is up to the caller.

    Parameters
    ----------
    attack
        A Foolbox attack object.

    Raises
    ------
    InputError
        If it is a class or a text.

    Examples
    --------
    >>> import epsball as eb
    >>> class LinfPGD:  # foolbox.attacks.LinfPGD
    ...     pass
    >>> eb.attacks.from_foolbox(LinfPGD()).name
    'foolbox LinfPGD (even shares)'
    """
    if isinstance(attack, type | str):
        raise InputError(f"the attack is {attack!r}; give a Foolbox attack object: foolbox.attacks.LinfPGD(steps=40).")

    def run(task: Task) -> Tensor:
        foolbox = _imported("foolbox", "foolbox", "from_foolbox")
        model = foolbox.PyTorchModel(task.module, bounds=(task.low, task.high), device=task.x.device)
        _, clipped, _ = attack(model, task.x, foolbox.criteria.Misclassification(task.y), epsilons=task.radius)
        return clipped

    return OtherLibraryAttack(label=f"foolbox {type(attack).__name__}", run=run)


def from_torchattacks(build: Callable[[nn.Module, float], Any]) -> OtherLibraryAttack:
    """Return a torchattacks attack as an attack.

    Parameters
    ----------
    build
        Makes it from a model and a radius: ``lambda model, radius: torchattacks.PGD(model, eps=radius)``.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> def build(model, radius):  # such as torchattacks.FFGSM(model, eps=radius)
    ...     return lambda x, y: x + radius * torch.tensor([-1, 1, 1])
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.from_torchattacks(build)).broken
    tensor([True])
    """

    def run(task: Task) -> Tensor:
        if (task.low, task.high) != (0.0, 1.0):
            raise InputError(f"torchattacks works in the box [0, 1]; the ball has [{task.low:g}, {task.high:g}].")
        return build(task.module, task.radius)(task.x, task.y)

    return OtherLibraryAttack(label="torchattacks", run=run)


def from_art(build: Callable[[Any, float], Any]) -> OtherLibraryAttack:
    """Return an attack of the Adversarial Robustness Toolbox as an attack.

    Parameters
    ----------
    build
        Makes it from an ART classifier and a radius:
        ``lambda classifier, radius: ProjectedGradientDescent(classifier, eps=radius, verbose=False)``.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.attacks.from_art(lambda classifier, radius: None).name
    'art (even shares)'
    """

    def run(task: Task) -> Tensor:
        art = _imported("art.estimators.classification", "art", "from_art")
        classifier = art.PyTorchClassifier(
            model=task.module,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(task.x.shape[1:]),
            nb_classes=task.classes,
            clip_values=(task.low, task.high),
            device_type="cpu" if task.x.device.type == "cpu" else "gpu",
        )
        points = build(classifier, task.radius).generate(x=task.x.cpu().numpy(), y=task.y.cpu().numpy())
        return torch.from_numpy(points)

    return OtherLibraryAttack(label="art", run=run)


def _imported(name: str, extra: str, purpose: str) -> Any:
    """Return a module of an extra.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(extra, name.split(".")[0], purpose) from error
