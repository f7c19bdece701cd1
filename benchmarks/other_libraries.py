"""PGD by other libraries, each called as its own documentation does; none of them is required.

A contender is made by ``make(task, module)`` and maps (x, y) to adversarial points. The module
is in evaluation mode with frozen parameters: the best case for libraries that would
otherwise compute gradients of the weights too.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from task import Attack, Task, Unavailable

NORMS: dict[str, Any] = {"linf": np.inf, "l2": 2}


def foolbox(task: Task, module: nn.Module) -> Attack:
    """Return PGD of foolbox."""
    from foolbox import PyTorchModel, attacks

    kind = {"linf": attacks.LinfPGD, "l2": attacks.L2PGD}[task.norm]
    attack = kind(abs_stepsize=task.step, steps=task.steps, random_start=True)
    model = PyTorchModel(module, bounds=(0, 1), device="cpu")
    return lambda x, y: attack(model, x, y, epsilons=task.radius)[1]


def torchattacks(task: Task, module: nn.Module) -> Attack:
    """Return PGD of torchattacks."""
    from torchattacks import PGD, PGDL2

    kind = {"linf": PGD, "l2": PGDL2}[task.norm]
    return kind(module, eps=task.radius, alpha=task.step, steps=task.steps, random_start=True)


def art(task: Task, module: nn.Module) -> Attack:
    """Return PGD of the Adversarial Robustness Toolbox."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        module, nn.CrossEntropyLoss(), task.shape, task.classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        model,
        norm=NORMS[task.norm],
        eps=task.radius,
        eps_step=task.step,
        max_iter=task.steps,
        num_random_init=1,
        batch_size=task.batch,
        verbose=False,
    )
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def cleverhans(task: Task, module: nn.Module) -> Attack:
    """Return PGD of CleverHans."""
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    return lambda x, y: projected_gradient_descent(
        module,
        x,
        eps=task.radius,
        eps_iter=task.step,
        nb_iter=task.steps,
        norm=NORMS[task.norm],
        clip_min=0.0,
        clip_max=1.0,
        y=y,
    )


def adv_lib(task: Task, module: nn.Module) -> Attack:
    """Return PGD of adv-lib."""
    if task.norm != "linf":
        raise Unavailable(f"adv-lib has no {task.norm} PGD")
    make_importable()
    from adv_lib.attacks.projected_gradient_descent import pgd_linf

    return lambda x, y: pgd_linf(module, x, y, task.radius, steps=task.steps, absolute_step_size=task.step)


OTHER_LIBRARIES: dict[str, Callable[[Task, nn.Module], Attack]] = {
    "foolbox": foolbox,
    "torchattacks": torchattacks,
    "ART": art,
    "cleverhans": cleverhans,
    "adv-lib": adv_lib,
}

_operators: list[torch.library.Library] = []


def make_importable() -> None:
    """Let adv-lib import where torchvision's compiled operators do not load and visdom is missing.

    Its PGD uses neither. torchvision only wants its operators' names to be known, so they are
    declared without code; calling one would fail.
    """
    try:
        import visdom  # noqa: F401
    except ImportError:
        sys.modules["visdom"] = types.ModuleType("visdom")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        _operators.append(library)
