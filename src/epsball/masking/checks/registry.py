"""All checks of a diagnosis, in the order in which they are printed."""

from epsball.masking.check import Check
from epsball.masking.checks.evidence import enough, limit, planted_witnesses
from epsball.masking.checks.gradients import (
    agreement,
    curvature,
    local_linearity,
    neighbours,
    rising_loss,
    saturation,
    second_order,
    vanishing,
)
from epsball.masking.checks.indicators import (
    incomplete_optimization,
    silent_success,
    transfer_failure,
    unavailable_gradients,
    unconstrained_attack_failure,
    unstable_predictions,
)
from epsball.masking.checks.model import batch, randomness
from epsball.masking.checks.race import (
    adaptive,
    black_box,
    corners,
    evaluation,
    margin_loss,
    one_step,
    plain,
    radius,
    restarts,
    transfer,
    unbounded,
)

CHECKS: tuple[Check, ...] = tuple(
    module.CHECK
    for module in (
        plain,
        evaluation,
        margin_loss,
        black_box,
        transfer,
        adaptive,
        corners,
        one_step,
        restarts,
        unbounded,
        radius,
        agreement,
        vanishing,
        saturation,
        rising_loss,
        second_order,
        local_linearity,
        curvature,
        neighbours,
        limit,
        planted_witnesses,
        randomness,
        batch,
        unavailable_gradients,
        unstable_predictions,
        silent_success,
        incomplete_optimization,
        transfer_failure,
        unconstrained_attack_failure,
        enough,
    )
)
"""Adding a check is one file with a `CHECK`, and one entry here."""
