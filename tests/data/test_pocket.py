"""The four ways to name a pocket, and the report of what it is made of."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import (
    pocket_from_center,
    pocket_from_het,
    pocket_from_ligand,
    pocket_from_residues,
    site_sequences,
)
from ligandsmith.structure.protein import Protein, read_protein

EXAMPLE = Path(__file__).parents[2] / "examples" / "complexes" / "7sza"


def het(name: str, residue: str, number: int, x: np.ndarray, element: str) -> str:
    position = "".join(f"{v:8.3f}" for v in x)
    return f"HETATM 9999  {name:<3} {residue:>3} A{number:>4}    {position}  1.00 20.00          {element:>2}\n"


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return read_ligand(EXAMPLE / "ligand.sdf").GetConformer().GetPositions()


@pytest.fixture(scope="module")
def protein(reference: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Protein:
    """The example with its ligand as a het molecule, a zinc and a cofactor atom by it, glycerols and waters."""
    beside = reference.mean(axis=0) + np.array([0, 0, 9.0])
    text = "".join(het(f"C{i}", "DUI", 501, x, "C") for i, x in enumerate(reference))
    text += het("ZN", "ZN", 502, beside, "ZN") + het("FE", "HEM", 503, beside + 2, "FE")
    text += het("C1", "GOL", 504, beside - 2, "C") + het("C1", "GOL", 505, beside + 60, "C")
    text += het("O", "HOH", 601, beside + 1, "O")
    whole = gzip.decompress((EXAMPLE / "protein.pdb.gz").read_bytes()).decode()
    path = tmp_path_factory.mktemp("pocket") / "site.pdb"
    path.write_text(whole.replace("END\n", text + "END\n"))
    return read_protein(path)


def test_around_a_ligand_context_stays_and_the_ligand_goes(protein: Protein, reference: np.ndarray) -> None:
    pocket, report = pocket_from_ligand(protein, reference)
    assert report.removed_reference == ("A:DUI:501",)
    assert (report.metals, report.cofactors) == (("A:ZN:502",), ("A:HEM:503",))
    assert report.other_ligands == ("A:GOL:504",)
    assert report.dropped == {"atoms of waters": 1}
    assert report.num_atoms == pocket.num_atoms
    assert pocket.residue_index.max() + 1 == len(report.residues) + 2
    assert {30, 26} <= set(pocket.element.tolist())
    assert np.linalg.norm(pocket.x[:, None] - reference[None], axis=-1).min() > 2
    text = "\n".join(report.lines())
    for fragment in ("A:ZN:502", "A:HEM:503", "A:DUI:501", "A:GOL:504", "1 atoms of waters", "10 Å"):
        assert fragment in text


def test_a_pocket_grows_with_its_radius_by_whole_residues(protein: Protein, reference: np.ndarray) -> None:
    small, inner = pocket_from_ligand(protein, reference, radius=5.0)
    large, outer = pocket_from_ligand(protein, reference, radius=8.0)
    assert set(inner.residues) < set(outer.residues)
    assert small.num_atoms < large.num_atoms
    by_name, _ = pocket_from_residues(protein, inner.residues)
    np.testing.assert_array_equal(by_name.x, small.x)


def test_the_het_molecule_gives_the_same_pocket_as_its_coordinates(protein: Protein, reference: np.ndarray) -> None:
    expected, _ = pocket_from_ligand(protein, reference)
    for name in ("DUI", "A:DUI:501"):
        pocket, report = pocket_from_het(protein, name)
        np.testing.assert_array_equal(pocket.x, expected.x)
        assert report.removed_reference == ("A:DUI:501",)


def test_a_centre_given_by_the_user_travels_with_the_pocket(protein: Protein, reference: np.ndarray) -> None:
    center = reference.mean(axis=0)
    pocket, report = pocket_from_center(protein, center, 6.0)
    np.testing.assert_allclose(pocket.center, center, rtol=1e-6)
    assert "within 6 Å of (" in report.selection
    nearest = [np.linalg.norm(pocket.x[pocket.residue_index == i] - center, axis=1).min() for i in range(3)]
    assert max(nearest) <= 6.0


def test_what_is_absent_is_said_with_what_is_there(protein: Protein) -> None:
    with pytest.raises(LigandsmithError, match=r"no het molecule XYZ; there A:DUI:501, A:GOL:504.*A:ZN:502"):
        pocket_from_het(protein, "XYZ")
    with pytest.raises(LigandsmithError, match="GOL is there 2 times; choose one of A:GOL:504, A:GOL:505"):
        pocket_from_het(protein, "GOL")
    with pytest.raises(LigandsmithError, match=r"no residue A:9999, B:1; .*chain A \(14 to "):
        pocket_from_residues(protein, ["A:246", "A:9999", "B:1"])
    with pytest.raises(LigandsmithError, match="was named"):
        pocket_from_residues(protein, [])
    with pytest.raises(LigandsmithError, match="empty pocket, no protein residue within 10 Å"):
        pocket_from_center(protein, (500, 500, 500))
    with pytest.raises(LigandsmithError, match="empty pocket"):
        pocket_from_ligand(protein, np.full((5, 3), 500.0))
    with pytest.raises(LigandsmithError, match="three numbers"):
        pocket_from_center(protein, (1, 2))


def test_only_the_chains_at_the_site_give_their_sequence(protein: Protein, reference: np.ndarray) -> None:
    (sequence,) = site_sequences(protein, reference)
    assert sequence == protein.sequence("A")
    assert len(sequence) == sum(r.kind == 0 for r in protein.residues)
    assert sequence.startswith("E")
    assert site_sequences(protein, reference + 500) == ()
