"""Progress: at most 2 s of silence in a terminal, a line now and then elsewhere, nothing with --quiet."""

import io
import logging
import re
import sys
import time
from itertools import pairwise

import pytest

from epsball import progress
from epsball.cli import main
from epsball.cli import progress as shown
from epsball.cli.progress import LONGEST, Bars, Lines, Loudness, looking, showing
from epsball.cli.tracker import Tracker


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tracker(clock):
    return Tracker(clock)


def test_redirected_output_gets_a_line_after_2_s_and_then_at_growing_gaps_of_up_to_30_s(clock, tracker, capsys):
    lines, printed = Lines(tracker), []
    tracker.report("pgd", 0, 1000)
    for tick in range(2 * 300):  # Five minutes in which a unit is done every half second, without reports for a minute.
        clock.now += 0.5
        if not 200 < tick < 320:
            tracker.report("pgd", tick, 1000)
        lines.look()
        if capsys.readouterr().err:
            printed.append(tracker.seconds())
    gaps = [b - a for a, b in pairwise(printed)]
    assert printed[0] == 2.0
    assert all(a <= b for a, b in pairwise(gaps))
    assert gaps[0] <= 3.5
    assert gaps[-1] == max(gaps) == LONGEST


def test_a_terminal_is_drawn_anew_every_half_second_whatever_the_library_reports(clock, tracker, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = Bars(tracker)
    for tick in range(1, 20):
        clock.now += shown.REFRESH
        before = len(terminal.getvalue())
        bars.look()
        assert len(terminal.getvalue()) > before
        assert shown.REFRESH <= 2
        if tick == 8:
            tracker.report("examples audited", 0, 2000)
            tracker.report("pgd", 32, 1000)
    bars.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "working" in text
    assert "examples audited" in text
    assert "32 of 1000" in text
    assert "9 s" in text


def test_the_thread_looks_while_the_block_reports_nothing(tracker, monkeypatch):
    monkeypatch.setattr(shown, "REFRESH", 0.01)
    looks = []

    class Counting:
        def look(self):
            looks.append(1)

        def close(self):
            looks.append(0)

    with looking(Counting()):
        time.sleep(0.2)
    assert len(looks) > 3
    assert looks[-1] == 0


def test_time_left_follows_the_rate_of_late(clock, tracker):
    tracker.report("pgd", 0, 100)
    assert tracker.current()[0].left(clock.now) is None
    for done in range(1, 11):  # Ten cheap units, then units of 4 s.
        clock.now += 0.1
        tracker.report("pgd", done, 100)
    for done in range(11, 31):
        clock.now += 4
        tracker.report("pgd", done, 100)
    (task,) = tracker.current()
    assert task.left(clock.now) == pytest.approx(70 * 4)
    clock.now += 3
    assert task.left(clock.now) == pytest.approx(70 * 4 - 3)
    clock.now += 10_000
    assert task.left(clock.now) is None  # More time has passed than was left: nothing is known.
    assert tracker.line() == "pgd: 30 of 100 (2 h 48 min so far)"


def test_what_was_done_before_counts_for_no_rate(clock, tracker):
    tracker.report("examples audited", 9000, 10_000)
    clock.now += 20
    assert tracker.current()[0].left(clock.now) is None
    tracker.report("examples audited", 9100, 10_000)
    assert tracker.current()[0].left(clock.now) == pytest.approx(9 * 20)
    assert "about 3 min left" in tracker.line()


def test_finished_work_is_shown_no_more_and_begins_anew(clock, tracker):
    with progress.listening(tracker.report):
        with progress.doing("reading digits"):
            assert tracker.line().startswith("reading digits (")
        progress.report("pgd", 5, 5)
        assert tracker.line().startswith("working (")
        progress.report("pgd", 1, 5)
    assert tracker.current()[0].done == 1


@pytest.fixture
def slow_digits(monkeypatch):
    """Let an attack on the digits take 3 s by the display's clock."""
    monkeypatch.setattr(shown, "FIRST_LINE", 0.05)
    monkeypatch.setattr(shown, "REFRESH", 0.02)


def test_redirected_output_of_a_command_has_lines_and_quiet_is_silent(card, slow_digits, capsys):
    command = ["attack", str(card), "digits,first=100", "--ball", "linf:0.05", "--method", "pgd,steps=100,restarts=3"]
    assert main(command) == 0
    loud = capsys.readouterr()
    assert re.search(r"^progress: .*pgd-100: \d+ of 100", loud.err, re.MULTILINE)
    assert main([*command, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert quiet.out == loud.out


def test_verbose_shows_what_is_logged_and_the_logger_is_left_as_it_was(card, tmp_path, capsys):
    logger = logging.getLogger("epsball")
    before = logger.level, list(logger.handlers)
    command = [
        "audit",
        str(card),
        "digits,first=40",
        "--ball",
        "linf:0.05",
        "--attack",
        "fgsm",
        "--certificates",
        "none",
    ]
    command += ["--no-limit", "--out", str(tmp_path / "run")]
    assert main([*command, "--verbose"]) == 0
    assert "epsball.auditing.running.run: examples 0 to 39 are audited" in capsys.readouterr().err
    assert main(command) == 0
    assert "note: resumed: 40 of 40 examples were audited before" in capsys.readouterr().err
    assert (logger.level, logger.handlers) == before


def test_the_library_is_silent_by_default(capfd):
    with showing(Loudness(quiet=True)):
        logging.getLogger("epsball.auditing").info("nobody asked")
    logging.getLogger("epsball.auditing").info("nobody asked")
    progress.report("pgd", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_other_processes_of_a_training_show_no_progress(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with showing(Loudness()):
        assert progress._listener.get() is None
