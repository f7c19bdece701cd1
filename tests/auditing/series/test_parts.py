"""Several balls in parts: the same bytes as one call, whatever K and N."""

import hashlib
import json

import pytest

import epsball as eb
from auditing.cases import case
from epsball.auditing.series import by_shard
from epsball.errors import InputError

BALLS = [eb.Ball("linf", radius) for radius in ("0.03", "0.08")]
OPTIONS = {"shard_size": 8, "attack": "pgd,steps=3", "limit": False, "certificates": "crown"}


def content(folder):
    """Return the hash of every file but times, locks and what a machine says of itself."""
    own = (".lock", ".hashes", "timing-", "about")
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(own))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def audited(folder, **options):
    classifier, x, y = case(20)
    return eb.audit(classifier, (x, y), BALLS, folder=folder, **{**OPTIONS, **options})


def merged(tmp_path, count, **options):
    """Return the audit of parts that were made alone, and joined."""
    parts = [tmp_path / f"part{k}-of-{count}" for k in range(1, count + 1)]
    for k, part in enumerate(parts, 1):
        audited(part, part=f"{k}/{count}", **options)
    joined = eb.merge(parts, tmp_path / f"merged-{count}")
    assert all(run.missing == () for run in joined.runs)
    return audited(joined.folder, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return audited(tmp_path_factory.mktemp("series") / "whole")


def test_parts_within_several_balls_merged_are_the_whole_runs(whole, tmp_path):
    found = merged(tmp_path, 3)
    assert sum(map(sum, (found.taken(audit) for audit in found.audits))) > 0
    assert found.manifest == whole.manifest
    assert content(found.folder) == content(whole.folder)
    assert eb.verify_run(found.folder).holds


def test_what_an_earlier_diagnosis_broke_is_taken_over_as_in_one_call(tmp_path, monkeypatch):
    # Hardly any attack: the diagnosis breaks most, after the last shard.
    options = {"attack": "pgd,steps=1,restarts=1,step_size=1e-9", "diagnosis": True, "certificates": "none"}
    alone = audited(tmp_path / "alone", **options)
    removed = []
    remove = by_shard._remove
    monkeypatch.setattr(by_shard, "_remove", lambda *args: (removed.append(args[1]), remove(*args)))
    found = merged(tmp_path, 3, **options)
    assert sum(alone.audits[0].chain.further.values()) > 0
    assert removed
    assert found.manifest == alone.manifest
    assert content(found.folder) == content(alone.folder)


def test_a_part_says_what_it_is_and_goes_on_after_a_kill(whole, tmp_path):
    first = audited(tmp_path / "a", part="1/2")
    assert "part 1/2: this is about its 12 examples" in str(first)
    assert not (tmp_path / "a" / "runs.json").exists()
    for run in (tmp_path / "a").iterdir():
        (run / "evidence-00002.arrow").unlink()
    audited(tmp_path / "a", part="1/2")
    audited(tmp_path / "a", part="2/2")  # into one folder, as on a shared disk
    found = audited(tmp_path / "a")
    assert content(found.folder) == content(whole.folder)
    record = json.loads((tmp_path / "a" / "linf-0.03" / "run.json").read_text())
    assert all("sha256:" in text for text in record["identity"]["links"]["taken"]["runs"])


def test_parts_of_one_ball_and_of_several_are_not_joined(tmp_path):
    audited(tmp_path / "a", part="1/2")
    classifier, x, y = case(20)
    eb.audit(classifier, (x, y), BALLS[0], folder=tmp_path / "b", part="2/2", **OPTIONS)
    with pytest.raises(InputError, match="does not hold runs within several balls"):
        eb.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    with pytest.raises(InputError, match="holds one run"):
        eb.merge([tmp_path / "a"], tmp_path / "b")


def test_a_part_without_shards_says_so(tmp_path):
    with pytest.raises(InputError, match="has no shards"):
        audited(tmp_path / "a", part="9/9")
