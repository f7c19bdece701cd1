"""The experiment of the student's tutorial runs as written."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "student.md"


def test_the_experiment_of_the_page_stays_in_the_ball(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out == "tensor(True)\n"
