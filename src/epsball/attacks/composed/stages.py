"""Attacks made of attacks: each stage works on what the ones before it left standing."""

from collections.abc import Sequence

from epsball.attacks.engine.query import Query
from epsball.attacks.parts.protocol import Attack
from epsball.ball import Ball
from epsball.randomness import Keys


def run_stages(stages: Sequence[Attack], query: Query, ball: Ball, keys: Keys) -> None:
    """Run stages one after the other, each counted and credited under its own name, with draws of its own."""
    for number, stage in enumerate(stages):
        query.begin_stage(stage.name)
        stage(query, ball, keys=keys.derive(number, stage.name))
