"""The pairs of examples that no classifier can both keep."""

from dataclasses import dataclass

from epsball.auditing.reading.run import Reading


@dataclass(frozen=True, kw_only=True)
class HardPair:
    """Two examples of different classes whose balls share a point.

    Parameters
    ----------
    a, b
        Their positions.
    class_a, class_b
        Their classes.
    verdicts
        What the model makes of them.
    """

    a: int
    b: int
    class_a: str
    class_b: str
    verdicts: tuple[str, str]


def hard_pairs(reading: Reading) -> list[HardPair]:
    """Return the pairs that the run names, those of which the model loses most first."""
    names = reading.class_names
    rows = {index: row for row, index in enumerate(reading.column("index").tolist())}
    label, verdict = reading.column("label").tolist(), reading.verdict.tolist()
    found = []
    for pair in (reading.limit or {}).get("pairs", []):
        places = [rows.get(position) for position in pair]
        if len(places) == 2 and places[0] is not None and places[1] is not None:
            a, b = places[0], places[1]
            found.append(
                HardPair(
                    a=pair[0],
                    b=pair[1],
                    class_a=names[label[a]],
                    class_b=names[label[b]],
                    verdicts=(verdict[a], verdict[b]),
                )
            )
    lost = ("misclassified", "broken")
    return sorted(found, key=lambda pair: -sum(verdict in lost for verdict in pair.verdicts))
