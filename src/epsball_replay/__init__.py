"""An independent checker of epsball's certificates.

It imports neither torch nor epsball. From the network, the ball and the slopes in the file it
derives the bounds anew - in float64 with its own error terms, smooth functions in balls of 256 bits
(python-flint) - and accepts a claim only if its own bound reaches it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epsball_replay.derive import Derivation, Progress, silent
from epsball_replay.files import read_certificate
from epsball_replay.network import ReplayError

__all__ = ["ReplayError", "Verdict", "replay"]


@dataclass(frozen=True)
class Verdict:
    """What replaying a certificate showed.

    Parameters
    ----------
    accepted
        Whether every claim is at most the margin derived here.
    stable
        Whether it is accepted and all claims are positive: the prediction cannot change on the ball.
    predicted
        The predicted class p; None where the claims are about other linear functions of the outputs.
    claims, derived
        Claimed and derived lower bounds of z_p - z_j, by class j, or of the functions by number.
    semantics, assumptions
        What the claim is about, as the certificate states it.
    fingerprint
        The hash of the model, over all of the network in the model file; `epsball fingerprint` prints that of yours.

    Examples
    --------
    >>> print(Verdict(True, True, 0, {1: 0.25}, {1: 0.2501}, semantics="real", assumptions={}, fingerprint="6c4f"))
    accepted (real); class 0 over class 1: claimed 0.25, derived 0.2501; model 6c4f
    """

    accepted: bool
    stable: bool
    predicted: int | None
    claims: dict[int, float]
    derived: dict[int, float]
    semantics: str
    assumptions: dict[str, object]
    fingerprint: str

    def __str__(self) -> str:
        least = min(self.derived, key=self.derived.__getitem__)
        about = f"row {least}" if self.predicted is None else f"class {self.predicted} over class {least}"
        said = f"{'accepted' if self.accepted else 'REJECTED'} ({self.semantics}); {about}: claimed"
        return f"{said} {self.claims[least]:.6g}, derived {self.derived[least]:.6g}; model {self.fingerprint}"


def replay(path: str | Path, *, model_hash: str | None = None, progress: Progress = silent) -> Verdict:
    """Derive a certificate's bounds anew and compare them with its claims.

    Parameters
    ----------
    path
        The certificate; the model file that it names lies beside it.
    model_hash
        The fingerprint of the model that the claim must be about, or its first 16 or more digits.
    progress
        Called now and then with the number of entries bounded so far, and of all.

    Raises
    ------
    ReplayError
        If the file, or the model file beside it, is malformed, of another model, or of a kind that is not replayed.

    Examples
    --------
    >>> replay("missing.json.gz")
    Traceback (most recent call last):
        ...
    epsball_replay.network.ReplayError: missing.json.gz cannot be replayed (FileNotFoundError: ...
    """
    try:
        with np.errstate(all="ignore"):
            certificate = read_certificate(Path(path), model_hash)
            derived = Derivation(certificate, progress).margins()
    except ReplayError:
        raise
    except Exception as error:  # Whatever fails in a file from anywhere, the certificate is not accepted.
        raise ReplayError(f"{path} cannot be replayed ({type(error).__name__}: {error}).") from error
    accepted = all(derived[j] >= claim for j, claim in certificate.claims.items())
    stable = accepted and min(certificate.claims.values()) > 0
    about = certificate.predicted, certificate.claims, derived, certificate.semantics, certificate.assumptions
    return Verdict(accepted, stable, *about, fingerprint=certificate.network.fingerprint)
