"""Minimum-norm attacks of other libraries, each with the passes it is given.

A contender is made by ``make(module, norm, steps)`` and maps (x, y) to the nearest adversarial points it
found. Each may spend ``steps`` forward and as many backward passes per example, up to a few per
cent (FAB spends two forwards a backward, bisections round their budget down); the table prints what it spent.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from other_libraries import make_importable

Attack = Callable[[Tensor, Tensor], Tensor]
Make = Callable[[nn.Module, str, int], Attack]

ORDERS: dict[str, Any] = {"linf": np.inf, "l2": 2, "l1": 1}
LARGEST = {"linf": 1.0, "l2": 10.0, "l1": 100.0}
"""Where bisections over the radius begin."""


class Undefined(Exception):
    """A contender does not define the norm."""


def _adv_lib(name: str, **options: object) -> Make:
    def make(module: nn.Module, norm: str, steps: int) -> Attack:
        make_importable()
        from adv_lib import attacks

        return lambda x, y: getattr(attacks, name)(
            module, x, y, norm=ORDERS[norm], **{steps_of[name]: steps}, **options
        )

    steps_of = {"fmn": "steps", "pdpgd": "num_steps"}
    return make


def adv_lib_ddn(module: nn.Module, norm: str, steps: int) -> Attack:
    """DDN without rounding to 256 levels."""
    _only(norm, "l2")
    make_importable()
    from adv_lib.attacks import ddn

    return lambda x, y: ddn(module, x, y, steps=steps, levels=None)


def adv_lib_alma(module: nn.Module, norm: str, steps: int) -> Attack:
    """ALMA."""
    _only(norm, "l2", "l1")
    make_importable()
    from adv_lib.attacks import alma

    start = {"l2": 1.0, "l1": 1.0}[norm]
    return lambda x, y: alma(module, x, y, num_steps=steps, distance=norm, init_lr_distance=start)


def adv_lib_apgd(loss: str, *, targets: int | None = None) -> Make:
    """Return APGD under a bisection of the radius, as AttackBench runs it."""

    def make(module: nn.Module, norm: str, steps: int) -> Attack:
        make_importable()
        from adv_lib.attacks.auto_pgd import minimal_apgd

        searches = 10
        share = max(5, steps // searches // (targets or 1))
        return lambda x, y: minimal_apgd(
            module, x, y, norm=ORDERS[norm], max_eps=LARGEST[norm], binary_search_steps=searches, n_iter=share,
            targeted_version=targets is not None, num_targets=targets, loss_function=loss,
            use_large_reps=norm == "l1" and share >= 30,
        )  # fmt: skip

    return make


def adv_lib_fab(module: nn.Module, norm: str, steps: int) -> Attack:
    """FAB, untargeted: every step has a backward pass a class."""
    make_importable()
    from adv_lib.attacks import fab

    return lambda x, y: fab(module, x, y, norm=ORDERS[norm], n_iter=max(1, 2 * steps // 12), restarts=1)


def foolbox_fmn(module: nn.Module, norm: str, steps: int) -> Attack:
    """FMN of foolbox."""
    from foolbox import attacks

    kind = {"linf": attacks.LInfFMNAttack, "l2": attacks.L2FMNAttack, "l1": attacks.L1FMNAttack}[norm]
    return _foolbox(module, kind(steps=steps))


def foolbox_ddn(module: nn.Module, norm: str, steps: int) -> Attack:
    """DDN of foolbox."""
    _only(norm, "l2")
    from foolbox import attacks

    return _foolbox(module, attacks.DDNAttack(steps=steps))


def _foolbox(module: nn.Module, attack: Any) -> Attack:
    from foolbox import PyTorchModel

    model = PyTorchModel(module, bounds=(0, 1), device="cpu")
    return lambda x, y: attack(model, x, y, epsilons=None)[0]


def torchattacks_fab(module: nn.Module, norm: str, steps: int) -> Attack:
    """FAB of torchattacks, given a radius so large that nothing counts as out of reach."""
    from torchattacks import FAB

    name = {"linf": "Linf", "l2": "L2"}.get(norm)
    if name is None:
        raise Undefined
    return FAB(module, norm=name, eps=LARGEST[norm], steps=max(1, 2 * steps // 12), n_restarts=1)


def torchattacks_cw(module: nn.Module, norm: str, steps: int) -> Attack:
    """Carlini-Wagner of torchattacks: one constant."""
    _only(norm, "l2")
    from torchattacks import CW

    return CW(module, c=1, steps=steps)


def art_deepfool(module: nn.Module, norm: str, steps: int) -> Attack:
    """DeepFool of ART."""
    _only(norm, "l2")
    from art.attacks.evasion import DeepFool

    return _art(module, lambda model: DeepFool(model, max_iter=50, verbose=False, batch_size=128))


def art_carlini_wagner(module: nn.Module, norm: str, steps: int) -> Attack:
    """Carlini and Wagner's linf attack of ART, with its own numbers."""
    _only(norm, "linf")
    from art.attacks.evasion import CarliniLInfMethod

    return _art(module, lambda model: CarliniLInfMethod(model, verbose=False, batch_size=128))


def _art(module: nn.Module, make: Callable[[Any], Any]) -> Attack:
    from art.estimators.classification import PyTorchClassifier

    def attack(x: Tensor, y: Tensor) -> Tensor:
        model = PyTorchClassifier(
            module, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu"
        )
        return torch.from_numpy(make(model).generate(x.numpy()))

    return attack


def adv_lib_deepfool(module: nn.Module, norm: str, steps: int) -> Attack:
    """DeepFool of adv-lib."""
    _only(norm, "l2", "linf")
    make_importable()
    from adv_lib.attacks import df

    return lambda x, y: df(module, x, y, steps=50, norm=ORDERS[norm])


def torchattacks_deepfool(module: nn.Module, norm: str, steps: int) -> Attack:
    """DeepFool of torchattacks."""
    _only(norm, "l2")
    from torchattacks import DeepFool

    return DeepFool(module, steps=50)


def _only(norm: str, *norms: str) -> None:
    if norm not in norms:
        raise Undefined


OTHER_LIBRARIES: dict[str, Make] = {
    "adv-lib DDN": adv_lib_ddn,
    "foolbox DDN": foolbox_ddn,
    "adv-lib FMN": _adv_lib("fmn"),
    "foolbox FMN": foolbox_fmn,
    "adv-lib PDPGD": _adv_lib("pdpgd"),
    "adv-lib ALMA": adv_lib_alma,
    "adv-lib APGD": adv_lib_apgd("dlr"),
    "adv-lib APGD-CE": adv_lib_apgd("ce"),
    "adv-lib APGD-T": adv_lib_apgd("dlr", targets=3),
    "adv-lib FAB": adv_lib_fab,
    "torchattacks FAB": torchattacks_fab,
    "torchattacks CW": torchattacks_cw,
}
"""Contenders whose passes can be set."""

UNBUDGETED: dict[str, Make] = {
    "adv-lib DeepFool": adv_lib_deepfool,
    "torchattacks DeepFool": torchattacks_deepfool,
    "ART DeepFool": art_deepfool,
    "ART Carlini-Wagner": art_carlini_wagner,
}
"""Contenders that end by their own rule."""
