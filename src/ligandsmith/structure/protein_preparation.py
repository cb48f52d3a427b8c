"""A protein file made ready for what follows: chains and molecules chosen, side chains completed, hydrogens at a pH.

Besides side chains, nothing is invented that was not seen: gaps and missing backbones are reported and stay. Residues
keep chain, number and insertion code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.config import Checked, setting
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import write_json, write_text
from ligandsmith.structure.completeness import missing_atoms, without_backbone
from ligandsmith.structure.hydrogens import BareResidue, FilledAtom, protonated
from ligandsmith.structure.ligands import heavy_positions
from ligandsmith.structure.pocket import copies_at, het_residues
from ligandsmith.structure.preparation_report import PreparationReport, PreparedResidues, report_of
from ligandsmith.structure.protein import Protein, Residue, read_protein, read_structure
from ligandsmith.structure.protein_writing import labelled_structure, require_writable_name, structure_text
from ligandsmith.structure.vocabulary import RESIDUES, Kind

MOLECULE_GROUPS = ("metals", "cofactors", "ligands", "buffers")
KNOWN_CAPS = frozenset({"ACE", "NME"})  # to PDB2PQR
COORDINATION = 2.8  # Å, at most, from a metal to the nitrogen or sulfur that binds it
ALKALI_METALS = (3, 11, 19, 37, 55)  # of which nitrogen and sulfur are no ligands
UNMOVED = 0.05  # Å; less is rounding
WATER_OXYGEN, METHIONINE_SULFUR = 8, 16  # atomic numbers


@dataclass(frozen=True)
class PreparationOptions(Checked):
    """What of a protein file is kept, and the pH of its hydrogens."""

    ph: float = setting(7.4, "pH of the hydrogens", 0, 14)
    keep_waters: float = setting(0.0, "keep waters within this distance of the ligand, Å", 0, 100)
    chains: tuple[str, ...] = ()  # empty: all
    keep: tuple[str, ...] = ("metals", "cofactors")  # of MOLECULE_GROUPS, or molecules by NAME or CHAIN:NAME:NUMBER


class PreparedProtein(NamedTuple):
    """A structure to write, and what was done to get it."""

    structure: gemmi.Structure
    report: PreparationReport


def prepare_protein(
    path: Path, options: PreparationOptions, ligand: Chem.Mol | None = None, het: str = "", allow_dropped: bool = False
) -> PreparedProtein:
    """Prepare a PDB or mmCIF file. The ligand of the site, a molecule or `het` of the file, bears on pKa values and
    hydrogens; its copies in the file are left out unless `options.keep` names them.

    Raises LigandsmithError for a file that cannot be read, chains and molecules that are not there, and a failure of
    PDB2PQR.
    """
    protein = read_protein(path, allow_dropped, waters=True)
    points = np.empty((0, 3)) if ligand is None else heavy_positions(ligand)
    reference = het_residues(protein, het) if het else copies_at(protein, points) if len(points) else []
    around = points if len(points) else protein.x[np.isin(protein.residue_of, reference)]
    kept = _kept_residues(protein, options, reference, around)
    seen = sorted({*kept, *reference})
    bare = _bare_residues(protein, seen)
    if ligand is not None and not reference:
        bare.append(_bare_ligand(ligand))
    answer = protonated(bare, options.ph, str(path))
    filled = dict(zip(seen, answer.residues, strict=False))
    place = {i: rows for i, rows in enumerate(_rows_of(protein))}
    atoms = {i: _final_atoms(protein, place[i], filled[i]) for i in kept}
    groups = [group._replace(residue=seen[group.residue]) for group in answer.groups if group.residue < len(seen)]
    report = report_of(protein, PreparedResidues(kept, reference, filled, groups), options.ph, str(path))
    return PreparedProtein(labelled_structure(protein, atoms, read_structure(path)), report)


def write_prepared(prepared: PreparedProtein, out: Path) -> Path:
    """Write a prepared protein as PDB or mmCIF, by its name, and its report as NAME.json, whose path is returned.

    Raises LigandsmithError for another format.
    """
    text, report = structure_text(prepared.structure, out), out.with_suffix(".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    write_json(report, prepared.report.to_dict())
    return report


def require_new(out: Path, protein: Path, overwrite: bool = False) -> None:
    """Raise LigandsmithError for a name that `write_prepared` cannot take, and for files that it would replace."""
    require_writable_name(out)
    there = [path for path in (out, out.with_suffix(".json")) if path.exists()]
    if any(path.is_dir() or (protein.exists() and path.samefile(protein)) for path in there):
        raise LigandsmithError(f"{out}: a folder, or the file to prepare itself; name another file")
    if there and not overwrite:
        raise LigandsmithError(f"{there[0]}: exists already; name another file, or replace it with --overwrite")


def _rows_of(protein: Protein) -> list[NDArray[np.int64]]:
    """The atoms of each residue."""
    return np.split(np.arange(protein.num_atoms), np.flatnonzero(np.diff(protein.residue_of)) + 1)


def _kept_residues(
    protein: Protein, options: PreparationOptions, reference: Sequence[int], points: NDArray[np.floating]
) -> list[int]:
    """The residues that are written, by index. Raises LigandsmithError for choices that the file does not have."""
    chains = {name for r in protein.residues for name in (r.chain, r.own_chain) if name is not None}
    if missing := sorted(set(options.chains) - chains):
        raise LigandsmithError(f"{protein.name}: no chain {', '.join(missing)}; there are {', '.join(sorted(chains))}")
    names = {name for i in protein.hets for name in (protein.residues[i].name, *protein.residues[i].names[1::2])}
    if wrong := sorted(set(options.keep) - {*MOLECULE_GROUPS, *names}):
        raise LigandsmithError(
            f"{protein.name}: no molecule {', '.join(wrong)} to keep; give {', '.join(MOLECULE_GROUPS)} or names "
            "that the file has"
        )
    if options.keep_waters and not len(points):
        raise LigandsmithError(f"{protein.name}: waters are kept around a ligand; name it with --ligand or --het")
    near = _residues_near(protein, points, options.keep_waters)
    kept = []
    for index, residue in enumerate(protein.residues):
        named = {residue.name, *residue.names[1::2]} & set(options.keep)
        chosen = not options.chains or {residue.chain, residue.own_chain} & set(options.chains)
        if residue.kind is Kind.WATER:
            wanted = index in near
        elif residue.kind is Kind.POLYMER:
            wanted = bool(chosen) and index not in reference
        else:
            wanted = bool(named) or bool(chosen and index not in reference and _group(residue) in options.keep)
        kept += [index] if wanted else []
    if not any(protein.residues[i].kind is Kind.POLYMER for i in kept):
        raise LigandsmithError(f"{protein.name}: no amino acids in what is chosen of it")
    return kept


def _group(residue: Residue) -> str:
    if residue.kind is Kind.LIGAND:
        return "buffers" if residue.is_additive else "ligands"
    return "metals" if residue.kind is Kind.METAL else "cofactors"


def _residues_near(protein: Protein, points: NDArray[np.floating], reach: float) -> set[int]:
    if not reach or not len(points):
        return set()
    distance, _ = cKDTree(points).query(protein.x)
    return set(protein.residue_of[distance <= reach].tolist())


def _bare_residues(protein: Protein, seen: Sequence[int]) -> list[BareResidue]:
    """What PDB2PQR gets: amino acids with a whole backbone, waters, and all the rest as surroundings."""
    rows_of, lacking, bound = _rows_of(protein), missing_atoms(protein), _metal_bound(protein, seen)
    segments = _segments(protein, seen)
    bare = []
    for index in seen:
        residue, rows = protein.residues[index], rows_of[index]
        amino = residue.name in (*RESIDUES[:-1], *KNOWN_CAPS) and residue.kind is Kind.POLYMER
        whole = not without_backbone(lacking.get(index, ()))
        name = bound.get(index, residue.name)
        if residue.kind is not Kind.WATER and not (amino and whole):
            name = residue.name[:3] if residue.het and len(rows) == 1 else "LIG"
        segment = segments[index] if amino and whole else None
        bare.append(BareResidue(name, segment, _own_atoms(protein, rows)))
    return bare


def _own_atoms(protein: Protein, rows: NDArray[np.int64]) -> list[FilledAtom]:
    """The atoms of a residue of the file under their usual names: selenium of what is called methionine is its
    sulfur, and of a water there is only the oxygen."""
    residue = protein.residues[protein.residue_of[rows[0]]]
    named = zip(
        protein.atom_label[rows].tolist(), protein.element[rows].tolist(), protein.x[rows].tolist(), strict=True
    )
    atoms = [FilledAtom(name, element, tuple(x)) for name, element, x in named]
    if residue.kind is Kind.WATER:
        return [atom._replace(name="O") for atom in atoms if atom.element == WATER_OXYGEN][:1]
    if residue.name == "MET":
        return [atom._replace(name="SD", element=METHIONINE_SULFUR) if atom.name == "SE" else atom for atom in atoms]
    return atoms


def _segments(protein: Protein, seen: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Chain, and the number of the part of it where an OXT ends one, by residue."""
    ends = set(protein.residue_of[protein.atom_label == "OXT"].tolist())
    part: dict[str, int] = {}
    segments = {}
    for index in seen:
        chain = protein.residues[index].chain
        segments[index] = chain, part.setdefault(chain, 0)
        part[chain] += index in ends
    return segments


def _metal_bound(protein: Protein, seen: Sequence[int]) -> dict[int, str]:
    """Histidines and cysteines that bind a metal, by index, with the force field's name of the state that can."""
    binds = (protein.kind == Kind.METAL) & ~np.isin(protein.element, ALKALI_METALS)
    metals = protein.x[binds & np.isin(protein.residue_of, seen)]
    if not len(metals):
        return {}
    distance, _ = cKDTree(metals).query(protein.x)
    states: dict[int, str] = {}
    for row in np.flatnonzero(distance <= COORDINATION).tolist():
        index, label = int(protein.residue_of[row]), str(protein.atom_label[row])
        state = {("HIS", "ND1"): "HIE", ("HIS", "NE2"): "HID", ("CYS", "SG"): "CYM"}
        name = state.get((protein.residues[index].name, label))
        if name:
            states[index] = name
    return states


def _bare_ligand(mol: Chem.Mol) -> BareResidue:
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    named = enumerate(zip(heavy, heavy_positions(mol).tolist(), strict=True), 1)
    return BareResidue("LIG", None, [FilledAtom(f"{a.GetSymbol()}{n}"[:4], a.GetAtomicNum(), x) for n, (a, x) in named])


def _final_atoms(protein: Protein, rows: NDArray[np.int64], filled: Sequence[FilledAtom]) -> list[FilledAtom]:
    """Atoms to write: those of the file, moved only where PDB2PQR turned a side chain, and what it added.

    An OXT that the file does not have is no missing atom: where a chain was seen to end is rarely its end.
    """
    places = {atom.name: atom for atom in filled}
    atoms = []
    for atom in _own_atoms(protein, rows):
        new = places.pop(atom.name, atom)
        atoms.append(new if np.linalg.norm(np.subtract(new.x, atom.x)) > UNMOVED else atom)
    added = [atom for atom in places.values() if atom.name != "OXT"]
    return atoms + sorted(added, key=lambda atom: atom.element == 1)
