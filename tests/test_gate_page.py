"""The page about the gate, to the letter: its files parse, its commands run, its tests pass."""

import re
import shlex

import pytest
import torch._dynamo  # noqa: F401  # all that cannot be imported twice, before pytest runs in this process
import yaml

from epsball import auditing, models, training  # noqa: F401
from epsball.cli import main
from pages import ROOT, blocks, commands

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs" / "gate.md").read_text()
YAML = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]


def test_the_workflow_and_the_hook_call_the_gate():
    workflow, hooks = YAML
    steps = workflow["jobs"]["gate"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    (hook,) = hooks["repos"][0]["hooks"]
    assert re.search(hook["files"], "trained/best.json")
    assert not re.search(hook["files"], "README.md")
    called = [step["run"] for step in steps if step.get("run", "").startswith("epsball")]
    written = set(re.findall(r"gate\.(?:xml|md|sarif)", called[0]))
    assert {file for step in steps for file in re.findall(r"hashFiles\('(.*?)'\)", str(step))} < written


@pytest.mark.slow
def test_what_the_page_says_runs(pytester, monkeypatch, capsys):
    monkeypatch.chdir(pytester.path)
    ((_, toml),) = re.findall(r"^```toml (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (pytester.path / "epsball.toml").write_text(toml)
    first = [line for line in commands(PAGE, "epsball") if "MODEL" not in line]
    of_ci = [YAML[0]["jobs"]["gate"]["steps"][3]["run"], YAML[1]["repos"][0]["hooks"][0]["entry"]]
    for line in [*first, *(line.removeprefix("epsball ") for line in of_ci)]:
        assert main(shlex.split(line)) == 0, line
    assert {"gate.xml", "gate.md", "gate.sarif"} <= {file.name for file in pytester.path.iterdir()}
    capsys.readouterr()
    ((asked, said),) = re.findall(r"^    \$ epsball (.*?)\n    error: (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert main(shlex.split(asked)) == 2
    assert " ".join(said.split()) in " ".join(capsys.readouterr().err.split())
    ((_, file, tests),) = blocks(PAGE)
    (pytester.path / file).write_text(tests)
    options = ("-p", "no:epsball", "-p", "epsball.pytest_plugin", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=2)
