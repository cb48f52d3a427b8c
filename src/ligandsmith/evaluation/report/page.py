"""The report of an evaluation: report.html (one file, offline, 3D), report.md, report.json. Never imports torch.

Texts of molecules never become markup: HTML text is escaped, data is JSON in which `<` cannot appear, the page builds
its elements from text, and its content security policy runs only the scripts written here and forbids the network.
"""

import base64
import hashlib
import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report import tables
from ligandsmith.evaluation.report.depiction import depict, histogram, outside
from ligandsmith.evaluation.report.results import Results, Row, read_results
from ligandsmith.evaluation.report.tables import Table, html_table, label, markdown, markdown_table, number, was_run
from ligandsmith.files import atomic_write

STRUCTURE_BYTES = 4_000_000  # of depictions, coordinates and interactions in one page
POCKET_BYTES = 4_000_000
ROW_BYTES = 6_000_000  # of rows of the table of molecules
HEADLINES = (
    "valid_connected", "pb_valid_of_requested", "pb_valid", "unique", "diversity", "qed", "sa", "vina_dock", "vina_min",
    "vina_score", "strain", "clashes",
)  # fmt: skip
MOST_HEADLINES = 8
# colours of Okabe and Ito, told apart by the colour-blind; the rest share grey
INTERACTIONS = (
    ("hydrogen bond", "#0072B2", ("hb", "hydrogen")),
    ("salt bridge", "#D55E00", ("anionic", "cationic", "salt", "ionic")),
    ("cation–π", "#F0E442", ("cationpi", "pication")),
    ("π stacking", "#CC79A7", ("stacking", "facetoface", "edgetoface", "pi")),
    ("halogen bond", "#56B4E9", ("xb", "halogen")),
    ("metal", "#009E73", ("metal",)),
    ("hydrophobic", "#E69F00", ("hydrophobic",)),
    ("van der Waals contact", "#999999", ("vdw", "vanderwaals")),
)
OTHER = ("other", "#999999")


@dataclass
class Embedded:
    """What the page carries of the molecules, and what it does not."""

    rows: list[Row]
    data: dict[str, Any]
    structures: int
    notes: list[str] = field(default_factory=list)


def write_report(folder: Path) -> Path:
    """Write report.html, report.md and report.json into a results folder; returns the path of report.html.

    Raises LigandsmithError where summary.json or per_molecule.csv cannot be used, or the folder cannot be written.
    """
    folder = Path(folder)
    results = read_results(folder)
    embedded = _embed(results)
    page = folder / "report.html"
    machine = {
        **results.summary,
        "report": {
            "files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if _is_result(p, folder)),
            "molecules": len(results.molecules),
            "rows_in_page": len(embedded.rows),
            "structures_in_page": embedded.structures,
            "missing": [*results.missing, *embedded.notes],
        },
    }
    write_whole(folder / "report.json", json.dumps(machine, indent=2, allow_nan=False) + "\n")
    write_whole(folder / "report.md", _markdown(results, embedded))
    write_whole(page, _html(results, embedded))
    return page


def _is_result(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.is_file() and not hidden and path.suffix != ".part"


def write_whole(path: Path, text: str) -> None:
    """The file appears whole or not at all; raises LigandsmithError."""
    try:
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise LigandsmithError(f"cannot write {path}: {error.strerror or error}") from error


def _embed(results: Results) -> Embedded:
    """Rows, structures and pockets within the budgets of a page, best molecules first."""
    metrics = _columns(results)
    rows, packed, size = [], [], 0
    places = {name: k for k, name in enumerate(dict.fromkeys(r.pocket for r in results.molecules))}
    for row in results.molecules:
        item = _pack(row, metrics, results.check_names, places[row.pocket])
        size += len(json.dumps(item))
        if size > ROW_BYTES:
            break
        rows.append(row)
        packed.append(item)
    structures = _structures(results, rows)
    pockets = {rows[k].pocket for k in structures}
    sites, left_out = _sites(results, list(places), pockets)
    embedded = Embedded(rows, {}, len(structures))
    total = len(results.molecules)
    if len(rows) < total:
        embedded.notes.append(f"the table lists the best {len(rows)} of {total} molecules; per_molecule.csv has all")
    if (results.folder / "molecules.sdf").is_file() and len(structures) < len(rows):
        embedded.notes.append(
            f"3D coordinates and pictures of {len(structures)} of {total} molecules, best ranked first, are in this "
            "page to keep it small; molecules.sdf has all"
        )
    if left_out:
        embedded.notes.append(f"the protein around {left_out} pockets is left out of the page; pockets/ has all")
    embedded.data = {
        "metrics": [_describe(results, name) for name in metrics],
        "checks": [name.replace("_", " ") for name in results.check_names],
        "passName": _pass_name(results),
        "rows": packed,
        "structures": structures,
        "sites": sites,
        "kinds": [{"name": name, "colour": colour} for name, colour in [*(k[:2] for k in INTERACTIONS), OTHER]],
    }
    return embedded


def _columns(results: Results) -> list[str]:
    """Metric columns that say something of a single molecule: those with a value, the ranking ones first."""
    known = [n for n in results.metric_names if any(r.values.get(n) is not None for r in results.molecules)]
    same_for_all = {"valid", "valid_connected", "pb_valid_of_requested"}
    return [n for n in known if n not in same_for_all]


def _describe(results: Results, name: str) -> dict[str, str]:
    entry = (results.summary.get("metrics") or {}).get(name) or {}
    return {"name": name, "label": label(name), **{k: str(entry.get(k) or "") for k in ("unit", "better", "meaning")}}


def _pass_name(results: Results) -> str:
    return next((name for name in ("pb_valid", "connected") if name in results.metric_names), "")


def _pack(row: Row, metrics: Sequence[str], checks: Sequence[str], place: int) -> list[Any]:
    values = [None if row.values.get(n) is None else float(f"{row.values[n]:.5g}") for n in metrics]
    answers = [row.checks.get(name) for name in checks]
    failed = [k for k, answer in enumerate(answers) if answer is False] if row.checks else None
    return [place, row.index, row.title, row.smiles, values, failed, row.detail]


def _structures(results: Results, rows: Sequence[Row]) -> dict[int, list[Any]]:
    """By number of the row: depiction, molfile without its title, interactions."""
    numbers = {row.key: k for k, row in enumerate(rows)}
    found: dict[int, list[Any]] = {}
    size = 0
    for row, mol in results.blocks(rows):
        contacts = _interactions(results, f"{row.pocket}/{row.index}")
        picture, molfile = depict(row.smiles), _molfile(mol)
        size += len(picture) + len(molfile) + (len(json.dumps(contacts)) if contacts else 0)
        if size > STRUCTURE_BYTES:
            break
        found[numbers[row.key]] = [picture, molfile, contacts]
    return found


def _molfile(mol: Chem.Mol) -> str:
    return Chem.MolToMolBlock(mol).split("\n", 1)[1]


def _interactions(results: Results, key: str) -> list[list[Any]] | None:
    """[kind, type, residue, ligand x y z, protein x y z] of each, None where they were not computed."""
    found = results.interactions.get(key)
    if found is None:
        return None
    return [
        [_kind(str(i.get("type", ""))), str(i.get("type", "")), str(i.get("residue", "")),
         *(round(float(x), 2) for end in ("ligand_xyz", "protein_xyz") for x in i[end])]
        for i in found
    ]  # fmt: skip


def _kind(name: str) -> int:
    """Number of the kind of an interaction; names are those of ProLIF or similar."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    starts = [(len(s), k) for k, (_, _, words) in enumerate(INTERACTIONS) for s in words if plain.startswith(s)]
    return max(starts)[1] if starts else len(INTERACTIONS)


def _sites(results: Results, names: Sequence[str], wanted: set[str]) -> tuple[list[dict[str, Any]], int]:
    """Each pocket with its residues, reference ligand and its interactions; how many had to go without residues."""
    sites, size, left_out = [], 0, 0
    for name in names:
        text = ""
        if name in wanted and name in results.pocket_files:
            text = _atoms(results.pocket_files[name])
            size += len(text)
            if size > POCKET_BYTES:
                text, left_out = "", left_out + 1
        reference = results.references.get(name)
        sites.append(
            {
                "name": name,
                "pdb": text,
                "reference": None if reference is None else _molfile(reference),
                "interactions": _interactions(results, f"{name}/reference"),
            }
        )
    return sites, left_out


def _atoms(path: Path) -> str:
    """Heavy atoms of a PDB file, without the columns that no picture needs."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    atoms = (x for x in lines if x.startswith(("ATOM", "HETATM")) and x[76:78].strip() not in ("H", "D"))
    return "\n".join([f"{x[:54]:<76}{x[76:78]}" for x in atoms])


def _html(results: Results, embedded: Embedded) -> str:
    scripts = [asset("3Dmol-min.js"), asset("table.js"), asset("viewer.js")]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    summary = results.summary
    protocol = summary.get("protocol") or {}
    subtitle = [
        f"protocol {protocol['name']} {protocol.get('version', '')}" if protocol.get("name") else "",
        f"{summary.get('requested', '?')} molecules requested",
        f"{len(results.molecules)} valid",
        f"{len({r.pocket for r in results.rows})} pockets" if len({r.pocket for r in results.rows}) > 1 else "",
        str(summary.get("created") or "")[:19].replace("T", " "),
    ]
    parts = {
        "policy": hashes,
        "style": asset("report.css"),
        "subtitle": escape(" · ".join(p.strip() for p in subtitle if p.strip())),
        "missing": _list("Not in this report", results.missing),
        "cards": _cards(results),
        "plots": _plots(results) or '<p class="note">No values to draw.</p>',
        "limits": _list("What this page leaves out", embedded.notes),
        "ranking": escape(_ranking_text(results)),
        "data": script_json(embedded.data),
        "licence": escape(asset("3Dmol-LICENSE.txt")),
        **{f"script{k}": text for k, text in enumerate(scripts)},
        **{f"table:{name}": html_table(table, name) for name, table in _tables(results).items()},
        **{f"heading:{name}": escape(table.heading) for name, table in _tables(results).items()},
    }
    return re.sub(r"\{\{([\w:]+)\}\}", lambda match: parts[match[1]], asset("report.html"))


def script_json(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or a line."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """Text of a file that the pages are made of."""
    return (files("ligandsmith.evaluation") / "page" / name).read_text(encoding="utf-8")


def _tables(results: Results) -> dict[str, Table]:
    return {
        "metrics": tables.metrics_table(results),
        "funnel": tables.funnel_table(results),
        "checks": tables.checks_table(results),
        "geometry": tables.geometry_table(results),
        "published": tables.published_table(results),
        "pockets": tables.pockets_table(results),
        "failures": tables.failures_table(results),
        "provenance": tables.provenance_table(results),
    }


def _list(heading: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return f'<div class="notice"><b>{heading}:</b><ul>{"".join(f"<li>{escape(i)}</li>" for i in items)}</ul></div>'


def _ranking_text(results: Results) -> str:
    if not results.ranking:
        return "In the order of the file."
    steps = ", then ".join(f"{label(name)} ({better} better)" for name, better in results.ranking)
    several = len({row.pocket for row in results.rows}) > 1
    return f"Ranked by {steps}{'; the pockets take turns' if several else ''}."


def _cards(results: Results) -> str:
    metrics, reference = results.summary.get("metrics") or {}, results.summary.get("reference") or {}
    chosen = [n for n in HEADLINES if was_run(metrics.get(n)) and metrics[n].get("mean") is not None]
    cards = []
    for name in chosen[:MOST_HEADLINES]:
        entry, unit = metrics[name], str(metrics[name].get("unit") or "")
        small = [
            tables.interval(entry, unit),
            f"n {entry.get('n', 0)} of {entry.get('population_size', '?')}",
        ]
        if reference.get(name) is not None and unit != "fraction":
            small.append(f"reference {number(reference[name], unit)}")
        unit_text = "" if unit in ("", "fraction") else f" <small>{escape(unit)}</small>"
        cards.append(
            f"<div class=card><dt>{escape(label(name))}</dt><dd><b>{escape(number(entry['mean'], unit))}</b>{unit_text}"
            f"{''.join(f'<span>{escape(text)}</span>' for text in small)}</dd></div>"
        )
    return f"<dl class=cards>{''.join(cards)}</dl>" if cards else '<p class="note">No metric has a value.</p>'


def _plots(results: Results) -> str:
    metrics, reference = results.summary.get("metrics") or {}, results.summary.get("reference") or {}
    figures = []
    for name in results.metric_names:
        values = [v for row in results.rows if (v := row.values.get(name)) is not None]
        unit = str((metrics.get(name) or {}).get("unit") or "")
        if not values or unit == "fraction" or set(values) <= {0.0, 1.0}:
            continue
        mark = reference.get(name)
        whole = all(v.is_integer() for v in values)
        median = statistics.median(values)
        middle = number(int(median) if whole and median.is_integer() else median)
        told = f"median {middle}" + ("" if mark is None else f", reference {number(mark)}")
        beyond = outside(values, mark)
        keys = ['<i class="key median"></i>median ' + middle]
        keys += [] if mark is None else ['<i class="key reference"></i>reference ' + number(mark)]
        keys += [f"{beyond} beyond the axis"] if beyond else []
        title = label(name) + (f" ({unit})" if unit and unit not in label(name) else "")
        figures.append(
            f"<figure><figcaption><b>{escape(title)}</b> <span>n {len(values)}</span></figcaption>"
            f"{histogram(values, mark, f'Histogram of {title}: {len(values)} molecules, {told}')}"
            f"<p class=keys>{' '.join(f'<span>{key}</span>' for key in keys)}</p></figure>"
        )
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def _markdown(results: Results, embedded: Embedded) -> str:
    summary = results.summary
    parts = ["# Evaluation report", ""]
    parts += [f"{summary.get('requested', '?')} molecules requested, {len(results.molecules)} valid.", ""]
    parts += [f"- {markdown(note)}" for note in results.missing] + [""] * bool(results.missing)
    shown = {name: table for name, table in _tables(results).items() if table.rows or table.note}
    if len(summary.get("pockets") or {}) < 2:
        shown.pop("pockets", None)
    parts += [markdown_table(table) for table in shown.values()]
    return "\n".join(parts).rstrip("\n") + "\n"
