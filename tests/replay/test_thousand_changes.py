"""A thousand structural tamperings with proof trees, and a thousand other changes, held against exact enumeration."""

import copy
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from certificates.networks import least_margins, random_relu_net
from certificates.soundness import ends
from epsball.ball import Ball
from epsball.graph import Graph
from epsball_replay import ReplayError, replay
from replay import test_trees as trees

COUNT = 1000
STRUCTURAL = (
    *(trees._drop_leaf, trees._extra_leaf, trees._unknown_node, trees._unknown_entry, trees._unknown_number),
    *(trees._stable_cut, trees._negative, trees._infinite, trees._missing_multiplier, trees._nan_slope),
    trees._missing_kink,
)
FORMS = {"shape": "<i4", "kinks": "<f8", "multipliers": "<f8", "lower": "<f2", "at": "<i4"}


@pytest.fixture(scope="module")
def proofs(tmp_path_factory) -> list[tuple[Path, dict[int, float]]]:
    """Return certificates of networks over the plane, each with at least one tree that cuts, and the least margins."""
    found = []
    for seed in range(40):
        folder = tmp_path_factory.mktemp("proof")
        graph = trees.large(random_relu_net(seed, hidden=(6, 6), classes=3))
        try:
            path = trees.proved(folder, graph, "linf")
        except AssertionError:
            continue
        data = trees.read(path)
        if not any(len(trees.numbers(tree["kinks"], "<f8")) > 1 for tree in data.get("trees", {}).values()):
            continue
        (model,) = folder.glob("*.npz")
        arrays = {name: torch.from_numpy(array) for name, array in np.load(model).items() if name != "graph"}
        x = torch.tensor([float.fromhex(value) for value in data["x"]])
        moved = Graph(nodes=graph.nodes, output=graph.output, parameters=arrays)
        truth = least_margins(moved, *ends(x, Ball("linf", data["radius"])), data["predicted"])
        found.append((path, {j: float(least) for j, least in truth.items()}))
        if len(found) == 6:
            return found
    return found


@pytest.mark.slow
def test_a_thousand_structural_tamperings_are_all_refused(proofs):
    chooser, seen = random.Random(1), Counter()
    while seen.total() < COUNT:
        path, _ = chooser.choice(proofs)
        data = trees.read(path)
        cut = [tree for tree in data["trees"].values() if len(trees.numbers(tree["kinks"], "<f8"))]
        tamper = chooser.choice(STRUCTURAL)
        tree = chooser.choice(cut)
        _shuffle_numbers(tree, chooser)
        tamper(tree)
        other = path.with_name("tampered.json.gz")
        trees.write(other, data)
        with pytest.raises(ReplayError):
            replay(other)
        seen[tamper.__name__] += 1
    assert len(seen) == len(STRUCTURAL)


def _shuffle_numbers(tree: dict, chooser: random.Random) -> None:
    """Change some multipliers, which breaks no rule: no two tamperings are of the same file."""
    values = trees.numbers(tree["multipliers"], "<f8")
    tree["multipliers"] = trees.text(values * chooser.uniform(0.5, 1.5), "<f8")


@pytest.mark.slow
def test_a_thousand_other_changes_are_refused_or_leave_a_claim_that_holds(proofs):
    chooser, seen = random.Random(2), Counter()
    while seen.total() < COUNT:
        path, truth = chooser.choice(proofs)
        data = copy.deepcopy(trees.read(path))
        if not _change(data, chooser):
            continue
        other = path.with_name("changed.json.gz")
        trees.write(other, data)
        verdict = trees.accepted(other)
        seen["accepted" if verdict else "refused"] += 1
        if verdict is not None:
            assert all(claim <= truth[j] for j, claim in verdict.claims.items()), (data, truth)
    print(seen)
    assert min(seen["accepted"], seen["refused"]) > COUNT // 20


def _change(data: dict, chooser: random.Random) -> bool:
    """Change one number of a file; return whether there was one."""
    kind = chooser.choice(["claims", "own", "envelopes", *FORMS])
    if kind == "claims":
        j = chooser.choice(list(data["claims"]))
        data["claims"][j] = (
            float.fromhex(data["claims"][j]) + chooser.choice([-1, 1]) * chooser.uniform(0, 0.02)
        ).hex()
        return True
    tree = data["trees"][chooser.choice(list(data["trees"]))]
    if kind == "own":
        parts = [part for own in data["own_slopes"] for part in own["slopes"].values()]
        return bool(parts) and _nudge(chooser.choice(parts), "lower", "<f8", chooser)
    if kind == "envelopes":
        names = list(tree["envelopes"])
        return bool(names) and _nudge(tree["envelopes"], chooser.choice(names), "u1", chooser)
    where = tree if kind in tree else tree["slopes"][chooser.choice(list(tree["slopes"]))]
    return _nudge(where, kind, FORMS[kind], chooser)


def _nudge(where: dict, name: str, form: str, chooser: random.Random) -> bool:
    values = trees.numbers(where[name], form)
    if not len(values):
        return False
    at, size = chooser.randrange(len(values)), chooser.uniform(0, 1)
    if "f" in form:
        values[at] += chooser.choice([-1, 1]) * size
    else:
        values[at] = values[at] + (1 if form == "u1" else chooser.choice([-1, 1]))
    where[name] = trees.text(values, form)
    return True
