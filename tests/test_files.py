import json
import os
import stat
from pathlib import Path

import pytest

from epsball.errors import InputError
from epsball.files import check_writable, write_atomically, write_json


def test_writes_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "new" / "deeper" / "file.bin"
    write_atomically(file, b"one")
    write_atomically(str(file), b"two")
    assert file.read_bytes() == b"two"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "file.json"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(InputError, match=r"cannot write .*file\.json: No space left"):
        write_atomically(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupt_passes_through_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "file.json"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write .*plain/file.*writable"):
        write_atomically(tmp_path / "plain" / "file", b"")


@pytest.mark.skipif(os.name != "posix", reason="file modes and umask are POSIX")
def test_mode_is_that_of_an_ordinary_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")]
    assert modes[0] == modes[1]


def test_json_is_strict_utf8_and_ends_with_a_newline(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    document = {"name": "ε-ball", "values": [1, 2.5, None]}
    write_json(file, document)
    content = file.read_text(encoding="utf-8")
    assert json.loads(content) == document
    assert content.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"value": float("nan")})
    assert file.read_text(encoding="utf-8") == content


def test_what_could_not_be_written_is_refused_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "file")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="it is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a writable folder"):
        check_writable(tmp_path / "file" / "below")
