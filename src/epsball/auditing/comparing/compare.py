"""`compare`: audits of several networks or methods, by exact tests per place of the chain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from epsball.auditing.chain import ATTACK, CERTIFIED, NATURAL
from epsball.auditing.comparing.recorded import Column, RecordedRun
from epsball.auditing.comparing.result import LEAST, MOST, SEEDS, Comparison, Difference, MethodDifference
from epsball.auditing.folder import differences
from epsball.errors import InputError
from epsball.paired import Discordance, holm, permutation_p

Given = str | Path | RecordedRun


def compare(runs: Sequence[Given] | Mapping[str, Given | Sequence[Given]]) -> Comparison:
    """Compare finished audits of one data set within one ball.

    Two networks differ at a place of the chain by McNemar's exact test on the examples, adjusted by Holm over places
    and pairs. Their robust accuracies are known as brackets only: one network is better there where its lower end
    (certified and right) exceeds the other's upper one (right, not broken). About two methods, named groups of runs, an
    exact permutation test over their runs is made, where each has four seeds or more: networks trained alike differ
    too, and a test on the examples of one network per method would take that for the method.

    Parameters
    ----------
    runs
        Folders of audits, one per network; or by name: one folder, or those of the seeds of one method.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If a folder holds no finished run, or runs are of other data or another ball, fewer than two, or twice the same.

    References
    ----------
    McNemar 1947; Holm 1979; Fisher 1935.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x, y = torch.rand(8, 2), torch.arange(8) % 2
    >>> folders = [tempfile.mkdtemp() for _ in range(2)]
    >>> for folder in folders:
    ...     network = torch.nn.Linear(2, 2)
    ...     options = {"attack": "fgsm", "certificates": "none", "limit": False}
    ...     _ = eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", 0.1), folder=folder, **options)
    >>> [difference.place for difference in eb.compare(folders).differences]
    ['natural accuracy', 'accuracy under attack']
    """
    methods = _methods(runs)
    every = [run for group in methods.values() for run in group]
    _check_alike(every)
    notes = tuple(_notes(every))
    if all(len(group) == 1 for group in methods.values()):
        return Comparison(runs=tuple(every), differences=_between_networks(every), notes=notes)
    return Comparison(runs=tuple(every), methods=_between_methods(methods), notes=notes, groups=_names(methods))


def _methods(runs: Sequence[Given] | Mapping[str, Given | Sequence[Given]]) -> dict[str, list[RecordedRun]]:
    """Return the runs of each method, each read once; a network alone is the method of its name."""
    if isinstance(runs, str | Path | RecordedRun):
        raise InputError(f"one run was given ({runs}); a comparison needs two.")
    if not isinstance(runs, Mapping):
        read = [_read(run) for run in runs]
        _check_apart(read)
        read = _named_apart(read)
        found = {run.name: [run] for run in read}
    else:
        found = {
            name: [_read(run, name) for run in ([given] if isinstance(given, str | Path | RecordedRun) else given)]
            for name, given in runs.items()
        }
        found = {name: _numbered(group) for name, group in found.items()}
        _check_apart([run for group in found.values() for run in group])
    if len(found) < 2 or not all(found.values()):
        raise InputError(f"a comparison needs two networks or methods, with a run each; {len(found)} were given.")
    return found


def _read(run: Given, name: str | None = None) -> RecordedRun:
    if isinstance(run, RecordedRun):
        return run if name is None else replace(run, name=name)
    return RecordedRun.read(run, name)


def _named_apart(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Return the runs under their folders' names, or under the paths where these are not enough."""
    names = [run.name for run in runs]
    return [run if names.count(run.name) == 1 else replace(run, name=str(run.path)) for run in runs]


def _numbered(group: Sequence[RecordedRun]) -> list[RecordedRun]:
    if len(group) == 1:
        return list(group)
    return [replace(run, name=f"{run.name}/{number}") for number, run in enumerate(group)]


def _names(methods: Mapping[str, Sequence[RecordedRun]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(run.name for run in group) for name, group in methods.items()}


def _check_alike(runs: Sequence[RecordedRun]) -> None:
    """Raise InputError unless the runs are of one data set and one ball, each once."""
    first = runs[0]
    for run in runs[1:]:
        for what, said in (("data", "other data"), ("ball", "another ball")):
            if run.identity.get(what) != first.identity.get(what):
                raise InputError(
                    f"{run.path} is of {said} than {first.path} ({run.identity.get(what)} and "
                    f"{first.identity.get(what)}); compare audits of the same examples within the same ball."
                )
        if run.table["index"] != first.table["index"]:
            raise InputError(f"{run.path} and {first.path} hold other examples; compare audits of the same ones.")


def _check_apart(runs: Sequence[RecordedRun]) -> None:
    """Raise InputError where a folder is given twice."""
    for a, b in combinations(runs, 2):
        if a.path.resolve() == b.path.resolve():
            raise InputError(f"{a.path} was given twice; give each run once.")


def _notes(runs: Sequence[RecordedRun]) -> Iterator[str]:
    first = runs[0]
    for run in runs[1:]:
        if run.identity.get("network") == first.identity.get("network"):
            yield f"{run.name} is the same network as {first.name}"
        shown = list(differences(first.identity.get("links"), run.identity.get("links")))
        if shown:
            yield (
                f"{run.name} was audited otherwise than {first.name} ({'; '.join(shown)}): accuracies under attack are "
                "upper ends by different searches, and certified ones lower ends by different proofs"
            )


def _between_networks(runs: Sequence[RecordedRun]) -> tuple[Difference, ...]:
    found = [
        Difference(
            a=a.name,
            b=b.name,
            place=place,
            discordance=Discordance.of(first, second),
            adjusted=1.0,
            alike=_alike([a, b], place),
        )
        for a, b in combinations(runs, 2)
        for place, first, second in _pairs(a, b)
    ]
    adjusted = holm([difference.discordance.p for difference in found])
    return tuple(replace(difference, adjusted=p) for difference, p in zip(found, adjusted, strict=True))


def _alike(runs: Sequence[RecordedRun], place: str) -> bool:
    """Return whether a place was measured alike in all runs."""
    return all(run.measured_by(place) == runs[0].measured_by(place) for run in runs)


def _pairs(a: RecordedRun, b: RecordedRun) -> Iterator[tuple[str, Column, Column]]:
    """Yield the columns that are compared at each place of the chain."""
    yield NATURAL, a.natural, b.natural
    yield ATTACK, a.under_attack, b.under_attack
    if a.certified is not None and b.certified is not None:
        yield CERTIFIED, a.certified, b.certified
    if a.certified is not None:
        yield LEAST, a.certified, b.under_attack
    if b.certified is not None:
        yield MOST, a.under_attack, b.certified


def _between_methods(methods: Mapping[str, Sequence[RecordedRun]]) -> tuple[MethodDifference, ...]:
    found: list[MethodDifference] = []
    for a, b in combinations(methods, 2):
        for place in (NATURAL, ATTACK, CERTIFIED, LEAST, MOST):
            first, second = _values(methods[a], place, first=True), _values(methods[b], place, first=False)
            if first is not None and second is not None:
                p = _p(first, second)
                alike = _alike([*methods[a], *methods[b]], place)
                found.append(
                    MethodDifference(
                        a=a, b=b, place=place, values_a=first, values_b=second, p=p, adjusted=p, alike=alike
                    )
                )
    return tuple(_adjusted(found))


def _values(group: Sequence[RecordedRun], place: str, *, first: bool) -> tuple[float, ...] | None:
    """Return the share of each run that is compared at a place, or None where a run has none."""
    lower = {CERTIFIED: True, LEAST: first, MOST: not first}.get(place, False)
    columns = [run.natural if place == NATURAL else run.certified if lower else run.under_attack for run in group]
    shares = tuple(float(column.mean()) for column in columns if column is not None)
    return shares if len(shares) == len(group) else None


def _p(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the two-sided exact p-value, or None where a group has too few seeds."""
    if min(len(a), len(b)) < SEEDS:
        return None
    return min(1.0, 2.0 * min(permutation_p(a, b), permutation_p(b, a)))


def _adjusted(found: Sequence[MethodDifference]) -> Iterator[MethodDifference]:
    """Yield the differences, p-values adjusted by Holm over the pairs of methods at the same place."""
    for place in dict.fromkeys(difference.place for difference in found):
        here = [difference for difference in found if difference.place == place and difference.p is not None]
        by_pair = dict(zip(((d.a, d.b) for d in here), holm([d.p for d in here if d.p is not None]), strict=True))
        for difference in found:
            if difference.place == place:
                yield replace(difference, adjusted=by_pair.get((difference.a, difference.b)))
