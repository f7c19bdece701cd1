"""Defensive distillation as an objective."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.checks import check_positive
from epsball.module_state import evaluating
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True, eq=False)
class Distillation(Adversarial):
    """Minimise the cross-entropy between softmax(t(x)/T) of a teacher t and softmax(h(x)/T).

    Deployed at temperature 1, the logits h are about T times larger than those of a network trained at 1.

    Parameters
    ----------
    teacher
        Maps raw inputs to logits.
    temperature
        T.
    teacher_temperature
        By what the teacher's logits are divided: T for one trained at T, 1 for one trained at 1.

    References
    ----------
    Papernot, McDaniel, Wu, Jha and Swami, "Distillation as a defense to adversarial perturbations against deep neural
    networks", IEEE S&P 2016, section IV.
    """

    name: ClassVar[str] = "distillation"

    teacher: nn.Module
    temperature: float = 100.0
    teacher_temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_positive("teacher_temperature", self.teacher_temperature)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the examples themselves."""
        return x

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return -sum_k softmax(t(x)/T)_k log softmax(h(x)/T)_k."""
        with evaluating(self.teacher), torch.no_grad():
            target = (self.teacher(x_adv) / self.teacher_temperature).softmax(1)
        log_p = (module(x_adv).float() / self.temperature).log_softmax(1)
        return Losses(examples=-(target * log_p).sum(1))
