"""``epsball replay``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball import progress
from epsball.cli.common import Output
from epsball.cli.progress import Loudness
from epsball.errors import CertificateError, MissingExtra

_LOUDNESS = Loudness()
_Hash = Annotated[
    str | None, Parameter(help="Fingerprint of the model that the certificates must be about (epsball fingerprint).")
]


def replay(certificate: Path, /, *more: Path, model_hash: _Hash = None, loudness: Loudness = _LOUDNESS) -> Output:
    """Check certificate files with the independent checker, which knows neither epsball nor PyTorch.

    It derives the bounds anew from the network in the model file beside the certificate, and
    accepts the claims only if its own bounds reach them. Each verdict ends in the fingerprint of that network.

    Parameters
    ----------
    certificate
        A file that epsball certify or epsball audit wrote with --out, as in OUT/certificate-000000.json.gz.
    more
        Further files.
    """
    try:
        import epsball_replay
    except ImportError as error:
        raise MissingExtra("replay", "python-flint", "replaying certificates") from error
    paths = (certificate, *more)
    lines: list[str] = []
    failed = 0

    def bounded(done: int, total: int) -> None:
        progress.report("entries bounded", len(lines) * total + done, len(paths) * total)

    try:
        for path in paths:
            try:
                verdict = epsball_replay.replay(path, model_hash=model_hash, progress=bounded)
            except epsball_replay.ReplayError as error:
                failed += 1
                lines.append(f"{path}: not replayed: {error}")
                continue
            failed += not verdict.accepted
            lines.append(f"{path}: {verdict}")
    except KeyboardInterrupt as interruption:
        so_far = f"{len(lines)} of {len(paths)} certificates were replayed"
        raise KeyboardInterrupt("\n".join([so_far, *lines])) from interruption
    if failed:
        raise CertificateError("\n".join([*lines, f"{failed} of {len(lines)} certificates not accepted."]))
    return Output("\n".join(lines))
