"""Rigid receptors for AutoDock Vina: hydrogens and atom types by meeko's templates, offline.

Residues without a template are left out, and said; metals become single atoms of their own type.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.poses import Protein
from ligandsmith.files import whole_file

METALS = {12: "Mg", 20: "Ca", 25: "Mn", 26: "Fe", 30: "Zn"}  # atomic number -> Vina's atom type
LIKE = {"MSE": "MET", "SEP": "SER", "TPO": "THR", "PTR": "TYR", "KCX": "LYS", "CSO": "CYS", "HYP": "PRO"}
BACKBONE_AND_SIDE = {
    "MET": {"N", "CA", "C", "O", "OXT", "CB", "CG", "SD", "CE"},
    "SER": {"N", "CA", "C", "O", "OXT", "CB", "OG"},
    "THR": {"N", "CA", "C", "O", "OXT", "CB", "OG1", "CG2"},
    "TYR": {"N", "CA", "C", "O", "OXT", "CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ", "OH"},
    "LYS": {"N", "CA", "C", "O", "OXT", "CB", "CG", "CD", "CE", "NZ"},
    "CYS": {"N", "CA", "C", "O", "OXT", "CB", "SG"},
    "PRO": {"N", "CA", "C", "O", "OXT", "CB", "CG", "CD"},
}  # fmt: skip
LEFT_OUT = "REMARK left out: "


@dataclass(frozen=True)
class Receptor:
    """A rigid receptor as PDBQT text, and the residues that are not in it."""

    pdbqt: str
    left_out: tuple[str, ...] = ()


def prepared(protein: Protein, folder: Path | None = None) -> Receptor:
    """The receptor of a protein; kept in `folder` (a file named by the coordinates) and read from there next time.

    Raises LigandsmithError if meeko can prepare nothing of it.
    """
    if folder is None:
        return prepare(protein)
    digest = hashlib.sha256(protein.element.tobytes() + protein.x.tobytes()).hexdigest()[:16]
    path = folder / f"{digest}.pdbqt"
    if path.is_file():
        first, pdbqt = path.read_text(encoding="utf-8").split("\n", 1)
        return Receptor(pdbqt, tuple(filter(None, first.removeprefix(LEFT_OUT).split(", "))))
    receptor = prepare(protein)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(f"{LEFT_OUT}{', '.join(receptor.left_out)}\n{receptor.pdbqt}", encoding="utf-8")
    return receptor


def prepare(protein: Protein) -> Receptor:
    """Hydrogens, types and charges for all residues that meeko has templates for."""
    from meeko import (  # noqa: PLC0415 (optional, and slow to import)
        MoleculePreparation,
        PDBQTWriterLegacy,
        Polymer,
        ResidueChemTemplates,
    )

    templates = ResidueChemTemplates.create_from_defaults()
    known = {name for name in templates.residue_templates if len(name) == 3}
    text, metals, left_out = _as_pdb(protein, known)
    logging.getLogger("meeko").setLevel(logging.ERROR)
    try:
        with rdBase.BlockLogs():
            polymer = Polymer.from_pdb_string(
                text, templates, MoleculePreparation(), allow_bad_res=True, default_altloc="A"
            )
            rigid, _ = PDBQTWriterLegacy.write_from_polymer(polymer)
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise LigandsmithError(f"meeko cannot prepare {protein.path}: {' '.join(str(error).split())[:200]}") from error
    bad = [f"{key} (incomplete)" for key, monomer in polymer.monomers.items() if monomer.rdkit_mol is None]
    return Receptor(rigid.rstrip() + "\n" + "".join(metals), tuple(left_out + bad))


def _as_pdb(protein: Protein, known: set[str]) -> tuple[str, list[str], list[str]]:
    """PDB text of residues with a template, PDBQT lines of metals, and names of what is left out."""
    atoms: list[str] = []
    metals: list[str] = []
    left_out: list[str] = []
    order = np.argsort(protein.residue_index, kind="stable")
    first = np.searchsorted(protein.residue_index[order], np.arange(len(protein.residues)))
    last = np.append(first[1:], len(order))
    for number, (chain, name, seqid, _) in enumerate(protein.residues):
        rows = order[first[number] : last[number]].tolist()
        label = f"{name} {chain}{seqid}"
        if len(rows) == 1 and int(protein.element[rows[0]]) > 10:
            kind = METALS.get(int(protein.element[rows[0]]))
            if kind is None:
                left_out.append(label)
            else:
                metals.append(_metal_line(protein.x[rows[0]], kind, len(metals) + 1))
            continue
        plain = LIKE.get(name, name)
        if plain not in known:
            left_out.append(label)
            continue
        for row in rows:
            atom = "SD" if (name, protein.name[row]) == ("MSE", "SE") else protein.name[row]
            element = "S" if (name, protein.name[row]) == ("MSE", "SE") else _symbol(int(protein.element[row]))
            if plain == name or atom in BACKBONE_AND_SIDE[plain]:
                atoms.append(_atom_line(len(atoms) + 1, (atom, plain, chain, seqid), protein.x[row], element))
    return "".join(atoms) + "END\n", metals, left_out


def _symbol(element: int) -> str:
    return str(Chem.GetPeriodicTable().GetElementSymbol(element))


def _atom_line(serial: int, names: tuple[str, str, str, int], x: Any, element: str) -> str:
    atom, residue, chain, number = names
    padded = atom.ljust(4) if len(atom) > 3 or len(element) > 1 else f" {atom:<3}"
    place = f"ATOM  {serial % 100000:5d} {padded} {residue:>3} {chain[:1] or 'A'}{number:4d}    "
    return f"{place}{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  0.00          {element:>2}\n"


def _metal_line(x: Any, kind: str, serial: int) -> str:
    place = f"ATOM  {serial:5d} {kind.upper():<4} {kind.upper():>3} Z{serial:4d}    "
    return f"{place}{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  0.00     0.000 {kind}\n"
