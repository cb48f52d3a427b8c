"""A fragment is in the ligands as it was given, or there is a reason."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem, Geometry
from rdkit.Chem import AllChem

from ligandsmith.chem.builder import BuiltLigand, build_molecule
from ligandsmith.chem.fragment import CHANGED, Fragment, read_fragment
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import DecodedLigand
from ligandsmith.structure.vocabulary import BOND_CLASSES, NONE, SINGLE


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def fragment(smiles: str = "c1cc[nH]c1") -> Fragment:
    return read_fragment(embedded(smiles))


def decoded(size: int, bonds: list[tuple[int, int]], num_h: int = 3) -> DecodedLigand:
    """Carbons a long way off, bonded as told."""
    probs = np.zeros((size, size, len(BOND_CLASSES)), dtype=np.float32)
    probs[..., NONE] = 1
    for i, j in bonds:
        probs[i, j] = probs[j, i] = np.eye(len(BOND_CLASSES))[SINGLE]
    return DecodedLigand(
        element=np.full(size, 6, np.uint8),
        charge=np.zeros(size, np.int8),
        aromatic=np.zeros(size, bool),
        num_h=np.full(size, num_h, np.uint8),
        bond_probs=probs,
        x=np.random.default_rng(0).normal(size=(size, 3)).astype(np.float32) * 9,
    )


def test_what_was_decoded_of_the_fragment_is_overwritten() -> None:
    pyrrole = fragment()
    built = build_molecule(pyrrole.imposed(decoded(6, [(0, 2), (1, 3), (0, 5)])))
    assert isinstance(built, BuiltLigand)
    assert pyrrole.lost(built.mol) is None
    assert Chem.MolToSmiles(built.mol) in ("Cc1cc[nH]c1", "Cc1ccc[nH]1")
    assert np.array_equal(built.mol.GetConformer().GetPositions()[:5].astype(np.float32), pyrrole.ligand.x)


def test_a_bond_to_nitrogen_takes_the_place_of_its_hydrogen() -> None:
    pyrrole = fragment()
    nitrogen = int(np.flatnonzero(pyrrole.ligand.element == 7)[0])
    built = build_molecule(pyrrole.imposed(decoded(6, [(nitrogen, 5)])))
    assert isinstance(built, BuiltLigand)
    assert Chem.MolToSmiles(built.mol) == "Cn1cccc1"
    assert built.raw_valid
    assert pyrrole.lost(built.mol) is None


def test_a_fragment_that_repair_had_to_change_is_a_failure() -> None:
    """Pyridine's nitrogen has no hydrogen to give: a methyl on it makes a cation, another fragment."""
    pyridine = fragment("c1ccncc1")
    nitrogen = int(np.flatnonzero(pyridine.ligand.element == 7)[0])
    built = build_molecule(pyridine.imposed(decoded(7, [(nitrogen, 6)])))
    assert isinstance(built, BuiltLigand)
    failure = pyridine.lost(built.mol)
    broken = Chem.MolToSmiles(built.mol)
    assert (failure is not None and failure.reason == CHANGED) or "." in broken, broken


@pytest.mark.parametrize("change", ["element", "bond"])
def test_a_change_is_found(change: str) -> None:
    toluene = fragment("Cc1ccccc1")
    other = Chem.RWMol(Chem.RemoveHs(embedded("Cc1ccccc1")))
    assert toluene.lost(other) is None
    if change == "element":
        other.GetAtomWithIdx(0).SetAtomicNum(8)
    else:
        other.RemoveBond(0, 1)
    failure = toluene.lost(other)
    assert failure is not None
    assert failure.reason == CHANGED


def test_one_atom_and_several_pieces_are_fragments() -> None:
    assert fragment("O").num_atoms == fragment("C").num_atoms == 1
    ring, rest = embedded("c1ccccc1"), embedded("CO")
    two = read_fragment(Chem.CombineMols(ring, rest, Geometry.Point3D(9, 0, 0)))
    assert two.num_atoms == 8
    assert len({m.digest for m in (two, fragment("c1ccccc1"), fragment("Oc1ccccc1"))}) == 3
    assert two.digest == read_fragment(Chem.CombineMols(ring, rest, Geometry.Point3D(9, 0, 0))).digest


def test_what_cannot_be_a_fragment_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match="no such file"):
        read_fragment(tmp_path / "none.sdf")
    with pytest.raises(LigandsmithError, match="no 3D coordinates"):
        read_fragment(Chem.MolFromSmiles("CCO"))
    with pytest.raises(LigandsmithError, match="unknown element"):
        read_fragment(embedded("C[Ge](C)(C)C"))
    with pytest.raises(LigandsmithError, match=r"10\d Å from the site"):
        fragment().require_place(fragment().ligand.x + np.array([103, 0, 0], np.float32))


def test_only_the_named_atoms_get_new_bonds() -> None:
    toluene = embedded("Cc1ccccc1")
    everywhere = read_fragment(toluene)
    assert everywhere.grows is None
    methyl = read_fragment(toluene, [1])
    assert methyl.grows is not None
    assert methyl.grows.tolist() == [True] + 6 * [False]
    assert methyl.digest != everywhere.digest
    built = build_molecule(methyl.imposed(decoded(9, [(0, 7), (2, 7), (3, 8)])))
    assert isinstance(built, BuiltLigand)
    assert Chem.MolToSmiles(built.mol) in ("CCc1ccccc1.C", "C.CCc1ccccc1")
    assert methyl.lost(built.mol) is None
    grown_elsewhere = build_molecule(everywhere.imposed(decoded(8, [(3, 7)])))
    assert isinstance(grown_elsewhere, BuiltLigand)
    lost = methyl.lost(grown_elsewhere.mol)
    assert lost is not None
    assert "not to grow" in lost.detail


@pytest.mark.parametrize("smiles", ["*c1ccccc1", "[1*]c1ccccc1"])
def test_dummy_atoms_say_where_a_fragment_grows(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    conformer.SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)) * 9)
    mol.AddConformer(conformer)
    grown = read_fragment(mol)
    assert grown.grows is not None
    assert (grown.num_atoms, int(grown.grows.sum())) == (6, 1)
    assert grown.ligand.num_h[grown.grows].tolist() == [1]


def test_atoms_that_cannot_grow_are_refused() -> None:
    pyridine = embedded("c1ccncc1")
    with pytest.raises(LigandsmithError, match="no atom 40 to grow from; the file has atoms 1 to 11"):
        read_fragment(pyridine, [40])
    nitrogen = next(a.GetIdx() for a in pyridine.GetAtoms() if a.GetAtomicNum() == 7)
    with pytest.raises(LigandsmithError, match=rf"atom {nitrogen + 1} \(N\) has no free valence"):
        read_fragment(pyridine, [nitrogen + 1])
    double = Chem.MolFromSmiles("*=CCCCC")
    with pytest.raises(LigandsmithError, match="dummy atom 1 must have one single bond"):
        read_fragment(double)


@pytest.mark.parametrize("symbol", ["*", "R#", "R1"])
def test_dummy_atoms_of_a_file_say_where_it_grows(symbol: str, tmp_path: Path) -> None:
    block = Chem.MolToMolBlock(Chem.RemoveHs(embedded("Cc1ccccc1")))
    lines = block.split("\n")
    assert lines[4][31:33] == "C "
    lines[4] = lines[4][:31] + symbol.ljust(3) + lines[4][34:]
    (tmp_path / "f.sdf").write_text("\n".join(lines) + "\n$$$$\n")
    grown = read_fragment(tmp_path / "f.sdf")
    assert grown.grows is not None
    assert (grown.num_atoms, grown.grows.tolist()) == (6, [True] + 5 * [False])
