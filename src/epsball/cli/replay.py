"""``epsball replay``."""

from pathlib import Path

from epsball.cli.common import Output
from epsball.errors import CertificateError, MissingExtra


def replay(certificate: Path, /, *more: Path) -> Output:
    """Check certificate files with the independent checker, which knows neither epsball nor PyTorch.

    It derives the bounds anew from the network in the model file beside the certificate, and
    accepts the claims only if its own bounds reach them.

    Parameters
    ----------
    certificate
        A file that epsball certify or epsball audit wrote.
    more
        Further files.
    """
    try:
        import epsball_replay
    except ImportError as error:
        raise MissingExtra("replay", "python-flint", "replaying certificates") from error
    lines = []
    failed = 0
    for path in (certificate, *more):
        try:
            verdict = epsball_replay.replay(path)
        except epsball_replay.ReplayError as error:
            failed += 1
            lines.append(f"{path}: not replayed: {error}")
            continue
        failed += not verdict.accepted
        lines.append(f"{path}: {verdict}")
    if failed:
        raise CertificateError("\n".join([*lines, f"{failed} of {len(lines)} certificates not accepted."]))
    return Output("\n".join(lines))
