import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from epsball.data import load
from epsball.errors import InputError, MissingExtra

datasets = pytest.importorskip("datasets")

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 0, 1, 2]
NAMES = ["cat", "dog", "emu"]


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def source(pixels: np.ndarray = RGB, **columns: object) -> "datasets.Dataset":
    content = {"image": [Image.fromarray(p) for p in pixels], "label": LABELS[: len(pixels)], **columns}
    data = datasets.Dataset.from_dict(content)
    return data.cast_column("image", datasets.Image()).cast_column("label", datasets.ClassLabel(names=NAMES))


def check(text: str, split: str | None) -> None:
    data = load(text)
    x, y = data[:]
    assert torch.equal(x, torch.from_numpy(RGB).permute(0, 3, 1, 2))
    assert y.tolist() == LABELS
    assert (data.shape, data.classes, data.class_names, data.split) == ((3, 5, 4), 3, tuple(NAMES), split)
    assert torch.equal(data.take([4, 0, 4])[0], x[[4, 0, 4]])


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    source().save_to_disk(tmp_path / "one")
    check(f"hf:{tmp_path / 'one'}", None)
    datasets.DatasetDict(train=source(RGB[:2]), test=source()).save_to_disk(tmp_path / "parts")
    check(f"hf:{tmp_path / 'parts'}", "test")
    assert len(load(f"hf:{tmp_path / 'parts'}", split="train")) == 2
    with pytest.raises(InputError, match=r"unknown split of .*: 'val'; known: train, test\."):
        load(f"hf:{tmp_path / 'parts'},split=val")
    with pytest.raises(InputError, match="has no parts, but split=test was given"):
        load(f"hf:{tmp_path / 'one'},split=test")


def test_folders_of_parquet_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    source().to_parquet(folder / "test-00000-of-00001.parquet")
    source(RGB[:3]).to_parquet(folder / "train-00000-of-00001.parquet")
    check(f"hf:{folder}", "test")
    assert len(load(f"hf:{folder},split=train,first=2")) == 2


def test_names_go_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *words, revision: asked.append(words) or datasets.DatasetDict(test=source())
    )
    check("hf:owner/name", "test")
    load("hf:owner/name,config=small")
    assert asked == [("owner/name", None), ("owner/name", "small")]


def test_what_the_hub_answers_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **named) -> None:
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(InputError, match=r"'hf:owner/name' cannot be opened \(ConnectionError: no route\)"):
        load("hf:owner/name")


def test_columns_are_found_by_type_or_named(tmp_path: Path) -> None:
    two = source(small=[Image.fromarray(p) for p in RGB]).cast_column("small", datasets.Image())
    two = two.add_column("weight", list(range(6)))
    two.save_to_disk(tmp_path / "two")
    with pytest.raises(InputError, match=r"has 2 columns that may be the image; say which with image=COLUMN\. "):
        load(f"hf:{tmp_path / 'two'}")
    data = load(f"hf:{tmp_path / 'two'},image=small,label=weight")
    assert data[:][1].tolist() == list(range(6))
    assert (data.classes, data.class_names) == (6, None)
    with pytest.raises(InputError, match=r"column 'weight' .* is of type int64; the image must be of type Image"):
        load(f"hf:{tmp_path / 'two'},image=weight")
    with pytest.raises(InputError, match=r"unknown column of .*: 'imag'; .* Did you mean 'image'\?"):
        load(f"hf:{tmp_path / 'two'},image=imag")
    source().remove_columns("image").save_to_disk(tmp_path / "none")
    with pytest.raises(InputError, match=r"has 0 columns that may be the image; .* label \(ClassLabel\)"):
        load(f"hf:{tmp_path / 'none'}")


def test_a_lone_integer_column_is_the_label(tmp_path: Path) -> None:
    plain = source().cast_column("label", datasets.Value("int32"))
    plain.save_to_disk(tmp_path / "plain")
    data = load(f"hf:{tmp_path / 'plain'}")
    assert (data[:][1].tolist(), data.classes, data.class_names) == (LABELS, 3, None)


def test_unlabelled_rows_and_odd_pictures_are_named(tmp_path: Path) -> None:
    unlabelled = source().remove_columns("label").add_column("label", [-1] * 6)
    unlabelled.save_to_disk(tmp_path / "unlabelled")
    with pytest.raises(InputError, match=r"column 'label' .* label -1 at row 0"):
        load(f"hf:{tmp_path / 'unlabelled'}")
    mixed = [
        Image.fromarray(RGB[0]),
        Image.fromarray(RGB[1][:4]),
        None,
        Image.fromarray(RGB[3]).convert("RGBA"),
    ]
    odd = datasets.Dataset.from_dict({"image": mixed, "label": [0, 1, 0, 1]}).cast_column("image", datasets.Image())
    odd.save_to_disk(tmp_path / "odd")
    data = load(f"hf:{tmp_path / 'odd'}")
    with pytest.raises(InputError, match=r"row 1 of .* is RGB 4x4 and row 0 of .* is RGB 4x5"):
        data[:2]
    with pytest.raises(InputError, match=r"row 2 of .* has no picture"):
        data[1:3]
    with pytest.raises(InputError, match=r"row 3 of .* has mode RGBA"):
        data[3:]


def test_missing_folders_and_the_missing_extra_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load(f"hf:{tmp_path}/nowhere")
    with pytest.raises(InputError, match="holds no parquet or arrow files"):
        load(f"hf:{tmp_path}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'epsball\[hf\]'"):
        load("hf:owner/name")


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, which has none"):
        load(f"hf:{tmp_path},revision=main")
