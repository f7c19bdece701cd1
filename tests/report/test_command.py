"""``epsball report``, and the page that an audit ends with."""

import pytest

from epsball import report
from epsball.cli import main
from report.folders import write_run
from report.parsed import Parsed

AUDIT = ["audit", "mlp", "digits,split=test,first=6", "--ball", "linf:0.01", "--attack", "fgsm", "--no-limit"]
OPTIONS = ["--certificates", "none", "--quiet"]


def last_line(capsys):
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_an_audit_ends_with_its_page_and_then_the_manifest(tmp_path, capsys):
    assert main([*AUDIT, *OPTIONS, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out.strip().splitlines()
    assert said[-1].startswith("manifest: sha256:")
    assert said[-2] == f"page: {tmp_path / 'run' / 'report.html'}"
    page = Parsed((tmp_path / "run" / "report.html").read_text())
    assert "epsball audit mlp digits,split=test,first=6 --ball linf:0.01" in page.said
    assert main(["verify-run", str(tmp_path / "run")]) == 0


def test_without_a_page_on_demand_and_where_it_fails(tmp_path, capsys, monkeypatch):
    assert main([*AUDIT, *OPTIONS, "--no-report", "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / "report.html").exists()

    def fails(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(report, "page", fails)
    assert main([*AUDIT, *OPTIONS, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip().splitlines()[-1].startswith("manifest: sha256:")
    assert "the page could not be made (RuntimeError: no room); the run is whole" in printed.err


def test_report_writes_where_it_is_told(tmp_path, capsys):
    first = write_run(tmp_path / "first", ["certified"] * 4)
    second = write_run(tmp_path / "second", ["broken"] * 4)
    assert main(["report", str(first)]) == 0
    assert last_line(capsys).startswith(f"page: {first / 'report.html'} (")
    assert main(["report", str(first), str(second), "--out", str(tmp_path / "pair.html"), "--pictures", "1,3"]) == 0
    assert "What changed" in (tmp_path / "pair.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--pictures", "one"], "name positions"), ([], "does not hold a run")]
)
def test_bad_input(tmp_path, capsys, arguments, said):
    folder = write_run(tmp_path / "run", ["broken"]) if arguments else tmp_path / "nothing"
    assert main(["report", str(folder), *arguments]) == 2
    assert said in capsys.readouterr().err
