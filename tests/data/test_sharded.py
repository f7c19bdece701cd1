"""Tar and parquet shards: the same pictures as arrays, read at their place, under their keys."""

import io
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from epsball.data import load
from epsball.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), np.uint8)
LABELS = [k % 3 for k in range(10)]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def tars(folder, key=lambda k: f"{100 + k:06d}"):
    for shard, some in enumerate((range(6), range(6, 10))):
        members = [
            (f"{key(k)}.{kind}", content)
            for k in some
            for kind, content in (("png", png(PIXELS[k])), ("cls", str(LABELS[k]).encode()), ("json", b"{}"))
        ]
        tar(folder / f"val-{shard:02d}.tar", members)
    return folder


def parquets(folder, image="image", group=4, **columns):
    for shard, some in enumerate((slice(0, 6), slice(6, 10))):
        pictures = [{"bytes": png(pixels), "path": None} for pixels in PIXELS[some]]
        more = {name: values[some] for name, values in columns.items()}
        table = pa.table({image: pictures, "label": LABELS[some], **more})
        pyarrow.parquet.write_table(table, folder / f"val-{shard}.parquet", row_group_size=group)
    return folder


def same(data):
    x, y = data[:]
    assert x.equal(torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert y.tolist() == LABELS
    mixed = torch.tensor([9, 0, 5, 5, 6])
    assert data.take(mixed)[0].equal(x[mixed])
    assert pickle.loads(pickle.dumps(data))[3:8][0].equal(x[3:8])
    assert data.classes == 3


@pytest.mark.parametrize("pattern", ["", "/val-{00..01}.tar", "/val-*.tar"])
def test_tars_give_their_pictures_under_their_keys(pattern, tmp_path):
    data = load(f"webdataset:{tars(tmp_path)}{pattern}")
    same(data)
    assert data.positions.tolist() == list(range(100, 110))
    assert data.only([3]).positions.tolist() == [103]


def test_keys_that_are_no_numbers_are_counted(tmp_path):
    data = load(f"webdataset:{tars(tmp_path, key=lambda k: f'a/n{k}')},image=.png")
    same(data)
    assert data.positions.tolist() == list(range(10))
    assert "not whole numbers" in data.notes[0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.png", b""), ("2.cls", b"1")], "key 1 has png"),
        ([("1.png", b"x"), ("1.cls", b"one")], "label is a whole number"),
        ([("1.png", b"x"), ("1.cls", b"1")], "cannot be decoded"),
        ([("1.png", png(PIXELS[0])), ("1.cls", b"1")] * 2, "key 1 occurs twice"),
        ([("readme", b"1")], "holds no example"),
    ],
)
def test_tars_with_faults_are_refused_by_name(members, message, tmp_path):
    # An example's files follow each other: a second file of a key in between begins another example.
    tar(tmp_path / "a.tar", members[:2])
    tar(tmp_path / "b.tar", members[2:])
    with pytest.raises(InputError, match=message):
        load(f"webdataset:{tmp_path}")


def test_files_that_are_missing_or_cut_off_are_named(tmp_path):
    tars(tmp_path)
    with pytest.raises(InputError, match=r"lacks 1 .*val-02.tar"):
        load(f"webdataset:{tmp_path}/val-{{00..02}}.tar")
    with pytest.raises(InputError, match="names no file"):
        load(f"webdataset:{tmp_path}/train-*.tar")
    with pytest.raises(InputError, match=r"no \.parquet files"):
        load(f"parquet:{tmp_path}")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a whole parquet file"):
        load(f"parquet:{tmp_path}")
    (tmp_path / "c.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(InputError, match="not a whole tar file"):
        load(f"webdataset:{tmp_path}/c.tar")


@pytest.mark.parametrize("group", [1, 4, 100])
def test_parquet_gives_its_pictures(group, tmp_path):
    same(load(f"parquet:{parquets(tmp_path, group=group)}"))


def test_columns_of_parquet_are_found_or_asked_for(tmp_path):
    keys = list(range(50, 60))
    parquets(tmp_path, image="picture", id=keys)
    with pytest.raises(InputError, match="2 columns that may be the label"):
        load(f"parquet:{tmp_path}")
    data = load(f"parquet:{tmp_path},key=id")
    same(data)
    assert data.positions.tolist() == keys
    same(load(f"parquet:{tmp_path},label=label,image=picture"))
    with pytest.raises(InputError, match="0 columns that may be the image"):
        load(f"parquet:{tmp_path},image=id,label=label")
