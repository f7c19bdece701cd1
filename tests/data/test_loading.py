import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from epsball.data import KINDS, Dataset, load
from epsball.errors import InputError


@pytest.mark.parametrize("text", ["digits", "digits,split=train", "digits,first=7", "digits,first=7,split=train"])
def test_a_name_loads_the_same_examples_again(text: str) -> None:
    data = load(text)
    again = load(data.name)
    assert again.name == data.name
    assert again.fingerprint() == data.fingerprint()


def test_the_split_asked_for_is_a_default_for_the_text() -> None:
    assert load("digits").split == "test"
    assert load("digits", split="train").name == "digits,split=train"
    assert load("digits,split=test", split="train").split == "test"


def test_sources_without_parts_pass_over_the_default_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.arange(2))
    data = load(f"npz:{tmp_path / 'd.npz'}", split="train")
    assert (len(data), data.split, data.name) == (2, None, f"npz:{tmp_path / 'd.npz'}")


def test_the_same_content_has_one_fingerprint_in_every_format(tmp_path: Path) -> None:
    data = load("digits,first=50")
    x, y = data[:]
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=y.numpy())
    stored = load(f"npz:{tmp_path / 'd.npz'}")
    assert stored.fingerprint() == load((x, y)).fingerprint() == load(stored).fingerprint()
    # The positions differ: those of digits are the places in the whole set.
    assert stored.fingerprint() != data.fingerprint()


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.arange(2))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(load("npz:~/d.npz")) == 2


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "has nothing before its options"),
        (
            "digit",
            r"'digit' does not name a kind; write KIND:PATH with KIND one of digits, .*Did you mean 'digits'\?",
        ),
        ("folder/with/pictures", "does not name a kind"),
        (str(Path(__file__).parent), "It is a folder: write idx:.*cifar10:.*or folder:"),
        ("cifar:data", r"unknown kind of data: 'cifar'; known: digits, .* Did you mean 'cifar10'\?"),
        ("idx", "data text 'idx' has no path; write idx:PATH"),
        ("npz:", "has no path; write npz:PATH"),
        (
            "digits,frist=3",
            r"unknown option of 'digits': 'frist'; known: split, first, indices\. Did you mean 'first'",
        ),
        ("npz:x.npz,part=test", "unknown option of 'npz': 'part'; known: split, images, labels, channels, first, ind"),
        ("digits,image=a", "unknown option of 'digits': 'image'"),
        ("digits,split=tset", r"unknown split of digits: 'tset'; known: train, test\. Did you mean 'test'\?"),
        ("digits,first=3,first=4", "is given twice"),
        ("idx:data,split=val", "unknown split of idx: 'val'"),
        ("cifar10:data,split=all", "unknown split of cifar10: 'all'"),
    ],
)
def test_texts_that_name_nothing_are_explained(text: str, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        load(text)


def test_a_path_object_is_sent_to_the_text_form() -> None:
    with pytest.raises(InputError, match="give a text KIND:PATH"):
        load(Path("d.npz"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_files_that_may_not_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    (tmp_path / "test_batch.bin").chmod(0)
    with pytest.raises(InputError, match=r"cannot be read: .*Permission"):
        load(f"cifar10:{tmp_path}")


def test_an_operating_systems_refusal_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Dataset:
        raise PermissionError(13, "Permission denied", "file")

    monkeypatch.setitem(KINDS, "npz", refuse)
    with pytest.raises(InputError, match=r"'npz:file' cannot be read: .*Permission denied"):
        load("npz:file")


def test_the_registry_is_what_load_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_ones(path: str, *, size: str = "2") -> Dataset:
        return load((torch.ones(3, int(size)), torch.tensor([0, 1, 0])))

    monkeypatch.setitem(KINDS, "ones", open_ones)
    data = load("ones:anything,size=4,first=2")
    assert (data.shape, len(data), data.name) == ((4,), 2, "ones:anything,size=4,first=2")


def test_importing_and_loading_digits_imports_no_heavy_library() -> None:
    code = (
        "import sys; from epsball.data import load; load('digits')[:];"
        "print(sorted({'PIL', 'datasets', 'pyarrow', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
