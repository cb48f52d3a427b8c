"""One record of the published CrossDocked2020 files as a Complex, or the reason why it is refused.

The records hold elements and bond types, but no formal charges, hydrogens or residue numbers: these are derived here.
"""

from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.records import Complex, Ligand, Pocket, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.ligands import BOND_TYPES, conformer, ligand_from_mol

# The types of `protein_atom_to_aa_type`, in the order of their one-letter codes.
AMINO_ACID_TYPES = (
    "ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS", "ILE", "LYS", "LEU",
    "MET", "ASN", "PRO", "GLN", "ARG", "SER", "THR", "VAL", "TRP", "TYR",
)  # fmt: skip
FURTHEST_LIGAND = 8.0  # Å from the nearest pocket atom
MAX_LIGAND_ATOMS = 512  # with hydrogens; the limit on heavy atoms is that of every ligand
MAX_PROTEIN_ATOMS = 20000
MAX_REPAIRS = 3  # aromatic nitrogens of one ring system whose hydrogen or charge the bonds alone do not give


class _Refused(ValueError):
    """A record cannot be used; args are the reason and the detail of its Rejection."""


def complex_from_record(record: object, key: str) -> Complex | Rejection:
    """An unpickled record as a Complex whose id is the ligand's file name without its ending.

    `key` names the record where it has no file name. Never raises for what a record may hold.
    """
    name = key
    try:
        if not isinstance(record, dict):
            raise _Refused("not a record", f"a {type(record).__name__} where a dict belongs")
        name = Path(_text(record, "ligand_filename")).with_suffix("").as_posix()
        protein = _text(record, "protein_filename")
        mol = _ligand_mol(record)
        ligand = ligand_from_mol(mol, name)
        if isinstance(ligand, Rejection):
            return ligand
        pocket = _pocket(record, ligand, protein)
    except _Refused as refusal:
        return Rejection(name, *refusal.args)
    return Complex(name, ligand, pocket, smiles=Chem.MolToSmiles(mol), source="CrossDocked2020")


def _text(record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value:
        raise _Refused("missing field", f"{field} is {str(value)[:40]!r}")
    return value


def _numbers(record: dict[str, Any], field: str, dtype: type, shape: tuple[int | None, ...] = (None,)) -> NDArray[Any]:
    """A field as an array of `dtype`, from a tensor, an array or a list. None in `shape`: any length."""
    if field not in record:
        raise _Refused("missing field", field)
    try:
        array = np.asarray(record[field])
    except (TypeError, ValueError, RuntimeError) as error:
        raise _Refused("wrong field", f"{field}: {str(error)[:80]}") from None
    fits = array.ndim == len(shape) and all(want in (None, n) for want, n in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "biuf":
        raise _Refused("wrong field", f"{field} has shape {array.shape} and type {array.dtype}")
    if not np.isfinite(array).all():
        raise _Refused("non-finite coordinates", field)
    return array.astype(dtype)


def _pocket(record: dict[str, Any], ligand: Ligand, name: str) -> Pocket:
    """Heavy atoms of the record's protein part (residues within 10 Å of the ligand)."""
    element = _numbers(record, "protein_element", np.int64)
    x = _numbers(record, "protein_pos", np.float32, (None, 3))
    amino_acid = _numbers(record, "protein_atom_to_aa_type", np.int64)
    names = _atom_names(record)
    if not len(element) == len(x) == len(amino_acid) == len(names):
        raise _Refused("wrong field", f"{len(element)} protein elements, {len(x)} positions, {len(names)} atom names")
    heavy = (element > 1) & (element < 119)
    if not heavy.any() or len(element) > MAX_PROTEIN_ATOMS:
        raise _Refused("pocket size", f"{int(heavy.sum())} heavy atoms of {len(element)}")
    gap = np.linalg.norm(x[heavy][:, None] - ligand.x[None], axis=-1).min()
    if gap > FURTHEST_LIGAND:
        raise _Refused("ligand far from the pocket", f"{gap:.1f} Å from the nearest pocket atom")
    residues = np.array([vocab.RESIDUES.index(r) for r in AMINO_ACID_TYPES] + [vocab.OTHER_RESIDUE], dtype=np.uint8)
    known = (amino_acid >= 0) & (amino_acid < len(AMINO_ACID_TYPES))
    classes = {n: i for i, n in enumerate(vocab.ATOM_NAMES)}
    return Pocket(
        element=element[heavy].astype(np.uint8),
        residue=residues[np.where(known, amino_acid, len(AMINO_ACID_TYPES))][heavy],
        atom_name=np.array([classes.get(n, vocab.OTHER_ATOM) for n in names], dtype=np.uint8)[heavy],
        residue_index=_residue_index(amino_acid, names)[heavy],
        x=x[heavy],
        name=name,
    )


def _atom_names(record: dict[str, Any]) -> list[str]:
    names = record.get("protein_atom_name")
    if not isinstance(names, list | tuple | np.ndarray):
        raise _Refused("missing field", f"protein_atom_name is a {type(names).__name__}, not a list of names")
    return [n.decode("latin1").strip() if isinstance(n, bytes) else str(n).strip() for n in names]


def _residue_index(amino_acid: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int16]:
    """Running number of the residue of each atom, [M].

    A residue begins at every backbone N, where the amino acid changes, and where an atom name comes a second time
    (two residues of one kind, the second without its N).
    """
    index = np.zeros(len(names), dtype=np.int16)
    current = -1
    seen: set[str] = set()
    for i, name in enumerate(names):
        if i == 0 or name == "N" or name in seen or amino_acid[i] != amino_acid[i - 1]:
            current, seen = current + 1, set()
        seen.add(name)
        index[i] = current
    return index


def _ligand_mol(record: dict[str, Any]) -> Chem.Mol:
    """Sanitised molecule of the heavy atoms, with its conformer.

    Charges and hydrogens are those of `ligand_smiles` where the record has one that fits its bonds. Otherwise they
    are derived from the bonds: hydrogens fill the normal valences; nitrogen with four bonds becomes N+ and a terminal
    oxygen on it O- (nitro groups, N-oxides, quaternary amines); sulphur with three single bonds becomes S+; in an
    aromatic ring without a Kekulé form the fewest and first nitrogens become [nH] (two neighbours) or n+ (three).
    Anything else is refused.
    """
    x = _numbers(record, "ligand_pos", np.float64, (None, 3))
    mol = _bonded_atoms(record)
    if len(x) != mol.GetNumAtoms():
        raise _Refused("wrong coordinates", f"{mol.GetNumAtoms()} ligand atoms but {len(x)} positions")
    with rdBase.BlockLogs():
        result = _with_charges_of_smiles(mol, record.get("ligand_smiles")) or _with_derived_charges(mol)
        result.AddConformer(conformer(x), assignId=True)
        return Chem.RemoveAllHs(result)


def _bonded_atoms(record: dict[str, Any]) -> Chem.RWMol:
    """Atoms and bonds as they are in the record, each bond once, nothing derived."""
    element = _numbers(record, "ligand_element", np.int64)
    ends = _numbers(record, "ligand_bond_index", np.int64, (2, None)).T
    orders = _numbers(record, "ligand_bond_type", np.int64)
    if not 0 < len(element) <= MAX_LIGAND_ATOMS:
        raise _Refused("ligand size", f"{len(element)} atoms")
    unknown = set(element.tolist()) - {1, *vocab.VOCABULARY.ligand_elements}
    if unknown:
        raise _Refused("unknown element", f"atomic number {min(unknown)}")
    if len(ends) != len(orders) or (len(ends) and (ends.min() < 0 or ends.max() >= len(element))):
        raise _Refused("wrong bonds", f"{len(orders)} bond types for {len(ends)} bonds of {len(element)} atoms")
    kinds = {number: kind for kind, number in BOND_TYPES.items()}
    bonds: dict[tuple[int, int], int] = {}
    for (i, j), order in zip(ends.tolist(), orders.tolist(), strict=True):
        if i == j or order not in kinds or bonds.setdefault((min(i, j), max(i, j)), order) != order:
            raise _Refused("wrong bonds", f"bond {i + 1}-{j + 1} of type {order}")
    mol = Chem.RWMol()
    for number in element.tolist():
        mol.AddAtom(Chem.Atom(number))
    for (i, j), order in bonds.items():
        mol.AddBond(i, j, kinds[order])
        if order == vocab.AROMATIC:
            mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
            mol.GetAtomWithIdx(i).SetIsAromatic(True)
            mol.GetAtomWithIdx(j).SetIsAromatic(True)
    return mol


def _with_charges_of_smiles(mol: Chem.RWMol, smiles: object) -> Chem.RWMol | None:
    """A sanitised copy with the charges and hydrogens of a SMILES of the same molecule; None if it does not fit."""
    template = Chem.MolFromSmiles(smiles) if isinstance(smiles, str) else None
    if template is None or template.GetNumAtoms() != mol.GetNumAtoms() or template.GetNumBonds() != mol.GetNumBonds():
        return None
    skeleton = Chem.RWMol(template)
    for atom in skeleton.GetAtoms():  # a charged atom of a query matches only atoms of that charge
        atom.SetFormalCharge(0)
    match = mol.GetSubstructMatch(skeleton)
    if len(match) != mol.GetNumAtoms():
        return None
    copy = Chem.RWMol(mol)
    for wanted, place in zip(template.GetAtoms(), match, strict=True):
        atom = copy.GetAtomWithIdx(place)
        atom.SetFormalCharge(wanted.GetFormalCharge())
        atom.SetNumExplicitHs(wanted.GetTotalNumHs())
        atom.SetNoImplicit(True)
    return copy if _sanitises(copy) else None


def _with_derived_charges(mol: Chem.RWMol) -> Chem.RWMol:
    """A sanitised copy with charges and hydrogens that the valences of its bonds ask for."""
    copy = Chem.RWMol(mol)
    for atom in copy.GetAtoms():
        orders = [b.GetBondTypeAsDouble() for b in atom.GetBonds()]
        if atom.GetAtomicNum() == 7 and not atom.GetIsAromatic() and sum(orders) == 4:
            _make_cation(atom)
        elif atom.GetAtomicNum() == 16 and orders == [1.0, 1.0, 1.0]:
            atom.SetFormalCharge(1)
    for system in _aromatic_systems(copy):
        copy = _kekulisable(copy, system)
    final = Chem.RWMol(copy)
    if not _sanitises(final):
        found = Chem.DetectChemistryProblems(copy)
        raise _Refused("impossible bonds", found[0].Message()[:100] if found else "the ligand does not sanitise")
    return final


def _aromatic_systems(mol: Chem.RWMol) -> list[frozenset[int]]:
    """Atoms connected by aromatic bonds, for each such group of atoms."""
    aromatic = Chem.RWMol(mol)
    for bond in mol.GetBonds():
        if not bond.GetIsAromatic():
            aromatic.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return [frozenset(atoms) for atoms in Chem.GetMolFrags(aromatic) if len(atoms) > 1]


def _kekulisable(mol: Chem.RWMol, system: frozenset[int]) -> Chem.RWMol:
    """A copy in which the fewest, first nitrogens of one aromatic system are changed so that it has a Kekulé form;
    one that leaves the whole system aromatic is preferred."""
    nitrogens = [i for i in sorted(system) if mol.GetAtomWithIdx(i).GetAtomicNum() == 7]
    second_best = None
    for chosen in chain.from_iterable(combinations(nitrogens, count) for count in range(MAX_REPAIRS + 1)):
        copy = Chem.RWMol(mol)
        for i in chosen:
            atom = copy.GetAtomWithIdx(i)
            if atom.GetDegree() == 2:
                atom.SetNumExplicitHs(1)
            else:
                _make_cation(atom)
        left = [p for p in Chem.DetectChemistryProblems(copy) if p.GetType() == "KekulizeException"]
        if any(system & set(p.GetAtomIndices()) for p in left):
            continue
        if left or _stays_aromatic(copy, system):
            return copy
        second_best = second_best or copy
    if second_best is None:
        raise _Refused("impossible bonds", f"no Kekulé form of the aromatic atoms {[i + 1 for i in sorted(system)]}")
    return second_best


def _stays_aromatic(mol: Chem.RWMol, system: frozenset[int]) -> bool:
    copy = Chem.RWMol(mol)
    return _sanitises(copy) and all(copy.GetAtomWithIdx(i).GetIsAromatic() for i in system)


def _make_cation(nitrogen: Chem.Atom) -> None:
    """N+, and O- for one terminal oxygen that a single bond ties to it."""
    nitrogen.SetFormalCharge(1)
    for bond in nitrogen.GetBonds():
        other = bond.GetOtherAtom(nitrogen)
        if other.GetAtomicNum() == 8 and other.GetDegree() == 1 and bond.GetBondType() == Chem.BondType.SINGLE:
            other.SetFormalCharge(-1)
            return


def _sanitises(mol: Chem.RWMol) -> bool:
    return Chem.SanitizeMol(mol, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE
