"""Margin losses against cross-entropy."""

from epsball.masking.check import Check
from epsball.masking.checks.race.shares import MOST, share_of

CHECK = Check(
    name="margin against cross-entropy",
    question="Do losses of differences of logits break what PGD on the cross-entropy does not?",
    threshold=f"{MOST} of the examples; counted in the race against plain PGD",
    source="Carlini and Wagner 2017; Croce and Hein 2020",
    advice="attack with 'apgd-t' or 'ensemble', or with a temperature",
    ask=lambda trial: share_of(trial, "margin", "gradients of the margin"),
)
