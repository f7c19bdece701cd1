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
    rejected = 0
    for path in (certificate, *more):
        try:
            verdict = epsball_replay.replay(path)
        except epsball_replay.ReplayError as error:
            raise CertificateError(f"{path}: {error}") from error
        rejected += not verdict.accepted
        lines.append(f"{path}: {verdict}")
    if rejected:
        raise CertificateError("\n".join([*lines, f"{rejected} of {len(lines)} certificates rejected."]))
    return Output("\n".join(lines))
