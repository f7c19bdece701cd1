"""What the ledger holds of passes that are entered late, and of margins without bounds."""

import sys

import torch

from epsball.attacks.engine.pass_counts import PassCounter


def test_a_class_that_is_masked_in_the_ball_leaves_a_margin_of_minus_infinity():
    counter = PassCounter(torch.arange(3), "search")
    owners = torch.arange(3)
    counter.passes(owners, 1, 0)
    counter.margins(owners, torch.tensor([-torch.inf, torch.nan, 2.0], dtype=torch.float64))
    assert counter.ledger().margin.tolist() == [-torch.inf, torch.inf, 2.0]


def test_an_interruption_while_passes_are_entered_counts_them_once():
    """Wherever among the lines of `_enter` it comes."""
    lines = 0
    while True:
        counter, owners = PassCounter(torch.arange(3), "search"), torch.tensor([0, 2])
        for _ in range(10):
            counter.passes(owners, 2, 1)
        if not _interrupted(counter, lines):
            break
        assert counter.ledger().passes == (40, 20)
        assert counter.spent.tolist() == [30, 0, 30]
        lines += 1
    assert lines > 1


def _interrupted(counter: PassCounter, lines: int) -> bool:
    """Ask for what is spent, interrupted before a line of `_enter` after so many; return whether that came."""
    seen = 0

    def trace(frame, event, arg):
        nonlocal seen
        if frame.f_code.co_name != "_enter" or not frame.f_code.co_filename.endswith("pass_counts.py"):
            return trace
        if event == "line":
            seen += 1
            if seen > lines:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        _ = counter.spent
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
