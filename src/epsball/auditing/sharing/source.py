"""A finished run as another one takes over from it: verdicts, witnesses and certificates by position."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from epsball.auditing.evidence import Witnesses
from epsball.auditing.folder import nearest_points, read_arrow, witnesses_in
from epsball.auditing.manifest import NAME, check_schema, hash_of
from epsball.auditing.points import NearestPoints
from epsball.auditing.result import Audit
from epsball.ball import Ball
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")

BY_SHARD = "by shard"
"""In place of a run's manifest: what takes over from it sees some of its shards, and it is not whole yet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A shard of a finished run.

    Parameters
    ----------
    table
        Its evidence.
    witnesses, points
        Return the witnesses of its broken examples, and the nearest points of those that stand.
    number
        Of its files.
    """

    table: "pyarrow.Table"
    witnesses: Callable[[], Witnesses]
    points: Callable[[], NearestPoints | None]
    number: int

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The evidence, one entry per example."""
        return self.table.to_pylist()


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A finished run.

    Parameters
    ----------
    name
        What the evidence calls it: the path of its folder from the one that takes over, or a name.
    ball
        Its perturbation set.
    network, data
        Fingerprints of what it is about.
    manifest
        The hash that stands for its files; None in memory.
    pieces
        Its shards.
    """

    name: str
    ball: Ball
    network: str
    data: str
    manifest: str | None
    pieces: Sequence[Piece]

    @classmethod
    def read(cls, path: str | Path, seen_from: Path | None = None) -> "Source":
        """Read a run folder, named as seen from another one.

        Raises
        ------
        InputError
            If it holds no finished run, or a file of it cannot be read.
        """
        folder = Path(path)
        record, ball = _begun(folder)
        identity = record["identity"]
        if not (folder / "chain.json").exists():
            raise InputError(f"the audit in {folder} is not finished: the command that made it goes on from there.")
        pieces = [_piece(folder, number) for number in range(len(list(folder.glob("evidence-*.arrow"))))]
        return cls(
            name=folder.name if seen_from is None else Path(os.path.relpath(folder, seen_from)).as_posix(),
            ball=ball,
            network=str(identity.get("network")),
            data=str(identity.get("data")),
            manifest=hash_of(folder / NAME) if (folder / NAME).exists() else None,
            pieces=pieces,
        )

    @classmethod
    def of_shards(cls, path: str | Path, numbers: Sequence[int], seen_from: Path) -> "Source":
        """Read some shards of a run that need not be whole, named as seen from another one; the manifest is `BY_SHARD`.

        Raises
        ------
        InputError
            If they are not there, or cannot be read.
        """
        folder = Path(path)
        record, ball = _begun(folder)
        return cls(
            name=Path(os.path.relpath(folder, seen_from)).as_posix(),
            ball=ball,
            network=str(record["identity"].get("network")),
            data=str(record["identity"].get("data")),
            manifest=BY_SHARD,
            pieces=[_piece(folder, number) for number in numbers],
        )

    @property
    def said(self) -> str:
        """What the record of a run that takes over from it says of it."""
        return f"{self.name} {self.manifest}"

    @classmethod
    def of(cls, audit: Audit, ball: Ball, name: str) -> "Source":
        """Return an audit in memory as a source."""
        pieces = [
            Piece(table=shard.table, witnesses=shard.witnesses, points=shard.points, number=number)
            for number, shard in enumerate(audit.shards)
        ]
        return cls(name=name, ball=ball, network="", data="", manifest=None, pieces=pieces)

    def sent(self, *, read: bool) -> "Source":
        """Return what can be sent to another process: with its points, or, from a folder there too, without."""
        if self.manifest is not None and not read:
            return replace(self, pieces=[replace(piece) for piece in self.pieces])
        pieces = [
            replace(piece, witnesses=partial(_given, piece.witnesses()), points=partial(_given, piece.points()))
            for piece in self.pieces
        ]
        return replace(self, pieces=pieces)

    def file(self, kind: str, piece: Piece) -> str:
        """Return the name of a file, as the evidence has it; in memory that of the run."""
        if self.manifest is None:
            return self.name
        suffix = "arrow" if kind == "evidence" else "safetensors"
        return f"{self.name}/{kind}-{piece.number:05d}.{suffix}"

    def certificate_file(self, piece: Piece, row: int) -> str:
        """Return the file that an example's certificate is in: its own, or that of the evidence."""
        found = piece.rows[row]
        earlier = found.get("taken.certificate")
        if earlier is not None:
            return earlier
        if self.manifest is None or not found["certificate.replayable"]:
            return self.file("evidence", piece)
        return f"{self.name}/certificates/certificate-{found['index']:06d}.json.gz"

    @cached_property
    def places(self) -> dict[int, tuple[Piece, int]]:
        """The shard of each position, and its row there."""
        return {
            int(position): (piece, row)
            for piece in self.pieces
            for row, position in enumerate(piece.table["index"].to_pylist())
        }

    def row(self, position: int) -> dict[str, Any]:
        """Return the evidence of one example."""
        piece, row = self.places[position]
        return piece.rows[row]

    def witness(self, piece: Piece) -> dict[int, Tensor]:
        """Return the witnesses of a shard, by position."""
        found = piece.witnesses()
        return dict(zip(found.index.tolist(), found.x_adv, strict=True))

    @property
    def standing(self) -> np.ndarray:
        """Positions that are right and not broken."""
        found = [
            (np.asarray(p.table["index"].to_numpy()), np.asarray(p.table["verdict"].to_pylist())) for p in self.pieces
        ]
        return np.concatenate([index[np.isin(verdict, ("certified", "undecided"))] for index, verdict in found])


def _begun(folder: Path) -> tuple[dict[str, Any], Ball]:
    """Return the record of a run, and its ball."""
    try:
        record = dict(json.loads((folder / "run.json").read_text()))
        record["identity"] = dict(record["identity"])
        ball = Ball.parse(record["identity"]["ball"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} does not hold a run ({error}); make one with epsball audit --out.") from error
    check_schema(folder, record)
    return record, ball


def _given(value: T) -> T:
    return value


def _piece(folder: Path, number: int) -> Piece:
    file = folder / f"evidence-{number:05d}.arrow"
    return Piece(
        table=_read(file, partial(read_arrow, file)),
        witnesses=partial(_read, _beside(file, "witnesses"), partial(witnesses_in, folder, number)),
        points=partial(_read, _beside(file, "points"), partial(nearest_points, folder, number)),
        number=number,
    )


def _beside(file: Path, kind: str) -> Path:
    """Return another file of a shard than its evidence."""
    return file.with_name(file.name.replace("evidence", kind)).with_suffix(".safetensors")


def _read(file: Path, content: Callable[[], T]) -> T:
    """Return what a file holds; raise InputError where it cannot be read."""
    try:
        return content()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read ({error}); run that audit again.") from error


def candidate(found: NearestPoints | None, position: int, x: Tensor) -> Tensor | None:
    """Return the nearest point of one example, or None."""
    if found is None:
        return None
    rows = torch.nonzero(found.index == position)[:, 0]
    return found.at(rows[:1], x.unsqueeze(0))[0] if len(rows) else None
