"""Audits on workers and in parts: the same bytes, whoever did which shard."""

import hashlib

import pyarrow as pa
import pytest

import epsball as eb
from auditing.cases import case
from epsball.auditing.folder import RunFolder
from epsball.auditing.running import Part
from epsball.errors import InputError

BALL = eb.Ball("linf", "0.02")
OPTIONS = {"attack": "pgd,steps=3", "shard_size": 8, "limit": False}


def content(folder):
    """Return the hash of every file but times and locks."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith((".", "timing-")))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def audited(folder, **options):
    classifier, x, y = case(30)
    return eb.audit(classifier, (x, y), BALL, **{**OPTIONS, "folder": folder, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return audited(folder, workers=1), content(folder)


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one_and_say_when(whole, tmp_path):
    alone, expected = whole
    both = audited(tmp_path, workers=2)
    assert content(tmp_path) == expected
    assert both.manifest == alone.manifest
    times = [pa.ipc.open_file(file.read_bytes()).read_all() for file in sorted(tmp_path.glob("timing-*"))]
    assert [table["shard"].to_pylist() for table in times] == [[0], [1], [2], [3]]
    assert {table["tries"][0].as_py() for table in times} == {1}
    assert {table["engine"][0].as_py() for table in times} == {"processes"}
    assert "to" in eb.export(both).fields["date"].text


@pytest.mark.slow
def test_workers_without_a_folder_find_the_same(whole):
    found = audited(None, workers=2)
    assert found.evidence.equals(whole[0].evidence)
    assert found.ledger.equals(whole[0].ledger)
    assert found.witnesses.x_adv.equal(whole[0].witnesses.x_adv)


def test_parts_merged_are_the_whole_run_and_a_missing_one_is_named(tmp_path):
    alone = audited(tmp_path / "alone")
    parts = [audited(tmp_path / f"part{k}", part=f"{k}/3") for k in (1, 2, 3)]
    assert [part.chain.total for part in parts] == [14, 8, 8]
    assert "part 2/3: this is about its 8 examples" in str(parts[1])
    assert not (tmp_path / "part1" / "chain.json").exists()
    folders = [part.folder for part in parts]
    some = eb.merge(folders[::2], tmp_path / "merged")
    assert (some.shards, some.missing) == ((0, 2, 3), (1,))
    assert "missing: 1" in str(some)
    assert eb.merge(folders, tmp_path / "merged").missing == ()
    merged = audited(tmp_path / "merged")
    assert merged.manifest == alone.manifest
    assert content(tmp_path / "merged") == content(tmp_path / "alone")


def test_parts_of_other_runs_and_parts_that_differ_are_refused(tmp_path):
    for name, options in {"a": {}, "b": {"attack": "pgd,steps=4"}, "c": {}}.items():
        audited(tmp_path / name, part="1/4", **options)
    with pytest.raises(InputError, match="another audit.*steps: there 3, now 4"):
        eb.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    with pytest.raises(InputError, match="does not hold a part"):
        eb.merge([tmp_path], tmp_path / "merged")
    ledger = tmp_path / "c" / "ledger-00000.arrow"
    ledger.write_bytes(ledger.read_bytes() + b"0")
    with pytest.raises(InputError, match="shard 0 is not the same.*ledger-00000"):
        eb.merge([tmp_path / "a", tmp_path / "c"], tmp_path / "merged")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "torchrun", "slurm"])
def test_parts_that_do_not_exist_are_refused(text, tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="K/N|count from 1"):
        audited(tmp_path, part=text)
    with pytest.raises(InputError, match="no folder"):
        audited(None, part="1/3")


def test_a_part_without_shards_says_how_many_parts_there_may_be():
    with pytest.raises(InputError, match="part 3/4 has nothing to do: the data have 2 shards"):
        Part(number=3, count=4).of([0, 1])


def test_a_part_is_what_slurm_and_torchrun_say():
    slurm = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "5"}
    assert str(Part.parse("slurm", slurm | {"SLURM_ARRAY_TASK_STEP": "2"})) == "3/5"
    assert str(Part.parse("torchrun", {"RANK": "3", "WORLD_SIZE": "4"})) == "4/4"
    every = [Part(number=k, count=3).of(range(8)) for k in (1, 2, 3)]
    assert sorted(number for part in every for number in part) == list(range(8))


def test_certificates_that_are_not_kept_are_not_replayable(tmp_path):
    found = audited(tmp_path, keep_certificates="none")
    assert not list(tmp_path.glob("certificates/*"))
    assert found.chain.verdicts["certified"]
    assert not any(found.evidence["certificate.replayable"].to_pylist())
    fields = eb.export(found).fields
    assert fields["certified accuracy"].value.count == found.chain.verdicts["certified"]
    assert fields["replayable certificates"].value.count == 0
    with pytest.raises(InputError, match="kept certificates"):
        audited(tmp_path)


def test_a_folder_is_audited_into_by_one_process_at_a_time(whole, tmp_path):
    with whole_folder(whole).locked(), pytest.raises(InputError, match="another process"):
        audited(whole[0].folder)


def whole_folder(whole):
    import json

    return RunFolder(whole[0].folder, json.loads((whole[0].folder / "run.json").read_text()))
