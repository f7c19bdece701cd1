"""The link beside the chain: probabilistic certificates of the smoothed classifier, which is another one."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Columns, Link, RunFindings
from epsball.auditing.subject import Subject
from epsball.errors import InputError
from epsball.names import NoiseName, ShareBound
from epsball.option_text import read_options, split_options
from epsball.radius import format_radius, parse_radius
from epsball.smoothing import Smoothed, smooth
from epsball.smoothing.smooth import check_options

if TYPE_CHECKING:
    import pyarrow

_NAME = "smoothed"


@dataclass(frozen=True, kw_only=True)
class SmoothingLink(Link):
    """What randomised smoothing certifies of the *smoothed* classifier, in columns of its own.

    The smoothed classifier is not the one audited, and its certificates hold with a probability: neither verdicts nor
    chain nor alarm know of them. A finished run is smoothed without being made again.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, in pixels.
    noise
        As for `epsball.smooth`; ``"auto"`` is Gaussian, and Laplace in l1.
    radii
        Radii beside that of the ball, ``0.25:0.5``, in the ball's norm.
    bound, samples, selection, alpha, simultaneous
        As for `epsball.smooth`.
    folder
        Where a finished smoothing is, and the votes of one under way; or None.
    """

    name: ClassVar[str] = _NAME
    run_schema: ClassVar[Mapping[str, str]] = {
        "smoothed.predicted": "int64",
        "smoothed.count": "int64",
        "smoothed.samples": "int64",
        "smoothed.share": "double",
        "smoothed.radius": "double",
        "smoothed.abstained": "bool",
        "smoothed.certified": "bool",
        "smoothed.assumption": "string",
    }

    sigma: float
    noise: NoiseName | Literal["auto"] = "auto"
    radii: str = ""
    bound: ShareBound = "sequence"
    samples: int = 100_000
    selection: int = 100
    alpha: float = 0.001
    simultaneous: bool = False
    folder: RunFolder | None = field(default=None, compare=False)

    @classmethod
    def of(cls, asked: "str | SmoothingLink | None", subject: Subject, folder: RunFolder | None) -> list[Link]:
        """Return the link that is asked for, or that a run has already; an empty list where there is none.

        Raises
        ------
        InputError
            If an option breaks a rule, no votes could certify a radius, or the run holds another smoothing.
        """
        kept = None if folder is None else folder.document(f"{_NAME}.json")
        if asked is None and kept is None:
            return []
        earlier = None if kept is None else cls(**kept["options"])
        link = _read(asked) if isinstance(asked, str) else asked or earlier
        if not isinstance(link, SmoothingLink):
            raise InputError(f"smooth is {link!r}; give its options as text, as in 'sigma=0.25'.")
        if earlier is not None and link != earlier:
            raise InputError(
                f"the run holds another smoothing ({_shown(earlier)}; now {_shown(link)}). Choose another folder, or "
                f"delete its {_NAME}.json to have it made again."
            )
        check_options(subject.classifier, subject.dataset, **link._arguments(subject))
        return [dataclasses.replace(link, folder=folder)]

    def _options(self) -> dict[str, Any]:
        """Return the options that decide the certificates."""
        return {key: value for key, value in vars(self).items() if key != "folder"}

    def _arguments(self, subject: Subject) -> dict[str, Any]:
        """Return the arguments of `epsball.smooth` for a run."""
        ball, options = subject.ball, self._options()
        radii = [ball.radius, *(parse_radius(text) for text in self.radii.split(":") if text)]
        if self.noise == "auto":
            options["noise"] = "laplace" if ball.norm == "l1" else "gaussian"
        return options | {"radii": radii, "norm": ball.norm, "seed": subject.seed}

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return the columns, and what they add up to as a note."""
        folder = self.folder
        kept = None if folder is None else folder.document(f"{_NAME}.json")
        if folder is not None and kept is not None:
            return RunFindings(columns=folder.columns(f"{_NAME}.arrow", [*self.run_schema]), notes=[kept["note"]])
        votes = None if folder is None else folder.parts(_NAME)
        found = smooth(subject.classifier, subject.dataset, folder=votes, **self._arguments(subject))
        note = _note(found)
        document = {"options": self._options(), "note": note, **found.to_json()}
        return RunFindings(columns=_columns(found, subject), notes=[note], document=document)


def _read(text: str) -> SmoothingLink:
    """Return the link of a text ``sigma=0.25[,option=value]...``."""
    options = split_options(f"smooth,{text}")[1]
    fields = {entry.name: entry.default for entry in dataclasses.fields(SmoothingLink)} | {"sigma": 1.0}
    values: dict[str, Any] = read_options("smooth", fields, options)
    if "sigma" not in values:
        raise InputError(f"smooth is '{text}', without the noise's standard deviation; write it as in sigma=0.25.")
    return SmoothingLink(**values)


def _shown(link: SmoothingLink) -> str:
    options = link._options()
    return ", ".join(f"{key}={value}" for key, value in options.items() if key == "sigma" or value != _default(key))


def _default(key: str) -> object:
    return next(entry.default for entry in dataclasses.fields(SmoothingLink) if entry.name == key)


def _columns(found: Smoothed, subject: Subject) -> Columns:
    table = found.to_arrow()
    here = {f"{_NAME}.certified": found.certified_at(subject.ball.radius).tolist()}
    return {name: here[name] if name in here else table[name].to_pylist() for name in SmoothingLink.run_schema}


def _note(found: Smoothed) -> str:
    plan = found.plan
    norm = f"linf (l2 over the square root of {plan.entries})" if plan.norm == "linf" else plan.norm
    curve = "; ".join(f"{at.accuracy} at {format_radius(at.radius)}" for at in found.curve)
    return (
        f"probabilistic, of the smoothed classifier, which is not the one audited: certified accuracy in {norm} {curve}"
        f"; abstained {int(found.abstained.sum())} of {len(found.rows)}; {plan.noise.name} noise of sigma "
        f"{plan.noise.sigma:g}, each certificate wrong with probability at most {found.alpha:g}, assuming "
        f"{found.assumption}"
    )
