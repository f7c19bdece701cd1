"""The items of the chapter."""

import pytest

from epsball.chapter.items.certificates.dimension import SIDES
from epsball.chapter.networks import DEFENCES, base, keyed
from epsball.chapter.registry import ITEMS, find
from epsball.errors import InputError


def test_names_are_unique_and_every_claim_says_how_it_is_decided():
    assert len({item.name for item in ITEMS}) == len(ITEMS) >= 25
    for item in ITEMS:
        assert len({claim.name for claim in item.claims}) == len(item.claims) >= 1
        assert all(claim.says and claim.criterion for claim in item.claims)


def test_items_stand_in_the_order_of_the_chapter():
    sections = [tuple(map(int, item.section.split(".")))[:2] for item in ITEMS]
    assert sections == sorted(sections)


def test_items_name_networks_that_exist():
    assert {name for item in ITEMS for name in item.networks} <= set(DEFENCES)


def test_found_by_name_in_the_order_of_the_chapter():
    assert [item.name for item in find(["gaussian", "beta"])] == ["beta", "gaussian"]
    assert find() == ITEMS


def test_an_unknown_item_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"gausian.*'gaussian'"):
        find(["gausian"])


def test_another_way_of_training_has_another_folder():
    names = {
        keyed(base(name, data, size)).name
        for name in DEFENCES
        for data in ("digits", "mnist")
        for size in ("fast", "full")
    }
    assert len(names) == 4 * len(DEFENCES)


def test_training_on_mnist_rises_to_its_radius():
    assert (
        base("pgd-5", "mnist", "default").recipe["warm_up"]
        == base("trades-6", "mnist", "full").recipe["warm_up"]
        == 0.3
    )
    assert "warm_up" not in base("standard", "mnist", "default").recipe | base("pgd-5", "digits", "fast").recipe


def test_a_small_run_trains_at_most_twenty_five_networks_beside_those_of_figure_17_2():
    shared = {name for item in ITEMS for name in item.networks}
    assert len(shared) + len(SIDES) + len(["the prior of PixelDefend"]) <= 25
