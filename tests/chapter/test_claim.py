"""What a decision may be called, by the size of the run."""

import pytest

from epsball.chapter.claim import Decision


@pytest.mark.parametrize(
    ("verdict", "size", "stated"),
    [
        ("reproduced", "fast", "pattern"),
        ("reproduced", "default", "reproduced"),
        ("reproduced", "full", "reproduced"),
        ("differs", "fast", "differs"),
        ("false as stated", "fast", "false as stated"),
        ("misprinted", "fast", "misprinted"),
    ],
)
def test_a_small_run_reproduces_no_published_value(verdict, size, stated):
    decision = Decision(verdict=verdict, sentence="so much").at(size)
    assert (decision.verdict, decision.sentence) == (stated, "so much")
