"""The files of a run as an export reads them: each is the one of the manifest, or it is no evidence."""

import fnmatch
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from torch import Tensor

from epsball.auditing import manifest as manifests
from epsball.auditing.folder import read_arrow
from epsball.auditing.verifying.record import UNREADABLE
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow


class Absent(Exception):
    """Evidence that is not there, with the reason as its text; it never leaves the export."""


class RunFiles:
    """A finished run's folder. A file that is missing, was changed or was added raises `Absent` when it is read.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    InputError
        If it holds no run or one that is not finished, or its manifest cannot be read or is of a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest = manifests.read_manifest(folder)
        self._present = frozenset(manifests.run_files(folder))
        if self._manifest is None and not self._present:
            raise InputError(f"{folder} does not hold a run; make one with epsball audit --out.")
        if self._manifest is None and "chain.json" not in self._present:
            raise InputError(f"the audit in {folder} is not finished: the command that made it goes on from there.")
        self._hashes: dict[str, str] = {}
        self._read: dict[str, Any] = {}

    @property
    def lists_nothing(self) -> bool:
        """Whether the run has no manifest that says which files it has."""
        return self._manifest is None

    @cached_property
    def manifest_hash(self) -> str:
        """The hash that stands for every file of the run."""
        if self._manifest is None:
            raise Absent(f"{manifests.NAME} is missing")
        return manifests.hash_of(self.folder / manifests.NAME)

    @cached_property
    def _older_than_manifests(self) -> bool:
        """Whether the run was written by 0.1.0, which made no manifest."""
        try:
            return int(json.loads((self.folder / "run.json").read_text()).get("schema", 1)) < 2
        except UNREADABLE:
            return False

    def names(self, pattern: str) -> list[str]:
        """Return the files of the run that match, those that are missing among them."""
        known = self._present | set(() if self._manifest is None else self._manifest["files"])
        return sorted(fnmatch.filter(known, pattern))

    def hash_of(self, name: str) -> str:
        """Return the hash of a file's content.

        Raises
        ------
        Absent
            If it is not the file that the manifest names.
        """
        if name not in self._hashes:
            if name not in self._present:
                raise Absent(f"{name} is missing")
            if self._manifest is None and not self._older_than_manifests:
                raise Absent(f"{manifests.NAME} is missing, so nothing shows that {name} is the file of the run")
            found = manifests.hash_of(self.folder / name)
            if self._manifest is not None and self._manifest["files"].get(name) != found:
                raise Absent(f"{name} is not the file of the run: its hash is not the manifest's")
            self._hashes[name] = found
        return self._hashes[name]

    def hash_of_all(self, names: list[str]) -> str:
        """Return one hash of several files: that of their hashes, in order."""
        return f"sha256:{hashlib.sha256(''.join(map(self.hash_of, names)).encode()).hexdigest()}"

    def document(self, name: str) -> Any:
        """Return a JSON document."""
        return self._kept(name, lambda path: json.loads(path.read_text()))

    def table(self, name: str) -> "pyarrow.Table":
        """Return an Arrow table."""
        return self._kept(name, read_arrow)

    def tensor(self, name: str, key: str) -> Tensor:
        """Return one tensor of a safetensors file."""

        def read(path: Path) -> Tensor:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor(key)

        return self._kept(name, read, keep=False)

    def _kept(self, name: str, read: Any, *, keep: bool = True) -> Any:
        self.hash_of(name)
        if name in self._read:
            return self._read[name]
        try:
            found = read(self.folder / name)
        except UNREADABLE as error:
            raise Absent(f"{name} cannot be read ({error})") from error
        if keep:
            self._read[name] = found
        return found

    def timings(self) -> list[tuple[str, str, "pyarrow.Table"]]:
        """Return name, hash and content of the files of times, which no hash of the run covers.

        Raises
        ------
        Absent
            If there are none, one cannot be read, or the run has no manifest: they are the times of nothing then.
        """
        if self._manifest is None and not self._older_than_manifests:
            raise Absent(f"{manifests.NAME} is missing, so nothing shows what the times are of")
        found = []
        for path in sorted(self.folder.glob("timing-*.arrow")):
            try:
                found.append((path.name, manifests.hash_of(path), read_arrow(path)))
            except UNREADABLE as error:
                raise Absent(f"{path.name} cannot be read ({error})") from error
        if not found:
            raise Absent("the run has no times: timing-*.arrow are missing")
        return found
