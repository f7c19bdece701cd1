"""``epsball verify``."""

import json as documents
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from epsball.checks import check_seed
from epsball.cli.common import Output, finished_or_partial, same_command, say, seconds_so_far
from epsball.cli.progress import Loudness
from epsball.cli.sharing import Sharing
from epsball.errors import InputError
from epsball.names import Semantics

if TYPE_CHECKING:
    from epsball.workers import Workers

_LOUDNESS, _SHARING = Loudness(), Sharing()


def _check_seed(_: object, seed: int) -> None:
    check_seed(seed)


_Network = Annotated[
    tuple[str, ...], Parameter(help="The file of the network that the query names, NAME=FILE.", negative=())
]
_Seed = Annotated[int, Parameter(validator=_check_seed, help="Seed of every draw.")]
_Json = Annotated[bool, Parameter(negative=(), help="Print one JSON document to standard output instead of text.")]


def verify(
    *files: Path,
    network: _Network = (),
    timeout: float | None = None,
    semantics: Semantics | None = None,
    serialise_assignments: Path | None = None,
    batch: Path | None = None,
    out: Path | None = None,
    max_memory: int | None = None,
    sharing: Sharing = _SHARING,
    certificates: Path | None = None,
    seed: _Seed = 0,
    json: _Json = False,
    loudness: Loudness = _LOUDNESS,
) -> Output:
    """Decide whether an input of an ONNX network satisfies a VNN-LIB query: NET.onnx PROPERTY.vnnlib.

    The first line is sat, unsat, unknown or timed-out. After sat stands a witness, which onnxruntime confirms
    without tolerance. Also: QUERY.vnnlib --network NAME=NET.onnx, the standard's form; and --batch instances.csv
    --out results.csv, which goes on where it was stopped.

    Parameters
    ----------
    files
        The network and the query; with --network the query alone.
    timeout
        Seconds, from the start of the command; with --batch for each instance, in place of the list's.
    semantics
        What unsat is claimed of: real, the function of the weights on real numbers; float32, the network as it
        computes. By default what the query declares.
    serialise_assignments
        Folder for a witness as serialised ONNX tensors, in place of text.
    batch
        List of instances, lines NETWORK,QUERY,SECONDS.
    out
        With --batch: the file of results.
    max_memory
        Bytes that the rows of backward bounds may take at a time.
    certificates
        Folder for the proof of unsat, as files that epsball replay checks.
    """
    if batch is not None:
        if files or network or serialise_assignments is not None or certificates is not None or out is None:
            raise InputError("--batch takes --out RESULTS.csv, and neither files, --network nor --certificates.")
        return _run_batch(batch, out, timeout, semantics, seed, max_memory, sharing.with_source(None), json)
    if sharing.workers is not None or sharing.ray is not None:
        raise InputError("--workers shares the instances of a list; give it with --batch LIST.csv.")
    if out is not None:
        raise InputError("--out is the file of results of --batch LIST.csv; one answer goes to standard output.")
    net, path, name = _named(files, network)
    from epsball import verification

    query = path
    if name is not None:
        query = verification.read_query(path)
        if query.network and name != query.network:
            raise InputError(f"{path} declares the network {query.network}; --network names {name}. Name that one.")
    found = verification.verify(
        net,
        query,
        timeout=timeout,
        spent=seconds_so_far(),
        semantics=semantics,
        seed=seed,
        max_memory=max_memory,
        certificates=certificates,
    )
    say(str(found).splitlines())
    if found.witness is not None and found.asked is not None and serialise_assignments is not None:
        verification.write_assignment(found.asked, found.witness, serialise_assignments)
    if json:
        return Output(documents.dumps(found.to_json(), indent=2, allow_nan=False))
    if found.witness is None or found.asked is None or serialise_assignments is not None:
        return Output(found.answer)
    return Output(f"{found.answer}\n{verification.assignment_text(found.asked, found.witness)}")


def _named(files: tuple[Path, ...], network: tuple[str, ...]) -> tuple[Path, Path, str | None]:
    """Return network, query and the network's name, None where none is given."""
    if not network:
        if len(files) != 2:
            raise InputError(f"{len(files)} files are given; write NET.onnx PROPERTY.vnnlib.")
        return files[0], files[1], None
    if len(files) != 1 or len(network) != 1:
        raise InputError(
            f"{len(files)} files and {len(network)} networks are given; a query about one network is "
            "QUERY.vnnlib --network NAME=NET.onnx."
        )
    name, equals, path = network[0].partition("=")
    if not (name and equals and path):
        raise InputError(f"--network is '{network[0]}'; it is NAME=FILE, as in --network f=net.onnx.")
    return Path(path), files[0], name


def _run_batch(
    batch: Path,
    out: Path,
    timeout: float | None,
    semantics: Semantics | None,
    seed: int,
    max_memory: int | None,
    workers: "Workers | None",
    json: bool,
) -> Output:
    from epsball import verification

    result, code = finished_or_partial(
        lambda: verification.verify_batch(
            batch, out, timeout=timeout, semantics=semantics, seed=seed, max_memory=max_memory, workers=workers
        ),
        f"it goes on from there with the same command: {same_command()}",
    )
    return Output(documents.dumps(result.to_json(), indent=2, allow_nan=False) if json else str(result), code)
