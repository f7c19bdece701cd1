"""Queries against gradients."""

from epsball.masking.check import Check
from epsball.masking.checks.race.shares import MOST, share_of

CHECK = Check(
    name="black-box against white-box",
    question="Do attacks by queries, which see no gradient, break what plain PGD does not?",
    threshold=f"{MOST} of the examples; counted in the race against plain PGD",
    source="Athalye, Carlini and Wagner 2018, section 3.1",
    advice="attack by queries: 'square' with thousands of them, 'spsa'",
    ask=lambda trial: share_of(trial, "queries", "queries"),
)
