"""An independent checker of epsball's certificates.

It imports neither torch nor epsball. From the network, the ball and the slopes in the file it
derives the bounds anew - intermediate ones in float64 with its own error terms, the final rows in
balls of 256 bits (python-flint) - and accepts a claim only if its own bound reaches it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epsball_replay.derive import Derivation
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
        The predicted class.
    claims, derived
        Claimed and derived lower bounds of z_p - z_j, by class j.
    semantics, assumptions
        What the claim is about, as the certificate states it.

    Examples
    --------
    >>> print(Verdict(True, True, 0, claims={1: 0.25}, derived={1: 0.2501}, semantics="real", assumptions={}))
    accepted (real); class 0 over class 1: claimed 0.25, derived 0.2501
    """

    accepted: bool
    stable: bool
    predicted: int
    claims: dict[int, float]
    derived: dict[int, float]
    semantics: str
    assumptions: dict[str, object]

    def __str__(self) -> str:
        least = min(self.derived, key=self.derived.__getitem__)
        return (
            f"{'accepted' if self.accepted else 'REJECTED'} ({self.semantics}); class {self.predicted} over class "
            f"{least}: claimed {self.claims[least]:.6g}, derived {self.derived[least]:.6g}"
        )


def replay(path: str | Path) -> Verdict:
    """Derive a certificate's bounds anew and compare them with its claims.

    Raises
    ------
    ReplayError
        If the file, or the model file beside it, is malformed or of a kind that is not replayed.

    Examples
    --------
    >>> replay("missing.json.gz")
    Traceback (most recent call last):
        ...
    epsball_replay.network.ReplayError: missing.json.gz cannot be replayed (FileNotFoundError: ...
    """
    try:
        with np.errstate(all="ignore"):
            certificate = read_certificate(Path(path))
            derived = Derivation(certificate).margins()
    except ReplayError:
        raise
    except Exception as error:  # Whatever fails in a file from anywhere, the certificate is not accepted.
        raise ReplayError(f"{path} cannot be replayed ({type(error).__name__}: {error}).") from error
    accepted = all(derived[j] >= claim for j, claim in certificate.claims.items())
    return Verdict(
        accepted=accepted,
        stable=accepted and min(certificate.claims.values()) > 0,
        predicted=certificate.predicted,
        claims=certificate.claims,
        derived=derived,
        semantics=certificate.semantics,
        assumptions=certificate.assumptions,
    )
