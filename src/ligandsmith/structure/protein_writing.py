"""Protein structures -> PDB and mmCIF files, under the labels of the file that they were read from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import gemmi
from scipy.spatial import cKDTree

from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.hydrogens import FilledAtom, pdb_atom
from ligandsmith.structure.protein import Protein
from ligandsmith.structure.vocabulary import RESIDUES

LONGEST_PDB_CHAIN = 2  # letters of a chain's name in a PDB file
PDB_ENDINGS, MMCIF_ENDINGS = (".pdb", ".ent"), (".cif", ".mmcif")


def labelled_structure(
    protein: Protein, atoms: Mapping[int, Sequence[FilledAtom]], original: gemmi.Structure
) -> gemmi.Structure:
    """The atoms under the labels of the file, with the B factors and the cell of the original."""
    seen = [(atom.pos.tolist(), atom.b_iso) for chain in original[0] for residue in chain for atom in residue]
    tree, b_factors = cKDTree([x for x, _ in seen]), [b for _, b in seen]
    model = gemmi.Model(1)
    chains: dict[str, int] = {}
    for index, found in atoms.items():
        label = protein.residues[index]
        if label.chain not in chains:
            chains[label.chain] = len(model)
            model.add_chain(gemmi.Chain(label.chain if label.own_chain is None else label.own_chain))
        residue = gemmi.Residue()
        residue.name, residue.seqid = label.name, gemmi.SeqId(label.number, label.insertion or " ")
        residue.het_flag = "H" if label.het or label.name not in RESIDUES else "A"
        for atom in found:
            residue.add_atom(pdb_atom(atom, b_factors[int(tree.query(atom.x)[1])]))
        model[chains[label.chain]].add_residue(residue)
    structure = gemmi.Structure()
    structure.name, structure.cell, structure.spacegroup_hm = protein.name, original.cell, original.spacegroup_hm
    structure.add_model(model)
    structure.setup_entities()
    return structure


def require_writable_name(path: Path) -> None:
    """Raise LigandsmithError for the name of a file of another format."""
    if path.suffix.lower() not in (*PDB_ENDINGS, *MMCIF_ENDINGS):
        raise LigandsmithError(f"{path}: the name of a prepared protein ends in .pdb or .cif")


def structure_text(structure: gemmi.Structure, path: Path) -> str:
    """The text of a structure in the format that the name of a file asks for.

    Raises LigandsmithError for another format, and for names of chains that a PDB file cannot hold.
    """
    require_writable_name(path)
    if path.suffix.lower() in MMCIF_ENDINGS:
        return str(structure.make_mmcif_document().as_string())
    if long := [chain.name for chain in structure[0] if len(chain.name) > LONGEST_PDB_CHAIN]:
        raise LigandsmithError(f"{path}: a PDB file cannot hold the name of chain {long[0]}; name a .cif file")
    return str(structure.make_pdb_string())
