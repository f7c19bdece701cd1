"""Files of the usual kinds that run code when they are opened: refused, and nothing ran."""

import io
import pickle
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from epsball.errors import InputError
from epsball.models import load


def test_the_payloads_are_live(trap):
    for payload in (trap.system, trap.exec, trap.eval):
        pickle.loads(pickle.dumps(payload))
        assert trap.sprung
        trap.sentinel.unlink()


def torch_saved(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def with_member(content: bytes, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, data, compression)
    return file.getvalue()


def with_pickle(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def legacy_tar(trap) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            data = pickle.dumps(trap.system)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def object_array(trap, save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, np.array([trap.exec], dtype=object))
    return file.getvalue()


def torchscript(trap) -> bytes:
    data = pickle.dumps(trap.system)
    return with_member(with_pickle(data), "archive/constants.pkl", data)


def by_hand(trap) -> bytes:
    # GLOBAL by text opcodes, as in the oldest exploits: c os \n system \n ( S '...' t R .
    return with_pickle(f"cos\nsystem\n(S'touch {trap.sentinel}'\ntR.".encode())


def stack_global(trap) -> bytes:
    return with_pickle(pickle.dumps({"0.weight": trap.eval}, protocol=4))


class Hidden(nn.Module):
    """A whole module saved by torch.save: its class would be imported."""


STATE = {"0.weight": torch.zeros(2)}
SYSTEM = r"it names (posix|nt|os)\.system, so reading it could run code"
FILES: dict[str, tuple[Callable[..., bytes], str]] = {
    "os.system": (lambda trap: torch_saved(trap.system), SYSTEM),
    "builtins.exec": (lambda trap: torch_saved(trap.exec), "it names exec"),
    "builtins.eval": (lambda trap: torch_saved(trap.eval), "it names eval"),
    "inside a state dict": (lambda trap: torch_saved(OrderedDict(STATE, bias=trap.system)), SYSTEM),
    "beside a state dict": (lambda trap: torch_saved({"state_dict": STATE, "args": trap.exec}), "it names exec"),
    "subprocess": (lambda trap: torch_saved(trap.payload(subprocess.run, ["touch", str(trap.sentinel)])), "could run"),
    "legacy format": (lambda trap: torch_saved(trap.system, _use_new_zipfile_serialization=False), SYSTEM),
    "legacy, nested": (lambda trap: torch_saved([trap.exec], _use_new_zipfile_serialization=False), "it names exec"),
    "legacy tar": (legacy_tar, "not a file of weights"),
    "plain pickle": (lambda trap: pickle.dumps(trap.system), "is a plain pickle, which can run code"),
    "plain pickle, old protocol": (lambda trap: pickle.dumps(trap.system, protocol=0), "not a file of weights"),
    "text opcodes": (by_hand, SYSTEM),
    "stack global": (stack_global, "more than tensors, or was saved with a pickle protocol above 2"),
    "numpy object array": (lambda trap: object_array(trap, np.save), "numpy content"),
    "numpy object archive": (lambda trap: object_array(trap, np.savez), "archive of numpy arrays"),
    "numpy array in torch.save": (
        lambda trap: torch_saved({"w": np.array([trap.exec], dtype=object)}),
        r"it names numpy\..*_reconstruct",
    ),
    "torchscript": (torchscript, "TorchScript archive, which holds code"),
    "whole module": (lambda trap: torch_saved(Hidden()), r"it names .*\.Hidden"),
    "leaves the archive": (lambda trap: with_member(torch_saved(STATE), "../../etc/cron.d/x", b""), "leaves the arch"),
    "zip bomb": (
        lambda trap: with_member(torch_saved(STATE), "archive/data/9", b"\0" * 10**7, zipfile.ZIP_DEFLATED),
        "compressed member",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_malicious_file_is_refused_and_nothing_runs(kind, trap, tmp_path: Path):
    make, words = FILES[kind]
    path = tmp_path / "w.pth"
    path.write_bytes(make(trap))
    with pytest.raises(InputError, match=words):
        load(f"mlp@{path},shape=4,classes=2")
    assert not trap.sprung


@pytest.mark.parametrize("kind", FILES)
def test_it_does_not_pass_for_safetensors(kind, trap, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(FILES[kind][0](trap))
    with pytest.raises(InputError, match="is no safetensors file by its content"):
        load(f"mlp@{path},shape=4,classes=2")
    assert not trap.sprung


def test_two_members_of_one_name_are_refused(tmp_path: Path, trap):
    path = tmp_path / "w.pth"
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(with_member(torch_saved(STATE), "archive/data.pkl", pickle.dumps(trap.system)))
    with pytest.raises(InputError, match="two members of one name"):
        load(f"mlp@{path},shape=4,classes=2")
    assert not trap.sprung
