"""ProteinView files, crops, clashes and PoseBusters on a real complex."""

import gzip
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from moved_poses import moved
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.protein import count_clashes, load_protein
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.tools.posebusters import PoseBustersTool
from ligandsmith.evaluation.tools.runner import Site

COMPLEX = Path(__file__).parents[2] / "examples/complexes/7off"


@pytest.fixture
def ligand() -> Chem.Mol:
    mol = read_sdf(COMPLEX / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


def shaken(mol: Chem.Mol, noise: float) -> Chem.Mol:
    """A copy with every coordinate moved at random, s.d. `noise` Å."""
    copy, x = Chem.Mol(mol), mol.GetConformer().GetPositions()
    copy.GetConformer().SetPositions(x + np.random.default_rng(0).normal(scale=noise, size=x.shape))
    return copy


def hetatm(number: int, element: str, residue: str, xyz: Sequence[float], name: str = "") -> str:
    x, y, z = xyz
    place = f"HETATM{number:5d} {name or element:>4} {residue:>3} B{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
    return f"{place}  1.00  0.00          {element:>2}\n"


def test_the_crop_is_every_whole_residue_in_reach(ligand: Chem.Mol) -> None:
    protein = load_protein(COMPLEX / "protein.pdb.gz")
    x = ligand.GetConformer().GetPositions()
    crop = protein.crop(x, radius=5.0)
    distance = np.linalg.norm(protein.x[:, None] - x[None], axis=-1).min(1)
    residues = set(protein.residue_index[distance <= 5.0].tolist())
    assert crop.GetNumAtoms() == sum(int(r) in residues for r in protein.residue_index)
    assert 0 < len(residues) < len(protein.residues)
    assert crop.GetAtomWithIdx(0).GetPDBResidueInfo().GetResidueName() in {residue.name for residue in protein.residues}
    assert protein.crop(x + 500.0).GetNumAtoms() > 0


def test_waters_hydrogens_alternatives_and_the_bound_ligand_are_left_out(ligand: Chem.Mol, tmp_path: Path) -> None:
    plain = load_protein(COMPLEX / "protein.pdb.gz")
    text = gzip.decompress((COMPLEX / "protein.pdb.gz").read_bytes()).decode().replace("END\n", "")
    extra = [hetatm(900, "O", "HOH", (0, 0, 0)), hetatm(901, "ZN", "ZN", (1, 2, 3)), hetatm(902, "H", "ZN", (1, 2, 4))]
    copies = [
        hetatm(950, atom.GetSymbol(), "LIG", position, name=f"{atom.GetSymbol()}{atom.GetIdx()}")
        for atom, position in zip(ligand.GetAtoms(), ligand.GetConformer().GetPositions(), strict=True)
    ]
    first = next(line for line in text.splitlines() if line.startswith("ATOM"))
    alternative = first[:16] + "B" + first[17:30] + "  99.000" + first[38:]
    path = tmp_path / "raw.pdb"
    path.write_text(text + alternative + "\n" + "".join(extra + copies) + "END\n")
    assert len(load_protein(path).x) == len(plain.x) + 1 + ligand.GetNumAtoms()
    cleaned = load_protein(path, reference=ligand)
    assert len(cleaned.x) == len(plain.x) + 1
    assert cleaned.removed == (
        "1 atoms of waters", "1 atoms in alternate locations", "B:950 LIG, the reference ligand",
    )  # fmt: skip


def test_clashes_are_pairs_too_close_to_be_real(ligand: Chem.Mol) -> None:
    protein = load_protein(COMPLEX / "protein.pdb.gz")
    assert count_clashes(ligand, protein) == 0
    assert count_clashes(moved(ligand, (0.0, 0.0, 4.0)), protein) > 3
    assert count_clashes(moved(ligand, (300.0, 0.0, 0.0)), protein) == 0


def test_posebusters_accepts_the_crystal_pose_and_names_what_is_wrong_with_others(ligand: Chem.Mol) -> None:
    pytest.importorskip("posebusters")
    protein = load_protein(COMPLEX / "protein.pdb.gz")
    squeezed = Chem.Mol(ligand)
    squeezed.GetConformer().SetPositions(ligand.GetConformer().GetPositions() * 0.7)
    bust, bust_alone = PoseBustersTool().open(Site("7off", protein)), PoseBustersTool().open(Site())
    crystal, far = bust(ligand), bust(moved(ligand, (200.0, 0.0, 0.0)))
    alone = bust_alone(squeezed)
    assert all(v is True for v in crystal.values())
    assert [name for name, v in far.items() if not v] == ["protein-ligand_maximum_distance"]
    assert alone["bond_lengths"] is False
    assert alone["all_atoms_connected"] is True


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4, 0.7])
def test_the_first_look_at_the_energy_decides_as_posebusters_does(noise: float, ligand: Chem.Mol) -> None:
    whole = pytest.importorskip("posebusters").PoseBusters(config="mol", max_workers=0)
    pose = shaken(ligand, noise)
    own = whole.bust(pose).iloc[0]
    checks = PoseBustersTool().open(Site())(pose)
    assert checks == own.to_dict()
    assert checks["internal_energy"] is (noise < 0.7)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_wider_crop_changes_no_check(noise: float, ligand: Chem.Mol) -> None:
    whole = pytest.importorskip("posebusters").PoseBusters(config="dock", max_workers=0)
    protein = load_protein(COMPLEX / "protein.pdb.gz", ligand)
    pose = shaken(ligand, noise)
    own = whole.bust(pose, None, protein.crop(pose.GetConformer().GetPositions(), 15.0)).iloc[0]
    assert PoseBustersTool().open(Site("7off", protein))(pose) == own.to_dict()


def test_a_ligand_of_which_no_conformer_can_be_made_has_all_other_checks() -> None:
    pytest.importorskip("posebusters")
    ketone = Chem.AddHs(Chem.MolFromSmiles("CC1=C(C)C2C(OS(=O)(=O)c3ccccc3)CC1C2=O"))
    assert rdDistGeom.EmbedMolecule(ketone, randomSeed=0) == 0
    sulfoxide = Chem.RemoveHs(ketone)
    sulfoxide.GetAtomWithIdx(sulfoxide.GetSubstructMatch(Chem.MolFromSmarts("C=O"))[0]).SetAtomicNum(16)
    Chem.SanitizeMol(sulfoxide)
    Chem.AssignStereochemistryFrom3D(sulfoxide)
    bust = PoseBustersTool().open(Site())
    began = time.monotonic()
    checks = bust(sulfoxide)
    assert time.monotonic() - began < 20
    assert checks.pop("internal_energy") is None
    assert set(checks) == set(bust(Chem.RemoveHs(ketone))) - {"internal_energy"}
    assert checks["sanitization"] is checks["all_atoms_connected"] is True


@pytest.mark.parametrize(("name", "text"), [("x.pdb", "hello\n"), ("x.cif", "data_x\n"), ("y.cif", "{}")])
def test_unusable_protein_files_are_one_line_errors(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LigandsmithError, match=name) as caught:
        load_protein(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(LigandsmithError, match="no such file"):
        load_protein(tmp_path / "none.pdb")
