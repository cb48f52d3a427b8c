"""Molecules as files to take away: SDF, CSV, a PDB of the complex, the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.page import write_report
from ligandsmith.files import temporary_folder, write_csv
from ligandsmith.structure.ligands import heavy_positions, read_ligand
from ligandsmith.structure.pocket import copies_at
from ligandsmith.structure.protein import read_structure
from ligandsmith.studio.jobs import DONE, Job
from ligandsmith.studio.molecules import Library, job_folder
from ligandsmith.studio.projects import Conflict, Project
from ligandsmith.studio.sites import project_protein

SDF_END = "$$$$"
EXPORTED_NAME = "LIG"


def as_sdf(library: Library, project: Project, rows: Sequence[dict[str, Any]]) -> str:
    """The molecules as the commands wrote them, with their scores and notes as properties. Raises LigandsmithError."""
    return "".join(_record(library.record(project, row["id"]), row) for row in rows)


def _record(text: str, row: dict[str, Any]) -> str:
    scores = {name: f"{value:g}" for name, value in row["values"].items() if value is not None}
    values = {"id": row["id"], **scores, "note": row["note"], "starred": "yes" if row["starred"] else ""}
    lines = [text.rstrip().removesuffix(SDF_END).rstrip("\n"), ""]
    for name, value in values.items():
        if value and f"<{name}>" not in text:
            shown = [line for line in value.splitlines() if line.strip() and not line.startswith(SDF_END)]
            lines += [f">  <{name}>", *shown, ""]
    return "\n".join([*lines, SDF_END, ""])


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[dict[str, Any]]) -> str:
    """The table. Raises LigandsmithError for an empty one."""
    names = [column["name"] for column in columns]
    flat = [
        {"id": row["id"], "smiles": row["smiles"], **{name: _cell(row["values"].get(name)) for name in names},
         "starred": int(row["starred"]), "note": row["note"], "parent": row["parent"] or "", "move": row["move"] or ""}
        for row in rows
    ]  # fmt: skip
    if not flat:
        raise LigandsmithError("there is no molecule to export")
    with temporary_folder() as folder:
        write_csv(folder / "molecules.csv", flat)
        return (folder / "molecules.csv").read_text(encoding="utf-8")


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def as_complex(project: Project, block: str) -> str:
    """The protein with a molecule in the place of the ligand that was bound there, as PDB. Raises LigandsmithError."""
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        raise LigandsmithError("RDKit cannot read this molecule")
    structure = read_structure(project.protein_path)
    while len(structure) > 1:
        del structure[-1]
    gone = _bound(project)
    for chain in structure[0]:
        for number in reversed(range(len(chain))):
            residue = chain[number]
            if (chain.name, residue.name, f"{residue.seqid.num}{residue.seqid.icode.strip()}") in gone:
                del chain[number]
    structure.shorten_chain_names()  # the format has one letter
    _add_ligand(structure[0], mol)
    return str(structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, end_record=True)))


def _bound(project: Project) -> set[tuple[str, str, str]]:
    """Chain, name and number of what lies at the place of the reference or is the site."""
    protein = project_protein(project)
    indices: list[int] = []
    if project.ligand:
        indices = copies_at(protein, np.asarray(heavy_positions(read_ligand(project.ligand_path))))
    het = (project.site or {}).get("het")
    residues = [r for i, r in enumerate(protein.residues) if i in indices or (het and het in r.names)]
    return {(r.chain if r.own_chain is None else r.own_chain, r.name, r.place) for r in residues}


def _add_ligand(model: gemmi.Model, mol: Chem.Mol) -> None:
    taken = {chain.name for chain in model}
    name = next((letter for letter in "LXYZABCDEFGHIJKMNOPQRSTUVW0123456789" if letter not in taken), "L")
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = EXPORTED_NAME, gemmi.SeqId(1, " "), "H"
    for number, place in enumerate(mol.GetConformer().GetPositions().tolist(), 1):
        atom = gemmi.Atom()
        source = mol.GetAtomWithIdx(number - 1)
        atom.name, atom.element = f"{source.GetSymbol()}{number}"[:4], gemmi.Element(source.GetAtomicNum())
        atom.pos, atom.occ = gemmi.Position(*place), 1.0
        residue.add_atom(atom)
    model.add_chain(gemmi.Chain(name)).add_residue(residue)


def report(project: Project, job: Job) -> Path:
    """The report page of a job, written anew. Raises LigandsmithError, Conflict for a job that is not done."""
    if job.state != DONE:
        raise Conflict(f"this job is {job.state}; the report is made of a job that is done")
    return write_report(job_folder(project, job), overwrite=False)
