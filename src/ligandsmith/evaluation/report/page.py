"""The report of an evaluation or an optimisation: report.html (one file, offline, 3D), report.md, report.json.

Never imports torch.

Texts of molecules never become markup: HTML text is escaped, data is JSON in which `<` cannot appear, the page builds
its elements from text, and its content security policy runs only the scripts written here and forbids the network.
"""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rdkit import Chem

from ligandsmith.evaluation.molecule_table import MoleculeRow
from ligandsmith.evaluation.report.depiction import depict
from ligandsmith.evaluation.report.gallery import gallery, other_pictures
from ligandsmith.evaluation.report.optimisation import read_optimisation
from ligandsmith.evaluation.report.optimisation_page import OptimisationPage, optimisation_page
from ligandsmith.evaluation.report.plots import Figure, histogram, outside
from ligandsmith.evaluation.report.rendering import label, number, render
from ligandsmith.evaluation.report.results import METRIC_DEFAULTS, Results, read_results
from ligandsmith.evaluation.report.tables import all_tables
from ligandsmith.files import earlier_record, held_alone, refuse_other, write_json, write_text

Item = TypeVar("Item")
PAGES = ("report.html", "report.md", "report.json")
STRUCTURE_BYTES = 4_000_000  # of depictions, coordinates and interactions in one page
POCKET_BYTES = 4_000_000
ROW_BYTES = 6_000_000  # of rows of the table of molecules
NOT_EVALUATED = (
    "the chosen ligands in 3D, and scores of them that were no objective: run ligandsmith evaluate on this folder, "
    "with --protein and --ligand, then ligandsmith report again"
)
HEADLINES = (  # of each line the first that has a value
    ("pb_valid_of_requested", "pb_valid", "valid_connected"),
    ("vina_dock", "vina_min", "vina_score"),
    ("qed",),
    ("sa",),
    ("diversity", "unique"),
    ("strain",),
    ("clashes",),
    ("valid_connected",),
    ("unique",),
)
MOST_HEADLINES = 5
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


@dataclass(frozen=True)
class PageContent:
    """What the page carries of the molecules; `notes` say what it leaves out."""

    data: dict[str, Any]
    notes: list[str]


def write_report(folder: Path, overwrite: bool = False) -> Path:
    """Write report.html, report.md and report.json into a results folder, that of an evaluation, an optimisation or
    both; returns the path of report.html.

    Raises LigandsmithError where the results cannot be used, the folder cannot be written, or it holds files of these
    names that were not made here (which `overwrite` replaces).
    """
    folder = Path(folder)
    run = read_optimisation(folder)
    results = None if run is not None and not (folder / "summary.json").exists() else read_results(folder)
    optimisation = None if run is None else optimisation_page(run)
    with held_alone(folder):
        made_here = "report" in (earlier_record(folder / "report.json") or {})
        refuse_other(folder, PAGES, [] if made_here else None, overwrite, "rename it")
        if results is None:
            assert optimisation is not None
            _write_optimisation(folder, optimisation)
        else:
            _write(folder, results, optimisation)
    return folder / "report.html"


def _write_optimisation(folder: Path, page: OptimisationPage) -> None:
    """Of an optimisation that is not evaluated yet."""
    write_json(folder / "report.json", {"report": {"files": _files(folder), "missing": [NOT_EVALUATED]}})
    listed = [table for table in page.tables if table.rows or table.note]
    text = render("optimised.md", page=page, tables=listed, missing=[NOT_EVALUATED])
    write_text(folder / "report.md", text.rstrip() + "\n")
    write_text(folder / "report.html", render("optimised.html", page=page, missing=[NOT_EVALUATED]) + "\n")


def _write(folder: Path, results: Results, optimisation: OptimisationPage | None) -> None:
    content = _content(results)
    tables = all_tables(results)
    report = {
        "files": _files(folder),
        "molecules": len(results.molecules),
        "rows_in_page": len(content.data["rows"]),
        "structures_in_page": len(content.data["structures"]),
        "missing": [*results.missing, *content.notes],
    }
    write_json(folder / "report.json", results.summary | {"report": report})
    several = len(results.summary.get("pockets") or {}) > 1
    listed = [t for name, t in tables.items() if (t.rows or t.note) and (several or name != "pockets")]
    listed += [t for t in optimisation.tables if t.rows or t.note] if optimisation else []
    write_text(folder / "report.md", render("report.md", results=results, tables=listed).rstrip() + "\n")
    page = render(
        "report.html",
        results=results,
        headlines=_headlines(results),
        tables=tables,
        figures=_figures(results),
        pocket_count=len({row.pocket for row in results.table.rows}),
        content=content,
        optimisation=optimisation,
        gallery=gallery(results),
    )
    write_text(folder / "report.html", page + "\n")


def _files(folder: Path) -> list[str]:
    paths = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.suffix != ".part"]
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))


def _content(results: Results) -> PageContent:
    """Rows, structures and pockets within the budgets of a page, best molecules first."""
    names = _columns(results)
    pockets = list(dict.fromkeys(row.pocket for row in results.molecules))
    packed = (_pack(row, names, results.table.check_names, pockets.index(row.pocket)) for row in results.molecules)
    rows = list(_within(ROW_BYTES, packed, lambda item: len(json.dumps(item))))
    structures = dict(_within(STRUCTURE_BYTES, _structures(results, results.molecules[: len(rows)]), _structure_bytes))
    wanted = {results.molecules[k].pocket for k in structures}
    paths = {name: results.pocket_files[name] for name in pockets if name in wanted & results.pocket_files.keys()}
    texts = ((name, _heavy_atoms(path)) for name, path in paths.items())
    proteins = dict(_within(POCKET_BYTES, texts, lambda item: len(item[1])))
    total = len(results.molecules)
    notes = []
    if len(rows) < total:
        notes.append(f"the table lists the best {len(rows)} of {total} molecules; per_molecule.csv has all")
    if (results.folder / "molecules.sdf").is_file() and len(structures) < len(rows):
        notes.append(
            f"3D coordinates of {len(structures)} of {total} molecules, best ranked first, are in this "
            "page to keep it small; molecules.sdf has all"
        )
    if len(proteins) < len(paths):
        left_out = len(paths) - len(proteins)
        notes.append(f"the protein around {left_out} pockets is left out of the page; pockets/ has all")
    data = {
        "metrics": [_describe(results, name) for name in names],
        "checks": [name.replace("_", " ") for name in results.table.check_names],
        "passName": next((name for name in ("pb_valid", "connected") if name in results.table.metric_names), ""),
        "rows": rows,
        "structures": structures,
        "pictures": other_pictures(results.molecules[: len(rows)], list(structures)),
        "sites": [_site(results, name, proteins.get(name, "")) for name in pockets],
        "kinds": [{"name": name, "colour": colour} for name, colour in [*(k[:2] for k in INTERACTIONS), OTHER]],
    }
    return PageContent(data, notes)


def _within(budget: int, items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[Item]:
    """Items up to the one with which their sizes together exceed the budget."""
    total = 0
    for item in items:
        total += size(item)
        if total > budget:
            return
        yield item


def _columns(results: Results) -> list[str]:
    """Metric columns that say something of a single molecule: those with a value, but for what is the same for all."""
    same_for_all = {"valid", "valid_connected", "pb_valid_of_requested"}
    names = (name for name in results.table.metric_names if name not in same_for_all)
    return [name for name in names if any(row.values.get(name) is not None for row in results.molecules)]


def _describe(results: Results, name: str) -> dict[str, str]:
    metric = results.metrics.get(name, METRIC_DEFAULTS)
    return {"name": name, "label": label(name), **{key: str(metric[key]) for key in ("unit", "better", "meaning")}}


def _pack(row: MoleculeRow, metrics: Sequence[str], checks: Sequence[str], place: int) -> list[Any]:
    values = [None if row.values.get(n) is None else float(f"{row.values[n]:.5g}") for n in metrics]
    failed = [k for k, name in enumerate(checks) if row.checks.get(name) is False] if row.checks else None
    return [place, row.index, row.title, row.smiles, values, failed, row.detail]


def _structures(results: Results, rows: Sequence[MoleculeRow]) -> Iterator[tuple[int, list[Any]]]:
    """By number of the row: depiction, molfile without its title, interactions."""
    for k, row in enumerate(rows):
        mol = results.structures.get(row.key)
        if mol is not None:
            yield k, [depict(row.smiles), _molfile(mol), _interactions(results, f"{row.pocket}/{row.index}")]


def _structure_bytes(item: tuple[int, list[Any]]) -> int:
    picture, molfile, interactions = item[1]
    return len(picture) + len(molfile) + (len(json.dumps(interactions)) if interactions else 0)


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


def _site(results: Results, pocket: str, protein: str) -> dict[str, Any]:
    """A pocket with its residues, reference ligand and its interactions."""
    reference = results.references.get(pocket)
    return {
        "name": pocket,
        "pdb": protein,
        "reference": None if reference is None else _molfile(reference),
        "interactions": _interactions(results, f"{pocket}/reference"),
    }


def _heavy_atoms(path: Path) -> str:
    """Heavy atoms of a PDB file, without the columns that no picture needs, and with numbers that the viewer reads."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    atoms = (x for x in lines if x.startswith(("ATOM", "HETATM")) and x[76:78].strip() not in ("H", "D"))
    return "\n".join([f"{x[:22]}{_four_digits(x[22:26])}{x[26:54]:<50}{x[76:78]}" for x in atoms])


def _four_digits(number: str) -> str:
    """A residue number of a PDB file without the letters that stand for thousands beyond 9999 (hybrid-36)."""
    if not number[:1].isalpha():
        return number
    beyond = int(number, 36) - 10 * 36**3 if number[:1].isupper() else int(number, 36) + 16 * 36**3
    return f"{beyond % 10000:4d}"


def _headlines(results: Results) -> dict[str, dict[str, Any]]:
    """The numbers that the report opens with."""
    known = {name: m for name, m in results.metrics.items() if m["status"] == "ok" and m["mean"] is not None}
    chosen = dict.fromkeys(found for names in HEADLINES if (found := next((n for n in names if n in known), "")))
    return {name: known[name] for name in list(chosen)[:MOST_HEADLINES]}


def _figures(results: Results) -> list[Figure]:
    """A histogram of each metric that is neither a share nor a yes or no."""
    figures = []
    for name in results.table.metric_names:
        values = [v for row in results.table.rows if (v := row.values.get(name)) is not None]
        metric = results.metrics.get(name, METRIC_DEFAULTS)
        if values and metric["unit"] != "fraction" and not set(values) <= {0.0, 1.0}:
            figures.append(_histogram_figure(name, values, metric))
    return figures


def _histogram_figure(name: str, values: Sequence[float], metric: dict[str, Any]) -> Figure:
    unit, reference = metric["unit"], metric["reference"]
    median = statistics.median(values)
    whole = all(v.is_integer() for v in [*values, median])
    keys = [("median", f"median {number(int(median) if whole else median)}")]
    if reference is not None:
        keys.append(("reference", f"reference {number(reference)}"))
    title = label(name) + (f" ({unit})" if unit and unit not in label(name) else "")
    description = f"Histogram of {title}: {len(values)} molecules, {', '.join(text for _, text in keys)}"
    if beyond := outside(values, reference):
        keys.append(("", f"{beyond} beyond the axis"))
    return Figure(title, f"n {len(values)}", histogram(values, reference, description), keys)
