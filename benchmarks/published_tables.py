"""Tables of audits of published networks: ``python benchmarks/published_tables.py --runs RUNS --out docs/audits``.

RUNS is what ``published_audits.py`` wrote. Per network one page and one JSON file, made of the finished runs alone, and
a page of all. Every figure stands beside the published ones, and it is said whether it is on their right side: natural
accuracy is the published one; what stands under our attack is at least what anybody verified; what we certify is at
most what stands under anybody's attack. Of other examples the 95% intervals are compared instead.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from epsball.auditing.chain import ATTACK, CERTIFIED, NATURAL
from epsball.auditing.folder import read_arrow
from epsball.auditing.reading import Reading
from published_networks import NETWORKS, Published

ALL_IMAGES = {"idx": 10_000, "cifar10": 9_980}
"""Test images by kind of data; of CIFAR-10's 10,000, 20 could not be had without loss."""


INTRODUCTION = """\
Natural pass and attack at effort `quick`, on as many test images as the table says; certificates at `standard` on the
first 200. What was not measured is a dash. Weights and data are not part of the repository: NETS and DATA stand for
their folders. "Right side": natural accuracy is the published one, what stands under attack is at least what anybody
verified, what is certified at most what stands under anybody's attack. "Own share": of the CPU time, what is the
audit's own and no pillar's work, in the run of the attack and in that of the certificates; some 3 s of it pass once
per process, whatever the number of images (imports, the capture of the network, the figure). The CPU seconds of a
command that was killed are not among them: those of `mnist-cnn-a-adv`'s attack lack those of its first two shards,
those of `mnist-6x100-nat`'s certificates some 50 examples. Of CIFAR-10's test images 20 were not at hand."""


def main() -> None:
    """Write the pages and the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder that published_audits.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pages")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    documents = {name: document(name, published, arguments.runs) for name, published in NETWORKS.items()}
    documents = {name: found for name, found in documents.items() if "attack" in found or "certificates" in found}
    for name, found in documents.items():
        (arguments.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        (arguments.out / f"{name}.md").write_text(page(name, found))
    (arguments.out / "index.md").write_text(index(documents))


def document(name: str, published: Published, runs: Path) -> dict[str, Any]:
    """Return what the finished runs of a network say, beside what was published."""
    known = {"natural": published.natural, "verified": published.verified, "attacked": published.attacked}
    found: dict[str, Any] = {"ball": published.ball, "published": known | {"source": published.source}}
    for part, options in (("attack", "--effort quick --certificates none"), ("certificates", "--effort standard")):
        folder = runs / f"{name}-{part}"
        if (folder / "manifest.json").exists():
            found[part] = figures(folder, published) | {"command": command(folder, published, options)}
    found["sides"] = sides(found)
    return found


def command(folder: Path, published: Published, options: str) -> str:
    """Return the command of a run."""
    count = len(Reading.read(folder).table)
    data = published.data + ("" if count == ALL_IMAGES[published.data.partition(":")[0]] else f",first={count}")
    return f"epsball audit {published.model} {data} --ball {published.ball} {options}"


def figures(folder: Path, published: Published) -> dict[str, Any]:
    """Return the figures of a run."""
    run = Reading.read(folder)
    spent = json.loads((folder / "cpu.json").read_text())
    ledger = run.ledger.to_pydict() if run.ledger is not None else {"forwards": [], "backwards": []}
    methods: Counter[str] = Counter()
    if "certificate.method" in run.table.column_names:
        certified = run.table.filter(run.table["certificate.certified"])
        methods = Counter(certified["certificate.method"].to_pylist())
    places = {name: {"value": place["value"], **place["interval"]} for name, place in run.chain["places"].items()}
    return {
        "images": run.chain["total"],
        "verdicts": run.chain["verdicts"],
        "places": places,
        "certified by": dict(methods.most_common()),
        "diagnosis": run.chain.get("diagnosis", {}).get("verdict"),
        "passes": sum(ledger["forwards"]) + sum(ledger["backwards"]),
        "cpu seconds": round(spent["pillars"] + spent["audit"], 1),
        "overhead": spent["audit"] / (spent["pillars"] + spent["audit"]),
        "date": ended(folder),
        "machine": f"{run.about.get('processor')}, {run.about.get('threads')} thread",
        "epsball": run.run["identity"]["epsball"],
        "torch": run.run["about"]["torch"],
        "network": run.run["identity"]["network"],
        "data": run.run["identity"]["data"],
    }


def ended(folder: Path) -> str:
    """Return the day on which the last shard was finished."""
    return max(read_arrow(file)["ended"][0].as_py() for file in folder.glob("timing-*.arrow"))[:10]


def sides(found: dict[str, Any]) -> dict[str, bool]:
    """Return which figures are on the right side of the published ones."""
    published, result = found["published"], {}
    if "attack" in found:
        natural, attacked = (found["attack"]["places"][name] for name in (NATURAL, ATTACK))
        whole = found["attack"]["images"] >= min(ALL_IMAGES.values())
        result[NATURAL] = (
            round(natural["value"], 4) == published["natural"] if whole else within(natural, published["natural"])
        )
        if published["verified"] is not None:
            result["accuracy under attack >= verified"] = attacked["high"] >= published["verified"]
    if "certificates" in found and published["attacked"] is not None:
        certified, attacked = (found["certificates"]["places"][name] for name in (CERTIFIED, ATTACK))
        result["certified <= attacked"] = certified["low"] <= published["attacked"]
        result["first images: under attack >= verified"] = attacked["high"] >= published["verified"]
    return result


def within(place: dict[str, float], value: float) -> bool:
    """Return whether a value lies in an interval."""
    return place["low"] <= value <= place["high"]


def page(name: str, found: dict[str, Any]) -> str:
    """Return the page of a network."""
    published, lines = found["published"], [f"# Audit of `{name}`", ""]
    lines += ["| figure | images | here | published |", "| --- | ---: | --- | --- |"]
    for part in ("attack", "certificates"):
        run = found.get(part)
        if run is None:
            continue
        known = {NATURAL: published["natural"], ATTACK: published["attacked"], CERTIFIED: published["verified"]}
        for place in (NATURAL, ATTACK, CERTIFIED):
            if place in run["places"]:
                stated = "-" if known[place] is None else f"{known[place]:.4f}"
                lines.append(f"| {place} | {run['images']:,} | {shown(run['places'][place])} | {stated} |")
    lines += ["", f"Ball: `{found['ball']}`. Published: {published['source']}.", ""]
    for part, what in (("attack", "Natural pass and attack"), ("certificates", "Certificates")):
        run = found.get(part)
        if run is None:
            continue
        lines += [f"## {what}", "", f"    {run['command']}", "", sentence(run), ""]
    lines += [f"On the right side of what is published: {said(found['sides'])}.", ""]
    lines += [
        f"Everything else is in [{name}.json]({name}.json); `benchmarks/published_audits.py` made the runs, "
        "`benchmarks/published_tables.py` this page."
    ]
    return "\n".join(lines) + "\n"


def shown(place: dict[str, Any]) -> str:
    """Return a share with its interval."""
    return f"{place['value']:.4f} [{place['low']:.4f}, {place['high']:.4f}]"


def said(sides: dict[str, bool]) -> str:
    """Return what is on which side."""
    return "; ".join(f"{name}: {'yes' if holds else 'no'}" for name, holds in sides.items()) or "nothing was published"


def sentence(run: dict[str, Any]) -> str:
    """Return verdicts and costs of a run."""
    verdicts = ", ".join(f"{count:,} {name}" for name, count in run["verdicts"].items())
    by = ", ".join(f"{count} by `{name}`" for name, count in run["certified by"].items())
    text = f"{run['images']:,} images: {verdicts}."
    text += f" Certified: {by}." if by else ""
    text += f" Diagnosis: {run['diagnosis']}." if run["diagnosis"] else ""
    return text + (
        f" {run['passes']:,} passes of attack and canonical pass, {run['cpu seconds']:,.0f} CPU-s of one thread, "
        f"{run['overhead']:.1%} of them the audit's own."
    )


def index(documents: dict[str, dict[str, Any]]) -> str:
    """Return the page of all networks."""
    head = (
        "network",
        "ball",
        "images",
        "natural",
        "under attack",
        "certified, first 200",
        "standing, first 200",
        "right side",
        "own share",
    )
    lines = [
        "# Audits of published networks",
        "",
        INTRODUCTION,
        "",
        f"| {' | '.join(head)} |",
        "| --- | --- | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in documents.items():
        attack, proof = found.get("attack"), found.get("certificates")
        cells = [
            f"[{name}]({name}.md)",
            f"`{found['ball']}`",
            "-" if attack is None else f"{attack['images']:,}",
            *("-" if attack is None else shown(attack["places"][place]) for place in (NATURAL, ATTACK)),
            *("-" if proof is None else shown(proof["places"][place]) for place in (CERTIFIED, ATTACK)),
            "yes" if all(found["sides"].values()) else "no",
            ", ".join(f"{run['overhead']:.1%}" for run in (attack, proof) if run is not None),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    missing = [name for name in NETWORKS if name not in documents]
    lines += [f"| {name} | `{NETWORKS[name].ball}` | {' | '.join(['-'] * 7)} |" for name in missing]
    lines += ["", "```{toctree}", ":hidden:", *documents, "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
