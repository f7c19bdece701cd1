"""`compare_by_ball`: folders of runs within several balls, compared within each ball that all of them have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.auditing.comparing.compare import compare
from epsball.auditing.comparing.result import Comparison
from epsball.auditing.manifest import runs_of
from epsball.errors import InputError
from epsball.paired import holm
from epsball.results import Result, jsonable

if TYPE_CHECKING:
    import pyarrow

Folders = Sequence[str | Path] | Mapping[str, str | Path | Sequence[str | Path]]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ComparisonByBall(Result):
    """Networks or methods, compared within several balls.

    Parameters
    ----------
    comparisons
        One per ball. P-values of two networks are adjusted over places, pairs and balls; of two methods within a ball.
    notes
        Which balls some of them lack.
    """

    comparisons: Mapping[str, Comparison]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.comparisons.values()), *self.notes])

    def examples(self) -> "pyarrow.Table":
        """Return the examples on which verdicts differ, with the ball."""
        return _stacked({ball: found.examples() for ball, found in self.comparisons.items()})

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per ball, pair and place."""
        return _stacked({ball: found.to_arrow() for ball, found in self.comparisons.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the comparisons made of JSON's types, by ball."""
        document = {ball: found.to_json() for ball, found in self.comparisons.items()}
        return jsonable({"balls": document, "notes": self.notes})


def _stacked(tables: "Mapping[str, pyarrow.Table]") -> "pyarrow.Table":
    import pyarrow

    named = [table.add_column(0, "ball", [[ball] * len(table)]) for ball, table in tables.items()]
    return pyarrow.concat_tables(named)


def compare_by_ball(folders: Folders) -> ComparisonByBall:
    """Compare folders of runs within several balls, as `epsball.compare` compares runs, within each common ball.

    Parameters
    ----------
    folders
        Folders that `epsball.audit` wrote within several balls, one per network; or by name, one or those of the seeds
        of one method.

    Raises
    ------
    InputError
        If one is not a folder of runs, they have no ball in common, or runs of a ball cannot be compared.
    """
    if isinstance(folders, str | Path):
        raise InputError(f"one folder of runs was given ({folders}); a comparison needs two.")
    named = folders if isinstance(folders, Mapping) else _apart(folders)
    groups = {
        name: [Path(given)] if isinstance(given, str | Path) else [Path(folder) for folder in given]
        for name, given in named.items()
    }
    names = {folder: list(_runs(folder)) for group in groups.values() for folder in group}
    common = [run for run in next(iter(names.values()), []) if all(run in runs for runs in names.values())]
    if not common:
        raise InputError(f"{', '.join(map(str, names))} have no ball in common; audit them within the same balls.")
    found = {}
    for run in common:
        within = {name: [folder / run for folder in group] for name, group in groups.items()}
        comparison = compare(_called(within))
        found[str(comparison.runs[0].identity["ball"])] = comparison
    missing = sorted({run for runs in names.values() for run in runs} - set(common))
    notes = (f"not compared, since some lack it: {', '.join(missing)}",) if missing else ()
    return ComparisonByBall(comparisons=_adjusted(found), notes=notes)


def _apart(folders: Sequence[str | Path]) -> dict[str, str | Path]:
    """Return folders by their paths; raise InputError where one is given twice."""
    for a, b in combinations(folders, 2):
        if Path(a).resolve() == Path(b).resolve():
            raise InputError(f"{a} was given twice; give each folder once.")
    return {str(folder): folder for folder in folders}


def _runs(folder: Path) -> dict[str, str | None]:
    runs = runs_of(folder)
    if runs is None:
        raise InputError(f"{folder} is not a folder of runs within several balls; compare those with each other only.")
    return runs


def _called(groups: Mapping[str, Sequence[Path]]) -> dict[str, Sequence[Path]]:
    """Return the runs of a ball under the names of their folders, or the paths where these are not enough."""
    short = [Path(name).name for name in groups]
    return {Path(name).name if short.count(Path(name).name) == 1 else name: group for name, group in groups.items()}


def _adjusted(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Return the comparisons of networks with p-values adjusted by Holm over places, pairs and balls."""
    every = [difference for comparison in found.values() for difference in comparison.differences]
    adjusted = iter(holm([difference.discordance.p for difference in every]))
    return {
        ball: replace(
            comparison,
            differences=tuple(replace(difference, adjusted=next(adjusted)) for difference in comparison.differences),
        )
        for ball, comparison in found.items()
    }
