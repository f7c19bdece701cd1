import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epsball.data import load
from epsball.data.npz import read_npz
from epsball.errors import InputError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_stored(save: object, dtype: str, order: str, tmp_path: Path) -> None:
    x = np.asarray(np.random.default_rng(0).random((6, 2, 3)) * 255, dtype=dtype, order=order)
    save(tmp_path / "d.npz", x=x, y=np.array([0, 1, 2, 3, 4, 0], np.int16), other=np.zeros(2))
    data = load(f"npz:{tmp_path / 'd.npz'}")
    images, y = data[:]
    assert torch.equal(images, torch.from_numpy(x.copy()))
    assert (images.dtype, y.tolist(), data.classes) == (getattr(torch, dtype), [0, 1, 2, 3, 4, 0], 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.int64]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)
    )
)
def test_mapped_and_read_arrays_are_equal(x: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "mapped.npz", first=np.zeros(3), x=x)
    np.savez_compressed(tmp_path / "read.npz", x=x)
    for file in ("mapped.npz", "read.npz"):
        array = read_npz(tmp_path / file, ("x",))["x"]
        assert array.dtype == x.dtype
        assert np.array_equal(array, x, equal_nan=x.dtype.kind == "f")


def test_uncompressed_arrays_are_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((300, 10**5), np.uint8), y=np.zeros(300, int))
    tracemalloc.start()
    x, _ = load(f"npz:{tmp_path / 'd.npz'}")[10:12]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.shape == (2, 10**5)
    assert peak < 10**7


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object]]:
            return Path.touch, (tmp_path / "sprung",)

    traps = np.empty(2, object)
    traps[:] = [Trap(), Trap()]
    np.savez(tmp_path / "d.npz", x=traps, y=np.zeros(2, int))
    with pytest.raises(InputError, match="Python objects, which are never unpickled"):
        load(f"npz:{tmp_path / 'd.npz'}")
    assert not (tmp_path / "sprung").exists()


def test_missing_names_and_files_are_explained(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", pictures=np.zeros((2, 3)), y=np.zeros(2, int))
    with pytest.raises(InputError, match=r"no images under a usual.* arrays are pictures, y\. .*np\.savez\(FILE, x="):
        load(f"npz:{tmp_path / 'd.npz'}")
    with pytest.raises(InputError, match=r"no file .*nowhere\.npz"):
        load(f"npz:{tmp_path / 'nowhere.npz'}")
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.eye(2))
    with pytest.raises(InputError, match=r"y in .*d\.npz has shape \(2, 2\).*argmax"):
        load(f"npz:{tmp_path / 'd.npz'}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 0.999), compressed=st.booleans())
def test_a_file_cut_off_anywhere_is_refused(cut: float, compressed: bool, tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    (np.savez_compressed if compressed else np.savez)(file, x=np.ones((4, 3)), y=np.zeros(4, int))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(InputError, match="is not a whole npz file"):
        load(f"npz:{file}")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "cannot be read"),
        (b"not an array", "magic string is not correct"),
        (b"\x93NUMPY\x03\x00" + b"\0" * 64, r"format version is \(3, 0\)"),
        (b"\x93NUMPY\x01\x00\x04\x00{}  ", "cannot be read"),
    ],
)
def test_damaged_members_are_named(content: bytes, fact: str, tmp_path: Path) -> None:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "d.npz", "w", compression) as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", content)
        with pytest.raises(InputError, match=fact):
            load(f"npz:{tmp_path / 'd.npz'}")


def test_a_member_of_another_size_than_announced_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    content = (tmp_path / "x.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", content[:-1])
        archive.writestr("y.npy", content)
    with pytest.raises(InputError, match=r"its 47 bytes are not \(2, 3\) of float64"):
        load(f"npz:{tmp_path / 'd.npz'}")


def test_a_flipped_byte_in_a_compressed_array_is_seen(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", x=np.random.default_rng(0).random((50, 9)), y=np.zeros(50, int))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"array x\.npy in .* cannot be read"):
        load(f"npz:{tmp_path / 'd.npz'}")
