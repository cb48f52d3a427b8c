"""What stays of a reference, and where it is open."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Geometry import Point3D

from ligandsmith.chem.fragment import Fragment
from ligandsmith.design import parts
from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.ligands import mol_from_ligand


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def open_at(fragment: Fragment) -> list[str]:
    """Elements of the atoms that may grow."""
    assert fragment.grows is not None
    return sorted(Chem.GetPeriodicTable().GetElementSymbol(int(z)) for z in fragment.ligand.element[fragment.grows])


def smiles(fragment: Fragment) -> str:
    return str(Chem.MolToSmiles(mol_from_ligand(fragment.ligand)))


CELECOXIB = "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"


def test_a_part_is_replaced_and_the_rest_is_open_where_it_was() -> None:
    mol = embedded(CELECOXIB)
    tolyl = parts.chosen_atoms(mol, "[CH3]c1ccccc1")
    kept = parts.without_atoms(mol, tolyl)
    assert smiles(kept) == "NS(=O)(=O)c1ccc(-n2ccc(C(F)(F)F)n2)cc1"
    assert open_at(kept) == ["C"]
    rows = {tuple(x) for x in mol.GetConformer().GetPositions().astype(np.float32).tolist()}
    assert {tuple(x) for x in kept.ligand.x.tolist()} <= rows


def test_a_scaffold_hop_keeps_the_substituents() -> None:
    kept = parts.substituents(embedded(CELECOXIB))
    assert sorted(smiles(kept).split(".")) == ["C", "FC(F)F", "N[SH](=O)=O"]
    assert open_at(kept) == ["C", "C", "S"]


def test_decoration_keeps_the_scaffold() -> None:
    kept = parts.scaffold(embedded(CELECOXIB))
    assert smiles(kept) == "c1ccc(-c2ccnn2-c2ccccc2)cc1"
    assert kept.grows is None


def test_fragments_that_overlap_are_merged() -> None:
    toluene = embedded("Cc1ccccc1")
    aniline = Chem.Mol(embedded("Cc1ccc(N)cc1"))
    match = aniline.GetSubstructMatch(Chem.MolFromSmarts("[CH3]c1ccccc1"))
    AllChem.AlignMol(aniline, toluene, atomMap=list(zip(match, range(7), strict=True)))
    merged = parts.joined([toluene, aniline])
    assert smiles(merged) == "Cc1ccc(N)cc1"
    assert np.array_equal(merged.ligand.x[:7], toluene.GetConformer().GetPositions()[:7].astype(np.float32))


def test_fragments_apart_are_linked() -> None:
    first, second = embedded("Cc1ccccc1"), embedded("CC(N)=O")
    conformer = second.GetConformer()
    for i in range(second.GetNumAtoms()):
        x, y, z = conformer.GetAtomPosition(i)
        conformer.SetAtomPosition(i, Point3D(x + 12, y, z))
    assert smiles(parts.joined([first, second])) == "CC(N)=O.Cc1ccccc1"


def placed(smiles: str, x: np.ndarray) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(len(x))
    conformer.Set3D(True)
    conformer.SetPositions(x)
    mol.AddConformer(conformer)
    return mol


def test_a_merger_that_is_no_molecule_is_refused() -> None:
    indole = Chem.RemoveHs(embedded("c1ccc2[nH]ccc2c1"))
    x = indole.GetConformer().GetPositions()
    benzene = placed("c1ccccc1", x[[0, 1, 2, 3, 7, 8]])
    pyrrole = placed("c1cc[nH]c1", x[[4, 5, 6, 7, 3]])  # its nitrogen lies on a carbon: nine aromatic carbons
    with pytest.raises(LigandsmithError, match="--fix: the merged fragments are no molecule"):
        parts.joined([benzene, pyrrole])


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: parts.without_atoms(embedded("Cc1ccccc1"), [2, 3]), "an aromatic ring would be cut"),
        (lambda: parts.without_atoms(embedded("CCO"), [99]), "no atom 99; the reference has atoms 1 to 9"),
        (lambda: parts.without_atoms(embedded("CCO"), [1, 2, 3]), "every atom of the reference"),
        (lambda: parts.substituents(embedded("c1ccccc1")), "bare scaffold"),
        (lambda: parts.scaffold(embedded("CCO")), "no ring"),
        (lambda: parts.chosen_atoms(embedded("CCO"), "C((("), "RDKit cannot read"),
        (lambda: parts.chosen_atoms(embedded("CCO"), "[Br]"), "no such part"),
    ],
)
def test_what_cannot_be_kept_is_refused(work, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LigandsmithError, match=message):
        work()
