"""What stays of one or several ligands, as the fragment that new ligands are grown from.

A part is replaced (`without_atoms`), the ring system is exchanged and its substituents stay (`substituents`), the ring
system stays and gets new substituents (`scaffold`), and fragments of several files are linked or merged (`joined`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from ligandsmith.chem.fragment import Fragment, part_of, read_fragment
from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand
from ligandsmith.structure.vocabulary import AROMATIC, SINGLE

SAME_PLACE = 0.75  # Å; atoms of two fragments this close become one


def chosen_atoms(mol: Chem.Mol, smarts: str) -> tuple[int, ...]:
    """Numbers, from 1, of the atoms of the first match of a pattern. Raises LigandsmithError."""
    pattern = Chem.MolFromSmarts(smarts)
    if pattern is None:
        raise LigandsmithError(f"--smarts {smarts}: RDKit cannot read this pattern")
    match = mol.GetSubstructMatch(pattern)
    if not match:
        raise LigandsmithError(f"--smarts {smarts}: the reference has no such part")
    return tuple(atom + 1 for atom in match)


def without_atoms(mol: Chem.Mol, numbers: Iterable[int]) -> Fragment:
    """All heavy atoms but those with these numbers (from 1, hydrogens count), open where bonds to them were cut."""
    wanted, count = set(numbers), mol.GetNumAtoms()
    if wanted and max(wanted) > count:
        raise LigandsmithError(f"--atoms: no atom {max(wanted)}; the reference has atoms 1 to {count}")
    heavy = _numbered(mol)
    out = np.array([atom.GetIntProp("_number") in wanted for atom in heavy.GetAtoms()])
    return _rest(heavy, out, "--atoms")


def substituents(mol: Chem.Mol) -> Fragment:
    """All atoms outside of the Murcko scaffold (rings and what links them), open where the scaffold was."""
    heavy, inside = _with_scaffold(mol)
    if inside.all():
        raise LigandsmithError("--hop: the reference is a bare scaffold, so nothing would stay; use --num_atoms alone")
    return _rest(heavy, inside, "--hop")


def scaffold(mol: Chem.Mol) -> Fragment:
    """The Murcko scaffold, open at every atom with a hydrogen or a former substituent."""
    heavy, inside = _with_scaffold(mol)
    rest = _rest(heavy, ~inside, "--decorate") if not inside.all() else Fragment(_ligand(heavy))
    return replace(rest, grows=None)


def murcko(mol: Chem.Mol) -> str:
    """SMILES of the Murcko scaffold, without stereo; empty without rings."""
    return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol), isomericSmiles=False))


def scaffold_atoms(mol: Chem.Mol) -> NDArray[np.bool_]:
    """Which heavy atoms [N] are in the Murcko scaffold; none without rings."""
    heavy = _numbered(mol)
    core = MurckoScaffold.GetScaffoldForMol(heavy)
    numbers = {atom.GetIntProp("_number") for atom in core.GetAtoms() if atom.HasProp("_number")}
    return np.array([atom.GetIntProp("_number") in numbers for atom in heavy.GetAtoms()], dtype=np.bool_)


def joined(sources: Sequence[Path | Chem.Mol | Fragment]) -> Fragment:
    """Fragments of several files as one, to be linked; atoms that lie within 0.75 Å of an earlier fragment's are merged
    with them. Raises LigandsmithError where a merged atom would get too many bonds."""
    fragments = [read_fragment(source) for source in sources]
    whole = fragments[0]
    for number, fragment in enumerate(fragments[1:], 2):
        whole = _merged(whole, fragment, number)
    try:
        mol_from_ligand(whole.ligand)
    except Chem.MolSanitizeException as error:
        raise LigandsmithError(f"--fix: the merged fragments are no molecule ({one_line(error)})") from None
    return whole


def beside(a: Fragment, b: Fragment) -> Fragment:
    """Two fragments that lie apart, as one, to be linked."""
    return _merged(a, b, 2)


def _merged(a: Fragment, b: Fragment, number: int) -> Fragment:
    first, second = a.ligand, b.ligand
    distance = np.linalg.norm(second.x[:, None] - first.x[None], axis=-1)
    shared = distance.min(1) < SAME_PLACE
    place = np.where(shared, distance.argmin(1), first.num_atoms + np.cumsum(~shared) - 1)  # [n] in the whole
    bonds = {tuple(pair): kind for pair, kind in zip(first.bond_index.tolist(), first.bond_type.tolist(), strict=True)}
    hydrogens = np.concatenate([first.num_h, second.num_h[~shared]]).astype(int)
    for (i, j), kind in zip(second.bond_index, second.bond_type, strict=True):
        pair = tuple(sorted((int(place[i]), int(place[j]))))
        if (shared[i] and shared[j]) or pair in bonds:
            continue
        bonds[pair] = int(kind)
        for atom in (i, j):
            if shared[atom]:
                hydrogens[place[atom]] -= 1 if kind in (SINGLE, AROMATIC) else int(kind)
    if (hydrogens < 0).any():
        atom = int(np.flatnonzero(hydrogens < 0)[0]) + 1
        raise LigandsmithError(
            f"--fix: fragment {number} overlaps the ones before, but their atom {atom} has no room for its bonds; "
            "leave one of them out, or the atoms that overlap"
        )

    def both(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(first, name), getattr(second, name)[~shared]])

    ligand = Ligand(
        element=both("element"), charge=both("charge"), aromatic=both("aromatic"),
        num_h=hydrogens.astype(np.uint8), x=both("x"),
        bond_index=np.array(list(bonds), dtype=np.int16).reshape(-1, 2),
        bond_type=np.array(list(bonds.values()), dtype=np.uint8),
    )  # fmt: skip
    grows = None
    if a.grows is not None or b.grows is not None:
        open_a, open_b = (f.ligand.num_h > 0 if f.grows is None else f.grows for f in (a, b))
        grows = np.concatenate([open_a, open_b[~shared]])
    return Fragment(ligand, grows)


def _numbered(mol: Chem.Mol) -> Chem.Mol:
    """The heavy atoms, each with its number in the file."""
    copy = Chem.Mol(mol)
    for atom in copy.GetAtoms():
        atom.SetIntProp("_number", atom.GetIdx() + 1)
    return Chem.RemoveAllHs(copy)


def _with_scaffold(mol: Chem.Mol) -> tuple[Chem.Mol, NDArray[np.bool_]]:
    """The heavy atoms, and which of them are in the Murcko scaffold."""
    inside = scaffold_atoms(mol)
    if not inside.any():
        raise LigandsmithError("the reference has no ring, so it has no scaffold; use --replace with --atoms")
    return _numbered(mol), inside


def _ligand(heavy: Chem.Mol) -> Ligand:
    ligand = ligand_from_mol(heavy, "the reference", whole=False)
    if isinstance(ligand, Rejection):
        raise LigandsmithError(f"the reference: {ligand.reason}: {ligand.detail}")
    return ligand


def _rest(heavy: Chem.Mol, out: NDArray[np.bool_], flag: str) -> Fragment:
    """The atoms that stay, open where a bond to the others was cut."""
    if not out.any() or out.all():
        raise LigandsmithError(
            f"{flag}: {'no atom' if not out.any() else 'every atom'} of the reference would be replaced"
        )
    for bond in heavy.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if out[i] != out[j] and bond.GetIsAromatic():
            raise LigandsmithError(
                f"{flag}: an aromatic ring would be cut at atoms {i + 1} and {j + 1}; name the whole ring"
            )
    near = Chem.GetAdjacencyMatrix(heavy).astype(bool)
    return Fragment(part_of(_ligand(heavy), ~out), near[out].any(0)[~out])
