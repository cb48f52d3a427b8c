"""What breaks a constraint is found, with its atoms; contradictions are refused."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.chem.fragment import read_fragment
from ligandsmith.design.constraints import Constraints, Sphere, read_patterns, read_spheres
from ligandsmith.design.ring_systems import known_ring_systems, ring_systems
from ligandsmith.errors import LigandsmithError

UNKNOWN_RINGS = "C1CC2(C1)CC1(CCCCCCCCCC1)C2"
HYDROCODONE = "COc1ccc2CC3N(C)CCC45C(Oc1c24)C(=O)CCC35"

POCKET, SAMPLER = cast("Any", None), cast("Any", None)  # spheres need neither


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return Chem.RemoveHs(mol)


@pytest.mark.parametrize(
    ("constraints", "smiles", "reason"),
    [
        (Constraints(forbid=("[N+](=O)[O-]",)), "Cc1ccccc1[N+](=O)[O-]", "forbidden [N+](=O)[O-]"),
        (Constraints(require_smarts=("C(=O)N",)), "Cc1ccccc1O", "no C(=O)N"),
        (Constraints(charge=(0, 0)), "CC(=O)[O-]", "charge -1"),
        (Constraints(chiral_centers_max=1), "C[C@H](O)[C@@H](N)CC", "2 chiral centres"),
        (Constraints(alerts=False), "CCC(=O)Cl", "alert: acid_halide"),
        (Constraints(known_rings=True), UNKNOWN_RINGS, "unknown ring system"),
        (Constraints(other_scaffold="c1ccccc1"), "Cc1ccccc1", "the reference's scaffold again"),
    ],
)
def test_each_constraint_finds_what_breaks_it(constraints: Constraints, smiles: str, reason: str) -> None:
    broken = constraints.violations(embedded(smiles))
    assert [violation.reason[: len(reason)] for violation in broken] == [reason]
    assert Constraints().violations(embedded(smiles)) == []
    assert constraints.violations(embedded("CC(=O)NCc1ccc(C)nc1")) == []
    assert constraints.digest != Constraints().digest


def test_an_excluded_sphere_names_the_atoms_in_it_and_pushes_them_out() -> None:
    mol = embedded("Cc1ccccc1")
    x = mol.GetConformer().GetPositions()
    constraints = Constraints(exclude=(Sphere(*x[0], 0.5), Sphere(99, 0, 0, 3)))
    (violation,) = constraints.violations(mol)
    assert violation.atoms == (0,)
    origin = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    (potential,) = constraints.guide(POCKET, origin, torch.device("cpu"))(SAMPLER)
    z = torch.as_tensor(x - origin, dtype=torch.float32)[None]
    moved = potential.apply(z + 0.1, torch.ones(1, len(x), dtype=torch.bool), torch.tensor(1.0), 0.9) - 0.1 - z
    assert moved[0, 0].norm() > 0.1
    assert torch.equal(moved[0, 1:].abs().amax(-1) < 1e-5, torch.ones(len(x) - 1, dtype=torch.bool))


def test_a_ligand_is_drawn_towards_a_place_by_its_nearest_atom() -> None:
    x = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [0, 0, 0]]])
    mask = torch.tensor([[True, True, False]])
    (potential,) = Constraints(toward=(8.0, 0, 0)).guide(POCKET, np.zeros(3, np.float32), torch.device("cpu"))(SAMPLER)
    move = potential.apply(x, mask, torch.tensor(1.0), 0.5) - x
    assert 0.4 < move[0, 1, 0] < 0.5
    assert 0 < move[0, 0, 0] < 0.1
    assert not move[0, 2].any()
    (reached,) = Constraints(toward=(3.5, 0, 0)).guide(POCKET, np.zeros(3, np.float32), torch.device("cpu"))(SAMPLER)
    assert torch.equal(reached.apply(x, mask, torch.tensor(1.0), 0.5), x)


def test_a_fragment_that_contradicts_is_refused_before_sampling() -> None:
    fragment = read_fragment(embedded("Clc1ccccc1"))
    x = fragment.ligand.x[0]
    Constraints(exclude=(Sphere(99, 0, 0, 3),), forbid=("Br", "c[cH]c")).fixed_atoms(fragment)
    with pytest.raises(LigandsmithError, match="--exclude: the fragment lies in it"):
        Constraints(exclude=(Sphere(*x.tolist(), 0.5),)).fixed_atoms(fragment)
    with pytest.raises(LigandsmithError, match="--forbid cCl: the fragment has it"):
        Constraints(forbid=("cCl",)).fixed_atoms(fragment)
    nitro = read_fragment(embedded("O=[N+]([O-])c1ccccc1"))
    with pytest.raises(LigandsmithError, match="--no-alerts: the fragment has the alert nitro_group"):
        Constraints(alerts=False).fixed_atoms(nitro)
    assert Constraints(alerts=False).fixed_atoms(fragment) == fragment.num_atoms
    # Its hydrogens may become bonds, by which a ring system changes; without any it is what it is.
    Constraints(known_rings=True).fixed_atoms(read_fragment(embedded(UNKNOWN_RINGS)))
    with pytest.raises(LigandsmithError, match="--rings known: the fragment has the ring system n1nnnnn1"):
        Constraints(known_rings=True).fixed_atoms(read_fragment(embedded("N1=NN=NN=N1")))


def test_spheres_and_patterns_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("x,y,z,radius\n1,2,3,4\n5,6,7,8\n")
    assert read_spheres(str(tmp_path / "s.csv")) == (Sphere(1, 2, 3, 4), Sphere(5, 6, 7, 8))
    assert read_spheres("1,2,3,4") == (Sphere(1, 2, 3, 4),)
    (tmp_path / "p.smarts").write_text("# groups\nC(=O)Cl acyl chloride\n\nN=[N+]=[N-]\n")
    assert read_patterns(str(tmp_path / "p.smarts")) == ("C(=O)Cl", "N=[N+]=[N-]")
    assert read_patterns("[Br]") == ("[Br]",)


def test_the_ring_systems_of_known_ligands() -> None:
    known = known_ring_systems()
    assert known["c1ccccc1"] > 1000
    assert {smiles for smiles, _ in ring_systems(embedded("O=C1CCCN1c1ccc2ccccc2c1"))} == {
        "O=C1CCCN1", "c1ccc2ccccc2c1",
    }  # fmt: skip
    assert {"O=C1CCCN1", "c1ccc2ccccc2c1"} <= known.keys()
    assert {smiles for smiles, _ in ring_systems(embedded(HYDROCODONE))} <= known.keys()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: Constraints(forbid=("C((",)), r"--forbid C\(\(: RDKit cannot read"),
        (lambda: Constraints(forbid=("C",), require_smarts=("C",)), "both forbidden and required"),
        (lambda: Constraints(exclude=(Sphere(0, 0, 0, -1),)), "the radius must be above 0"),
        (lambda: Constraints(exclude=(Sphere(0, float("nan"), 0, 1),)), "the radius must be above 0"),
        (lambda: read_spheres("1,2,3"), "give X,Y,Z,R in Å"),
        (lambda: read_spheres("there/is/none.csv"), "or a CSV file that is there"),
    ],
)
def test_what_cannot_be_is_refused(work, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LigandsmithError, match=message):
        work()
