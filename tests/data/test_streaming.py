"""Data of the hub that are streamed: the same pictures, nothing kept, and words where they cannot be reached."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from data.hub_server import hub
from data.test_sharded import LABELS, parquets, same
from epsball.data import load
from epsball.errors import InputError, MissingExtra

KEYS = [100 + k for k in range(10)]
STREAMED = "split=validation,streaming=yes,key=id,label=label"


@pytest.fixture
def layout(tmp_path):
    """Return a folder in the hub's layout: a split of two parquet files, with keys."""
    (tmp_path / "data").mkdir()
    parquets(tmp_path / "data", id=KEYS)
    for number in range(2):
        file = tmp_path / "data" / f"val-{number}.parquet"
        file.rename(file.with_name(f"validation-{number:05d}-of-00002.parquet"))
    return tmp_path


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / ".cache"))


def test_a_split_is_streamed_under_its_keys(layout):
    data = load(f"hf:{layout},{STREAMED}")
    same(data)
    assert data.positions.tolist() == KEYS
    assert data.split == "validation"
    same(pickle.loads(pickle.dumps(data)))
    assert data.fingerprint() == load(f"parquet:{layout}/data,key=id,label=label").fingerprint()
    assert not list((layout / ".cache").rglob("*.arrow"))


def test_without_keys_positions_count_from_zero(layout):
    data = load(f"hf:{layout},split=validation,streaming=yes,label=label")
    assert data.positions.tolist() == list(range(10))
    assert data.labels.tolist() == LABELS


def test_what_cannot_be_streamed_is_refused(layout, monkeypatch):
    with pytest.raises(InputError, match="split of .* 'train'"):
        load(f"hf:{layout},split=train,streaming=yes")
    with pytest.raises(InputError, match=r"key is 'id', but .* is not streamed"):
        load(f"hf:{layout},split=validation,key=id")
    with pytest.raises(InputError, match="streaming of hf: 'perhaps'"):
        load(f"hf:{layout},split=validation,streaming=perhaps")
    data = load(f"hf:{layout},{STREAMED}")
    (layout / "data" / "validation-00001-of-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"validation-00001-of-00002.parquet cannot be read \(FileNotFoundError"):
        data[:]
    text = layout / "text"
    text.mkdir()
    (text / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="stored as train.csv, and parquet files are streamed only"):
        load(f"hf:{text},split=train,streaming=yes")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'epsball\[hf\]'"):
        load(f"hf:{layout},{STREAMED}")


PROGRAM = f"""
from data.test_sharded import same
from epsball.data import load
data = load("hf:owner/name,{STREAMED}")
same(data)
assert data.positions.tolist() == {KEYS}
"""


@pytest.mark.slow
def test_files_on_a_hub_are_read_by_ranges(layout):
    with hub(layout, "owner/name") as (address, asked):
        home = layout / ".home"
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        own = {"HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": path}
        environment = os.environ | own | dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
        subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
    assert any("validation-00001" in path for _, path, _ in asked)
    assert not list(home.rglob("*.parquet"))
    assert not list(home.rglob("*.arrow"))
