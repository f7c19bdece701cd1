"""What a model file is, by its first bytes, and the usual things that are saved in its place."""

import difflib
import zipfile
from pathlib import Path

from epsball.errors import InputError

_TORCH_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_LFS_POINTER = b"version https://git-lfs"
_MARKUP = (b"<!doctype", b"<html", b"<?xml")


def file_kind(path: Path) -> str:
    """Return what a file holds: zip, torch-legacy, pickle, safetensors, numpy or unknown.

    Raises
    ------
    InputError
        If there is no file, or it is empty, a Git LFS pointer or a web page.
    """
    start = _first_bytes(path)
    if start.startswith(b"PK"):
        return "zip"
    if start.startswith(_TORCH_LEGACY):
        return "torch-legacy"
    if start.startswith(b"\x93NUMPY"):
        return "numpy"
    if start[8:9] == b"{":
        return "safetensors"
    return "pickle" if start.startswith(b"\x80") else "unknown"


def archive_members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip archive by name, having checked that it can be read without harm.

    PyTorch stores members as they are. A compressed member, or members that claim more bytes
    than the file has, would be a bomb; a name that leaves the archive or occurs twice means
    that readers may differ in what they see.

    Raises
    ------
    InputError
        If the archive is damaged or breaks one of these rules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise InputError(f"{path} is cut off or damaged ({error}). Download or save it again.") from error
    named = {member.filename: member for member in members}
    if len(named) < len(members):
        raise InputError(f"{path} holds two members of one name; PyTorch writes no such file. Save it again.")
    for name, member in named.items():
        if member.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path} holds a compressed member, {name!r}; PyTorch compresses none. Save it again.")
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise InputError(f"{path} holds a member {name!r} that leaves the archive. Do not trust this file.")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise InputError(f"{path} holds members larger than the file. Do not trust this file.")
    _check_sums(path)
    return named


def _check_sums(path: Path) -> None:
    """Compare every member with its checksum, which PyTorch writes and does not look at when it reads tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except Exception as error:  # The bytes are anyone's: whatever they make the reader trip over.
        raise InputError(f"{path} is cut off or damaged ({error}). Download or save it again.") from error
    if changed is not None:
        raise InputError(
            f"{path} is damaged: the checksum of {changed} is another one. Download or save it again (files that were "
            "saved with torch.serialization.set_crc32_options(False) have none: save them with it on)."
        )


def is_torchscript(path: Path) -> bool:
    """Return whether a file is an archive of ``torch.jit.save``: a program with its constants."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False


def require_file(path: Path) -> None:
    """Raise an `InputError` if `path` is not a file; names its nearest neighbour."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file in it.")
    if not path.is_file():
        raise InputError(f"there is no file {path}.{_neighbour(path)}")


def _first_bytes(path: Path) -> bytes:
    require_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise InputError(f"{path} is empty. Download or save it again.")
    if start.startswith(_LFS_POINTER):
        raise InputError(f"{path} is a Git LFS pointer, not the file itself. Fetch it with: git lfs pull")
    if start.lstrip().lower().startswith(_MARKUP):
        raise InputError(
            f"{path} is a web page saved under this name: a download that failed or asked for a login. "
            "Download the file itself."
        )
    return start


def _neighbour(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {folder / close[0]}?" if close else ""
