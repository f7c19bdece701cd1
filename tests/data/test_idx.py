import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epsball.data import load
from epsball.data.idx import read_idx
from epsball.errors import InputError


def idx_bytes(array: np.ndarray) -> bytes:
    """Return the idx file of a uint8 array."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> Callable[..., Path]:
    """Return a writer of a folder with both parts: all 12 images as train, the last 5 as test."""

    def write(*, dot: str = "-", compressed: bool = False) -> Path:
        folder = tmp_path / f"idx{dot}{compressed}"
        folder.mkdir()
        for prefix, rows in (("train", slice(None)), ("t10k", slice(7, None))):
            for what, array in (("images", images[rows, 0]), ("labels", labels[rows])):
                content = idx_bytes(array)
                name = f"{prefix}-{what}{dot}idx{array.ndim}-ubyte"
                if compressed:
                    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
                else:
                    (folder / name).write_bytes(content)
        return folder

    return write


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_naming_reads_alike(
    dot: str, compressed: bool, idx_folder: Callable[..., Path], images: np.ndarray, labels: np.ndarray
) -> None:
    folder = idx_folder(dot=dot, compressed=compressed)
    train, test = load(f"idx:{folder}", split="train"), load(f"idx:{folder}")
    assert torch.equal(train[:][0], torch.from_numpy(images))
    assert train[:][1].tolist() == labels.tolist()
    assert torch.equal(test[:][0], torch.from_numpy(images[7:]))
    assert (test.shape, test.classes, test.split) == ((1, 5, 4), 3, "test")


def test_uncompressed_files_are_mapped(tmp_path: Path) -> None:
    shape = (100, 1000, 1000)
    with (tmp_path / "t10k-images-idx3-ubyte").open("wb") as file:
        file.write(idx_bytes(np.zeros((0, 1, 1), np.uint8))[:4] + np.array(shape, ">u4").tobytes())
        file.truncate(16 + 10**8)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(100, np.uint8)))
    tracemalloc.start()
    data = load(f"idx:{tmp_path},first=99")
    x, _ = data[90:92]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.shape == (2, 1, 1000, 1000)
    assert peak < 10**7


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 55), compressed=st.booleans())
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, length: int, compressed: bool) -> None:
    content = idx_bytes(np.arange(40, dtype=np.uint8).reshape(2, 5, 4))[:length]
    file = tmp_path / ("cut.gz" if compressed else "cut")
    file.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(InputError, match="cut"):
        read_idx(file, 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_a_gzip_stream_cut_off_anywhere_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = gzip.compress(idx_bytes(np.arange(40, dtype=np.uint8).reshape(2, 5, 4)))
    file = tmp_path / "cut.gz"
    file.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    with pytest.raises(InputError, match=r"not a whole gzip file|cut off"):
        read_idx(file, 3)


WHOLE = idx_bytes(np.arange(40, dtype=np.uint8).reshape(2, 5, 4))


def zipped(content: bytes) -> bytes:
    """Return gzip's bytes without the time: they name tests, which every process must name alike."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("x", WHOLE + b"\0", "announces 2 x 5 x 4 = 40 bytes and holds more"),
        ("x.gz", zipped(WHOLE + b"\0"), "holds more"),
        ("x", WHOLE[:-1], "holds 39; it is cut off"),
        ("x", b"", "begins with bytes none"),
        ("x", b"\0\0\x08\x01" + WHOLE[4:], "begins with bytes 00 00 08 01; .* begins with 00 00 08 03"),
        ("x", b"\0\0\x0d\x03" + WHOLE[4:], "begins with bytes 00 00 0d 03"),
        ("x", zipped(WHOLE), r"It is gzip: name it \.gz"),
        ("x", WHOLE[:9], "ends inside its header, after 9 bytes"),
        ("x.gz", WHOLE, "is not a whole gzip file"),
        ("x.gz", zipped(WHOLE)[:-9] + b"\0" * 9, "is not a whole gzip file"),
        ("x.gz", zipped(b"\0\0\x08\x03" + b"\xff" * 12), "holds 0; it is cut off"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, fact: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=fact):
        read_idx(tmp_path / name, 3)


def test_missing_files_and_unequal_counts_are_named(
    tmp_path: Path, idx_folder: Callable[..., Path], labels: np.ndarray
) -> None:
    with pytest.raises(InputError, match=r"no t10k-images in .*nowhere \(there is no such folder\)"):
        load(f"idx:{tmp_path}/nowhere")
    with pytest.raises(InputError, match=r"\(the folder is there\); looked for t10k-images-idx3-ubyte, "):
        load(f"idx:{tmp_path}")
    folder = idx_folder()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte has 12 labels for 5 images"):
        load(f"idx:{folder}")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="no t10k-labels"):
        load(f"idx:{folder}")


def test_empty_files_hold_no_data(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(0, np.uint8)))
    with pytest.raises(InputError, match=r"shape \(0, 1, 28, 28\); .* at least one example"):
        load(f"idx:{tmp_path}")


def test_mnist(shared: Path) -> None:
    data = load(f"idx:{shared / 'data' / 'mnist'}")
    assert repr(data).endswith("10000 examples of shape (1, 28, 28), 10 classes")
    assert data[:10][1].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The published mean of all 70,000 images is 0.1307 on the training part, 0.1325 on this one.
    assert data[:][0].double().mean().item() / 255 == pytest.approx(0.1325, abs=5e-5)
