"""The plugin of pytest: a test fails with the gate's text; importing it costs nothing; processes give one answer."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401  # all that cannot be imported twice, before pytest runs in this process

from epsball import auditing, models  # noqa: F401
from epsball.cli import main

pytest_plugins = ["pytester"]

PROJECT = """
import torch

def half_plane(near):
    gap = torch.where(torch.arange(16) < near, 0.01, 0.3)
    x = torch.rand(16, 2, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.1
    x[:, 1] = x[:, 0] + gap
    return x, torch.ones(16, dtype=torch.int64)

def test_robust(robustness):
    assert robustness.gate(torch.nn.Flatten(), half_plane(0), ball="linf:0.02", min_certified="0.9").passed

def test_not_robust(robustness):
    robustness.gate(torch.nn.Flatten(), half_plane(16), ball="linf:0.02", min_certified=0.9)
    raise AssertionError("never reached")

def test_refused(robustness):
    robustness.gate(torch.nn.Flatten(), half_plane(0), min_certified=0.9)
"""
# Installed packages bring the plugin by its entry point; this checkout's is used.
OURS = ("-p", "no:epsball", "-p", "epsball.pytest_plugin", "-p", "no:cacheprovider")


def test_a_test_fails_with_the_text_of_the_gate(pytester):
    pytester.makepyfile(PROJECT)
    done = pytester.runpytest_inprocess(*OURS, "--junit-xml=report.xml")
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["*min certified*0.9*fail*", "fail: about these 16 examples*"])
    done.stdout.fnmatch_lines(["*ball is missing: the perturbation set*"])
    done.stdout.no_fnmatch_line("*never reached*")
    assert '<property name="robustness" value="pass"' in (pytester.path / "report.xml").read_text()


@pytest.mark.slow
def test_processes_of_xdist_give_the_same_outcomes(pytester):
    pytester.makepyfile(PROJECT)
    pytester.runpytest_subprocess(*OURS, "-n", "2").assert_outcomes(passed=1, failed=2)


def test_importing_the_plugin_costs_nothing():
    code = "import sys, epsball.pytest_plugin; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'cyclopts')))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_entry_point_names_the_plugin():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    plugin = import_module(project["entry-points"]["pytest11"]["epsball"])
    assert plugin.robustness.__doc__


def test_a_model_may_be_a_text_and_a_lock_gives_what_is_not_said(pytester, monkeypatch):
    monkeypatch.chdir(pytester.path)
    pytester.makepyfile(
        """
        def test_it(robustness):
            robustness.gate("mlp,hidden=8", "digits,first=16", lock="robustness.lock")
        """
    )
    pytester.runpytest_inprocess(*OURS).stdout.fnmatch_lines(["*robustness.lock cannot be read*"])
    command = ["gate", "mlp,hidden=8", "digits,first=16", "--ball", "linf:0.001", "--min-certified", "0.99"]
    assert main([*command, "--write-lock"]) == 10
    pytester.runpytest_inprocess(*OURS).stdout.fnmatch_lines(["fail: about these 16 examples*"])
