"""The page without a browser: every folder has one, what was not measured says so, and nothing becomes markup."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pytest

import epsball as eb
from epsball.errors import InputError
from report.folders import HOSTILE, write_run
from report.parsed import parsed, payload

MIXED = ["certified", "broken", "undecided", "misclassified", "invalid"] * 4
OLD = Path(__file__).parents[1] / "auditing" / "run_of_0_1_0"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Return the folder of a real audit."""
    import torch

    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.rand(24, 1, 4, 4, generator=generator)
    y = network(x).argmax(1)
    y[::7] = (y[::7] + 1) % 3
    folder = tmp_path_factory.mktemp("page") / "run"
    eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", "0.03"), attack="pgd,steps=5", limit=False, folder=folder)
    return folder


def test_the_page_of_an_audit_has_its_numbers(audited):
    page, chain = parsed(audited), json.loads((audited / "chain.json").read_text())
    for verdict, count in chain["verdicts"].items():
        assert f"{count} {verdict}" in page.said
    for place in chain["places"]:
        assert place in page.said
    assert "accuracy under attack" in page.said
    assert json.loads((audited / "manifest.json").read_text())
    assert "verify-run run --manifest sha256:" in page.said
    meta, columns = payload(page)
    evidence = eb.auditing.comparing.RecordedRun.read(audited).table
    assert (columns["index"] - 1).tolist() == evidence["index"].to_pylist()
    words = next(column["words"] for column in meta["columns"] if column["name"] == "verdict")
    assert [words[code - 1] for code in columns["verdict"]] == evidence["verdict"].to_pylist()
    margins = evidence["natural.margin"].to_numpy()
    np.testing.assert_allclose(columns["natural"], margins, rtol=1e-6)
    assert meta["pictures"]


def test_what_witnesses_change_is_said(audited):
    meta, columns = payload(parsed(audited))
    sizes = next(column["words"] for column in meta["columns"] if column["name"] == "size")
    broken = columns["size"] > 0
    assert broken.any()
    assert sizes == ["0.03"]
    assert (columns["changed"][broken] - 1 <= 16).all()
    assert (columns["witness"][broken] > 0).all()


def test_the_policy_names_style_and_script_by_hash_and_nothing_else(audited):
    page = parsed(audited)
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digests = {
        name: base64.b64encode(hashlib.sha256(page.scripts[name].encode()).digest()).decode()
        for name in ("style", "script")
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'; "
        "img-src data:; base-uri 'none'"
    )


def test_no_attribute_styles_or_runs_anything(audited):
    for _, attributes in parsed(audited).tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert not re.match(r"(?i)\s*(https?|file|javascript):", attributes.get("href") or "")


def test_the_script_is_short_and_evaluates_nothing():
    script = (Path(eb.report.__file__).parent / "static" / "page.js").read_text()
    assert len(script.splitlines()) <= 400
    assert not re.search(r"\beval\b|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)


def test_every_figure_has_a_table_and_every_term_a_line(audited):
    page = parsed(audited)
    figures = [a for tag, a in page.tags if tag == "svg" and a.get("class") == "chart"]
    tables = [a for tag, a in page.tags if tag == "details" and a.get("class") == "twin"]
    assert 3 <= len(figures) <= len(tables)
    ids = {a["id"] for _, a in page.tags if "id" in a}
    links = {a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"].startswith("#") and "=" not in a["href"]}
    assert links <= ids


def test_what_was_not_measured_says_so(tmp_path):
    page = parsed(write_run(tmp_path / "run", MIXED, certificates=False))
    for reason in (
        "no diagnosis in this run",
        "no certificate in this run",
        "the optimal risk of the data was not computed in this run",
        "no landscape lies in the run's folder",
        "the model was compared with no other one",
        "audited within one ball",
        "the run has no ledger that can be read",
    ):
        assert f"Not measured: {reason}" in page.said or reason in page.said
    assert page.said.count("Not measured:") >= 6
    assert "100%" not in page.said.split("Do next")[0].split("The chain")[0]


def test_a_run_that_goes_on_is_partial(tmp_path):
    page = parsed(write_run(tmp_path / "run", MIXED, finished=False))
    assert "Partial." in page.said
    assert "20 of 20 examples so far" in page.said
    empty = tmp_path / "begun"
    empty.mkdir()
    shutil.copy(tmp_path / "run" / "run.json", empty)
    page = parsed(empty)
    assert "No example is finished: nothing is known yet." in page.said


@pytest.mark.parametrize("verdicts", [[], ["invalid"] * 5, ["broken"] * 3, ["certified"], ["misclassified"] * 4])
def test_extreme_runs_have_a_page(tmp_path, verdicts):
    page = parsed(write_run(tmp_path / "run", verdicts))
    headline = page.said.split("Model")[0]
    expected = {"": "nothing is known yet", "invalid": "no verdict on any of 5", "certified": "all of these are proved"}
    kind = verdicts[0] if verdicts else ""
    assert expected.get(kind, "nothing stands") in headline


def test_one_class_and_a_thousand(tmp_path):
    assert "1 of 2 examples" in parsed(write_run(tmp_path / "one", ["certified", "broken"], labels=[0, 0])).said
    names = [f"class number {k}" for k in range(1000)]
    folder = write_run(tmp_path / "many", ["broken"] * 1000, labels=range(1000), names=names)
    page = parsed(folder)
    assert "Drawn are the 12 worst of 1,000 classes" in page.said
    meta, columns = payload(page)
    assert next(column["words"] for column in meta["columns"] if column["name"] == "label") == names
    assert (columns["label"] - 1).tolist() == list(range(1000))


def test_margins_that_are_not_numbers(tmp_path):
    margins = [np.nan, np.inf, -np.inf, None, 0.0]
    page = parsed(write_run(tmp_path / "run", MIXED[:5], margins=margins))
    _, columns = payload(page)
    assert np.isnan(columns["natural"][[0, 3]]).all()
    assert columns["natural"][1] == np.inf


def test_hostile_names_are_text(tmp_path):
    assert len(HOSTILE) == 40
    harmless = parsed(write_run(tmp_path / "a", ["broken"] * 40, labels=range(40), names=[str(k) for k in range(40)]))
    folder = write_run(tmp_path / "b", ["broken"] * 40, labels=range(40), names=list(HOSTILE))
    page = parsed(folder)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    meta, _ = payload(page)
    assert next(column["words"] for column in meta["columns"] if column["name"] == "label") == list(HOSTILE)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.said


def test_a_run_of_0_1_0_has_a_page():
    page = parsed(OLD)
    assert "Partial." in page.said
    assert "not recorded" in page.said


@pytest.mark.parametrize("name", ["chain.json", "about.json", "witnesses-00000.safetensors", "diagnosis.json"])
def test_damaged_files_are_named_or_missing(tmp_path, name):
    folder = write_run(tmp_path / "run", MIXED)
    (folder / name).write_bytes(b"{ not a document")
    page = parsed(folder)
    assert "20 examples" in page.said
    if name.endswith(".json"):
        assert f"Damaged. {name} cannot be read" in page.said


def test_missing_pictures_are_named(tmp_path):
    folder = write_run(tmp_path / "run", MIXED)
    (folder / "witnesses-00000.safetensors").unlink()
    page = parsed(folder)
    assert "In pictures: 0 of 20" in page.said
    assert payload(page)[0]["pictures"] == []


def test_what_is_no_run_is_refused(tmp_path):
    for folder, said in (
        (tmp_path / "nothing", "does not hold a run"),
        (tmp_path, "neither a run nor folders of runs"),
    ):
        with pytest.raises(InputError, match=said):
            eb.page(folder)
    folder = write_run(tmp_path / "run", MIXED)
    (folder / "manifest.json").write_text(json.dumps({"schema": 99, "files": {}}))
    with pytest.raises(InputError, match="schema 99"):
        eb.page(folder)


def test_two_runs_name_what_changed(tmp_path):
    first = write_run(tmp_path / "first", ["certified"] * 6 + ["undecided"] * 6)
    second = write_run(tmp_path / "second", ["broken"] * 2 + ["certified"] * 8 + ["misclassified"] * 2)
    page = parsed(first, second)
    assert "From first to second: 4 examples that stood no longer do, 4 are newly certified." in page.said
    meta, columns = payload(page)
    words = next(column["words"] for column in meta["columns"] if column["name"] == "change")
    change = [words[code - 1] for code in columns["change"]]
    assert change == ["newly broken"] * 2 + ["same"] * 4 + ["newly certified"] * 4 + ["newly broken"] * 2
    moved = shutil.copytree(second, tmp_path / "elsewhere" / "first")
    assert "From first to first" not in parsed(first, moved).said
    assert "to elsewhere/first: 4 examples" in parsed(first, moved).said
    with pytest.raises(InputError, match="given twice"):
        eb.page(first, first)
    with pytest.raises(InputError, match="another ball"):
        eb.page(first, write_run(tmp_path / "other", MIXED, identity={"ball": "linf:1/255"}))


def test_pictures_follow_the_rule(tmp_path):
    n = 1000
    verdicts = ["broken"] * 600 + ["certified"] * 400
    folder = write_run(tmp_path / "run", verdicts, margins=np.linspace(1, 2, n))
    meta, _ = payload(parsed(folder))
    assert len(meta["pictures"]) == 380
    asked, _ = payload(parsed(folder, pictures=[599]))
    assert asked["pictures"][0]["index"] == 599


def test_inputs_that_are_no_images_are_bars(tmp_path):
    meta, _ = payload(parsed(write_run(tmp_path / "run", ["broken"] * 2, shape=(7,))))
    assert [(p["kind"], p["shape"]) for p in meta["pictures"]] == [("bars", [7])] * 2
    meta, _ = payload(parsed(write_run(tmp_path / "long", ["broken"], shape=(5, 30, 30))))
    assert [(p["kind"], p["shape"], len(p["places"])) for p in meta["pictures"]] == [("bars", [256], 256)]
    meta, _ = payload(parsed(write_run(tmp_path / "large", ["broken"], shape=(3, 200, 150))))
    assert [(p["kind"], p["shape"], p["block"]) for p in meta["pictures"]] == [("image", [67, 50, 3], 3)]


def test_columns_of_unknown_links_do_no_harm(tmp_path):
    more = {"new.column": pyarrow.array([1] * 20)}
    assert "20 examples" in parsed(write_run(tmp_path / "run", MIXED, **more)).said
