"""What the data allow any classifier."""

from dataclasses import replace

from epsball.auditing.reading import Summary
from epsball.auditing.reading.hard import hard_pairs
from epsball.report.formats import count, percent
from epsball.report.sections.section import Section, Table

_SECTION = Section(id="limit", short="Limit", title="What is possible at all", term="limit")


def limit(summary: Summary) -> Section:
    """Return the section."""
    found = summary.reading.chain.get("limit")
    if found is None:
        why = "the optimal risk of the data was not computed in this run"
        return _SECTION.absent(why, summary.audit_command("--limit", "limit"))
    hard = summary.hard
    rows = [
        ["optimal risk of these examples", f"{found['risk']['value']:.4f}"],
        ["counting conflicts with a stored common point", f"{found['stored']:.4f}"],
        ["pairs of examples in conflict", count(found["conflicts"])],
        ["pairs that rounding leaves undecided", count(found["doubtful"])],
    ]
    if hard is not None:
        rows += [[f"examples {name}", count(number)] for name, number in hard.items()]
    avoidable = summary.reading.chain.get("avoidable error")
    if avoidable is not None:
        rows.append(["avoidable error of the model", f"{percent(avoidable[0])} to {percent(avoidable[1])}"])
    entropy = summary.reading.chain.get("cross-entropy")
    if entropy is not None:
        rows.append(["adversarial cross-entropy, at least (nats)", f"{entropy['classifier']:.4f}"])
        rows.append(["the data force on every classifier (nats)", f"{entropy['optimal']:.4f}"])
    given = 0 if hard is None else hard["given up"] + hard["either"]
    lead = (
        f"{found['conflicts']:,} pairs of examples of different classes share points of their balls; {given:,} "
        "examples cannot all be kept by any classifier."
        if found["conflicts"]
        else "No two examples of different classes share a point of their balls: the data force no error here."
    )
    table = Table(caption="The limit of the data at this radius", header=("quantity", "value"), rows=rows)
    return replace(
        _SECTION,
        lead=lead,
        table=table,
        template="limit.html.j2",
        more={"hard": hard, "pairs": _pairs(summary), "conflicts": found["conflicts"]},
    )


def _pairs(summary: Summary) -> Table | None:
    """Return the table of hard pairs, where the run names any."""
    pairs = hard_pairs(summary.reading)
    if not pairs:
        return None
    rows = [[f"#{p.a}", p.class_a, p.verdicts[0], f"#{p.b}", p.class_b, p.verdicts[1]] for p in pairs]
    header = ("example", "class", "verdict", "shares points with", "class", "verdict")
    total = summary.reading.limit["conflicts"] if summary.reading.limit else len(pairs)
    return Table(caption=f"{len(pairs):,} of {total:,} hard pairs", header=header, rows=rows)
