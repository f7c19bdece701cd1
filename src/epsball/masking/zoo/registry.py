"""The defences by name."""

from epsball.errors import lookup
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.generic import (
    collapsed_training,
    dead_relu,
    detached,
    jpeg,
    k_winners_take_all,
    noise,
    random_resizing,
    rounding,
    saturated_logits,
    wrong_gradient,
)
from epsball.masking.zoo.published import activation_pruning, cascade, local_dimension, pixel_defend, thermometer

_ALL = (
    thermometer.DEFENCE,
    local_dimension.DEFENCE,
    activation_pruning.DEFENCE,
    pixel_defend.DEFENCE,
    cascade.DEFENCE,
    rounding.EIGHT_BITS,
    rounding.COARSE,
    jpeg.DEFENCE,
    saturated_logits.SCALED,
    saturated_logits.DISTILLED,
    detached.DEFENCE,
    k_winners_take_all.DEFENCE,
    dead_relu.DEFENCE,
    random_resizing.DEFENCE,
    noise.DEFENCE,
    wrong_gradient.PERMUTED,
    wrong_gradient.SIGNS,
    collapsed_training.DEFENCE,
)
DEFENCES: dict[str, Defence] = {defence.name: defence for defence in _ALL}


def defence(name: str) -> Defence:
    """Return the defence of a name.

    Raises
    ------
    InputError
        If there is none; names the nearest.

    Examples
    --------
    >>> defence("BRRG18").base
    'cifar-thermometer'
    """
    return lookup(DEFENCES, name, "defence")
