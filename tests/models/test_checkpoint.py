import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.models.checkpoint import read_checkpoint


def torch_bytes(content: object, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def numpy_bytes(save, *arrays) -> bytes:
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


STATE = {"0.weight": torch.arange(6.0).reshape(2, 3)}


def changed_bytes(content: bytes) -> bytes:
    """Return a file in which a number is another one; the rest of it is whole."""
    at = content.index(STATE["0.weight"].numpy().tobytes())
    return content[:at] + b"\x01" + content[at + 1 :]


WRONG = {
    "changed number": (changed_bytes(torch_bytes(STATE)), "is damaged: the checksum of .*data/0"),
    "empty": (b"", "is empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
    "html": (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page"),
    "text": (b"just text, which nobody trained", "not a file of weights"),
    "npy": (numpy_bytes(np.save, np.zeros(3)), "numpy"),
    "npz": (numpy_bytes(np.savez, np.zeros(3)), "numpy"),
    "cut off": (torch_bytes(STATE)[:400], "cut off or damaged"),
    "cut off, legacy": (torch_bytes(STATE, legacy=True)[:-9], "cut off or damaged"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_saved_in_place_of_weights_is_recognised(kind, tmp_path):
    content, words = WRONG[kind]
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_checkpoint(path)


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "resnet2b.pth").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no file .*Did you mean .*resnet2b.pth"):
        read_checkpoint(tmp_path / "resnet2.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_other_archives_are_distinguished(tmp_path):
    for member, words in {"a/code/x.py": "did not write", "a/constants.pkl": "TorchScript"}.items():
        path = tmp_path / "w.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"")
        with pytest.raises(InputError, match=words):
            read_checkpoint(path)


def safetensors_file(header: bytes, length: int | None = None, data: bytes = b"\0" * 8) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor_header(**changes: object) -> bytes:
    return json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}).encode()


DAMAGED = {
    "a header longer than the file": safetensors_file(tensor_header(), length=2**40),
    "a header of all the memory there is": safetensors_file(tensor_header(), length=2**63),
    "a header cut short": safetensors_file(tensor_header(), length=9),
    "a header that is no JSON": safetensors_file(b"{not json}"),
    "offsets beyond the end": safetensors_file(tensor_header(data_offsets=[0, 800], shape=[200])),
    "offsets in reverse": safetensors_file(tensor_header(data_offsets=[8, 0])),
    "a shape that the bytes do not fill": safetensors_file(tensor_header(shape=[2**40])),
    "an unknown dtype": safetensors_file(tensor_header(dtype="PICKLE")),
    "no header": b"\0" * 64,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_safetensors_are_refused(kind, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(InputError, match=r"safetensors"):
        read_checkpoint(path)


def test_safetensors_under_another_name_are_named(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(safetensors_file(tensor_header()))
    with pytest.raises(InputError, match="a safetensors file by its content"):
        read_checkpoint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("legacy", [False, True])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_changed_byte_never_gives_more_than_tensors_or_an_input_error(legacy, place, byte, tmp_path: Path):
    content = bytearray(torch_bytes(STATE, legacy=legacy))
    content[place % len(content)] = byte
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    try:
        state = read_checkpoint(path)
    except InputError:
        return
    assert isinstance(state, dict | torch.Tensor)
