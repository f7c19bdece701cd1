"""`page`: one HTML file of a run, or of two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from epsball.auditing.comparing import Comparison, compare
from epsball.auditing.reading import Reading, summary
from epsball.auditing.reading.several import main_pair, main_run
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.report.render import render

NAME = "report.html"
"""The page of a run, in its folder."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Page:
    """A page.

    Parameters
    ----------
    html
        The document; it stands alone.
    folder
        The run that it is about.
    """

    html: str
    folder: Path

    def __repr__(self) -> str:
        return f"Page of {self.folder}, {len(self.html.encode()):,} bytes"

    def write(self, out: str | Path | None = None) -> Path:
        """Write it to a file, by default ``report.html`` in the run's folder; return the file."""
        file = self.folder / NAME if out is None else Path(out)
        write_atomically(file, self.html.encode())
        return file


def page(run: str | Path, second: str | Path | None = None, *, pictures: Sequence[int] = ()) -> Page:
    """Make the page of a run, from its folder alone; of two runs, of the second, and in what it differs.

    A run that is going on, one without some links of the chain, and one of an older version have a page too: what was
    not measured says so.

    Parameters
    ----------
    run
        Folder of an audit, or of several within different balls: then the finished one of the largest radius.
    second
        Another audit of the same examples within the same ball, or a folder of several: then the largest common ball.
    pictures
        Positions of examples that are shown in pictures whatever the rule, where the folder holds their pixels.

    Raises
    ------
    InputError
        If a folder holds no run, or the runs are of other data or another ball.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x, y, folder = torch.rand(8, 2), torch.arange(8) % 2, tempfile.mkdtemp()
    >>> classifier, ball = eb.Classifier(torch.nn.Linear(2, 2)), eb.Ball("linf", 0.1)
    >>> _ = eb.audit(classifier, (x, y), ball, attack="fgsm", limit=False, folder=folder)
    >>> eb.page(folder).write().name
    'report.html'
    """
    if second is None:
        only = _read(main_run(run), run)
        return Page(html=render(summary(only), pictures=pictures), folder=only.folder)
    paths = zip(main_pair(run, second), (run, second), strict=True)
    first, last = _named_apart(*(_read(path, given) for path, given in paths))
    compared: Comparison = compare({run.name: run.folder for run in (first, last)})
    html = render(summary(last), before=summary(first), compared=compared, pictures=pictures)
    return Page(html=html, folder=last.folder)


def _read(path: Path, given: str | Path) -> Reading:
    """Read a run; one of a folder of runs is called by both names."""
    found = Reading.read(path)
    return found if path == Path(given) else replace(found, title="/".join(path.resolve().parts[-2:]))


def _named_apart(first: Reading, last: Reading) -> tuple[Reading, Reading]:
    """Return two runs under names that differ: the ends of their paths, as long as it takes.

    Raises
    ------
    InputError
        If they are one folder.
    """
    paths = [run.folder.resolve().parts for run in (first, last)]
    if paths[0] == paths[1]:
        raise InputError(f"{first.folder} was given twice; give each run once.")
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if names[0] != names[1]:
            return replace(first, title=names[0]), replace(last, title=names[1])
    return first, last
