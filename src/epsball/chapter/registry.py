"""The items of the chapter, in its order."""

from collections.abc import Sequence

from epsball.chapter.item import Item
from epsball.chapter.items.certificates import (
    criteria,
    dimension,
    front,
    logit_bounds,
    methods,
    properties,
)
from epsball.chapter.items.limits import (
    gaussian,
    overlap,
    quantities,
    risk_over_radius,
    strictness,
    transport,
)
from epsball.chapter.items.masking import circumvention, expansion, figure_17_1, flat_regions
from epsball.chapter.items.similarity import representations
from epsball.chapter.items.trades import beta, decomposition, divergence, table_17_1
from epsball.chapter.items.training import (
    cost,
    guarantees,
    l2_step,
    pgd_options,
    saddle_point,
    threats,
    training_steps,
    update,
)
from epsball.errors import lookup

ITEMS: tuple[Item, ...] = tuple(
    module.ITEM
    for module in (
        saddle_point,
        pgd_options,
        l2_step,
        update,
        training_steps,
        threats,
        guarantees,
        cost,
        expansion,
        flat_regions,
        figure_17_1,
        circumvention,
        decomposition,
        divergence,
        beta,
        table_17_1,
        criteria,
        logit_bounds,
        methods,
        front,
        properties,
        dimension,
        representations,
        quantities,
        strictness,
        gaussian,
        overlap,
        risk_over_radius,
        transport,
    )
)


def find(names: Sequence[str] = ()) -> tuple[Item, ...]:
    """Return the items of these names in the chapter's order; all if there are none.

    Raises
    ------
    InputError
        If nothing has a name; says the nearest.
    """
    known = {item.name: item for item in ITEMS}
    wanted = {lookup(known, name, "item of the chapter:").name for name in names} or set(known)
    return tuple(item for item in ITEMS if item.name in wanted)
