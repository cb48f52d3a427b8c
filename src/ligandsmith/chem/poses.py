"""Molecules to be judged or relaxed, from files of any format: bad records stay, with their reasons."""

import os
from pathlib import Path

from rdkit import Chem

from ligandsmith.chem.sdf import SdfRecord, read_sdf
from ligandsmith.structure.ligands import (
    MOL2_SUFFIXES,
    UNKNOWN_ORDERS,
    UnreadableFile,
    ligand_blocks,
    mol_from_block,
    orders_lost,
    refuse_format,
    suffix,
    undefined,
)
from ligandsmith.structure.templates import COORDINATE_SUFFIXES, read_poses_without_orders, with_template

OTHER_FORMATS = (".pdbqt", ".mae", ".maegz", ".oeb", ".xyz", ".smi", ".cdxml")  # any other name may be an SDF


def read_poses(path: str | os.PathLike[str], smiles: str = "") -> list[SdfRecord]:
    """All molecules of an SDF, MOL2, PDB or mmCIF file (or .gz), in order; a bad one has `mol` None and a reason.

    Each model of a PDB or mmCIF file is a pose of one molecule, which needs `smiles` or a file NAME.smi beside it. A
    record of another format without bonds is that molecule, too. Raises LigandsmithError for a file that is missing or
    unreadable.
    """
    path = Path(path)
    if path.is_file() and suffix(path) in OTHER_FORMATS:
        refuse_format(path)
    if suffix(path) in COORDINATE_SUFFIXES:
        return [SdfRecord(mol, "", path.stem) for mol in read_poses_without_orders(path, smiles)]
    if suffix(path) in MOL2_SUFFIXES:
        blocks = ligand_blocks(path)
        return [_mol2_record(block, path, number) for number, block in enumerate(blocks, 1)]
    return [_with_known_orders(record, smiles) for record in read_sdf(path)]


def _mol2_record(block: str, path: Path, number: int) -> SdfRecord:
    title = "".join(block.splitlines()[1:2]).strip()
    try:
        mol = mol_from_block(block, path, number)
    except UnreadableFile as error:
        return SdfRecord(None, f"{error.reason}: {error.detail}", title)
    mol.SetProp("_Name", title)
    return SdfRecord(mol, "", title)


def without_orders(mol: Chem.Mol) -> bool:
    """Whether a molecule of several heavy atoms has no bond at all, or only bonds of unknown order."""
    if mol.GetNumHeavyAtoms() < 2:
        return False
    return all(bond.GetBondType() in UNKNOWN_ORDERS for bond in mol.GetBonds())


def _with_known_orders(record: SdfRecord, smiles: str) -> SdfRecord:
    mol = record.mol
    if mol is None or not mol.GetConformer().Is3D():
        return record
    if smiles and without_orders(mol):
        try:
            fitted = with_template(mol, smiles, record.title or "a record without bonds")
        except UnreadableFile as error:
            return SdfRecord(None, f"{error.reason}: {error.detail}", record.title)
        for name in ("_Name", *mol.GetPropNames()):
            fitted.SetProp(name, mol.GetProp(name))
        return SdfRecord(fitted, "", record.title)
    if (detail := undefined(mol)) and not without_orders(mol):
        return SdfRecord(None, f"unsupported atom or bond: {detail}", record.title)
    lost = orders_lost(mol, mol.GetConformer().GetPositions())
    return SdfRecord(None, f"bond orders lost: {lost}", record.title) if lost else record
