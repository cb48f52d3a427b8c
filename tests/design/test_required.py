"""Required interactions: read, judged by ProLIF, refused where they cannot be, and made by anchors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.design.anchors import AnchorSearch
from ligandsmith.design.constraints import Constraints, Sphere
from ligandsmith.design.interactions import InteractionSite, Requirement, read_requirement
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.tools.interactions import InteractionsTool
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import mol_from_ligand, read_ligand, without_hydrogens
from ligandsmith.structure.pocket import read_pocket

EXAMPLE = Path(__file__).parents[2] / "examples/complexes/7off"
PROTEIN = EXAMPLE / "protein.pdb.gz"


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return read_pocket(PROTEIN, EXAMPLE / "ligand.sdf")[0]


@pytest.fixture(scope="module")
def reference() -> Chem.Mol:
    return without_hydrogens(read_ligand(EXAMPLE / "ligand.sdf"))


def test_a_pocket_finds_the_interactions_of_a_ligand_that_the_whole_protein_has(
    pocket: Pocket, reference: Chem.Mol
) -> None:
    whole = InteractionsTool().open(Site(protein=load_protein(PROTEIN, reference)))(reference)
    expected = {(found["residue"], found["type"]) for found in whole["interactions"]}
    found = InteractionSite(pocket, []).like(reference)
    assert {(each.residue, each.types[0]) for each in found} == expected
    assert len(expected) > 4


def test_what_a_ligand_lacks_is_told(pocket: Pocket, reference: Chem.Mol) -> None:
    site = InteractionSite(pocket, [Requirement("hbond", "A:508")], reference)
    assert site.missing(reference) == []
    away = Chem.Mol(reference)
    away.GetConformer().SetPositions(reference.GetConformer().GetPositions() + 50)
    assert site.missing(away) == site.targets
    assert len(site.targets) == 11
    constraints = Constraints(require=("hbond A:SER508", "pi A:ARG483")).at(pocket)
    assert [(v.reason, v.restart) for v in constraints.violations(reference)] == [("no pi A:ARG483", True)]


def test_a_named_atom_is_that_atom(pocket: Pocket, reference: Chem.Mol) -> None:
    made = [atom for atom in ("N", "O", "OG") if not
            InteractionSite(pocket, [Requirement("hbond", "A:SER508", atom)]).missing(reference)]  # fmt: skip
    assert made == ["OG"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hbond", "give one of hbond, pi, salt, contact, metal and a residue"),
        ("bond A:SER508", "give one of hbond"),
        ("hbond SER508", "give one of hbond"),
        ("hbond A:SER508:OG:1", "give one of hbond"),
        ("hbond A:SER2", "no residue A:SER2 within reach of the site; there are A:GLY333, A:TYR334"),
        ("hbond A:TYR508", "no residue A:TYR508 within reach of the site; there are A:SER508"),
        ("hbond A:SER508:OD1", "no atom OD1 there; there are N, CA, C, O, CB, OG"),
        ("hbond A:SER508:CB", "A:SER508:CB cannot make it; it can make hbond, contact"),
        ("pi A:ALA510", "A:ALA510 cannot make it; it can make hbond, contact"),
        ("salt A:SER508", "A:SER508 cannot make it"),
        ("pi A:LEU557", "A:LEU557 cannot make it"),
        ("contact A:LEU531", "no room for a ligand beside it"),
    ],
)
def test_what_cannot_be_is_refused(pocket: Pocket, text: str, said: str) -> None:
    with pytest.raises(LigandsmithError, match=f"^--require '?{text}.*{said}"):
        Constraints(require=(text,)).at(pocket)


def test_what_contradicts_is_refused(pocket: Pocket, reference: Chem.Mol) -> None:
    x = pocket.x[pocket.residue_index == pocket.labels.index("A:SER:508")].mean(0)
    with pytest.raises(LigandsmithError, match="--require hbond A:SER508: --exclude leaves no room for it"):
        Constraints(require=("hbond A:SER508",), exclude=(Sphere(*x.tolist(), 9),)).at(pocket)
    with pytest.raises(LigandsmithError, match="--like: the reference lies in a sphere of --exclude"):
        Constraints(like=Chem.MolToMolBlock(reference), exclude=(Sphere(*x.tolist(), 9),)).at(pocket)
    with pytest.raises(LigandsmithError, match="the residues of this pocket have no names"):
        Constraints(require=("hbond A:SER508",)).at(replace(pocket, labels=()))


@pytest.mark.parametrize(
    "text", ["hbond A:SER508", "hbond A:SER602:OG", "pi A:TYR572", "salt A:ARG483", "contact A:TYR572"]
)
def test_anchors_make_the_interaction_and_touch_nothing(pocket: Pocket, text: str) -> None:
    site = InteractionSite(pocket, [read_requirement(text)])
    anchors = AnchorSearch(site, pocket).around(site.targets[0])
    assert len({anchor.smiles for anchor in anchors}) > 1
    for anchor in anchors:
        assert site.missing(mol_from_ligand(anchor.fragment.ligand)) == []
        assert np.linalg.norm(anchor.fragment.ligand.x[:, None] - pocket.x[None], axis=-1).min() > 2.4


def test_each_ligand_starts_from_its_own_anchors(pocket: Pocket, reference: Chem.Mol) -> None:
    placed = Constraints(require=("hbond A:SER508", "pi A:TYR572")).at(pocket)
    starts = [placed.start(26, seed, None) for seed in range(6)]
    made = [start for start in starts if start is not None]
    assert len(made) == len(starts)
    assert all(start.num_atoms <= 15 for start in made)
    digests = [start.digest for start in made]
    assert len(set(digests)) > 3
    again = placed.start(26, 2, None)
    assert again is not None
    assert again.digest == digests[2]
    assert sum(not placed.violations(mol_from_ligand(start.ligand)) for start in made) > 3


def test_a_reference_gives_the_groups_that_interact(pocket: Pocket, reference: Chem.Mol) -> None:
    start = Constraints(like=Chem.MolToMolBlock(reference)).at(pocket).start(26, 0, None)
    assert start is not None
    places = {tuple(x) for x in reference.GetConformer().GetPositions().round(2).tolist()}
    assert {tuple(x) for x in start.ligand.x.astype(float).round(2).tolist()} <= places
    assert 3 < start.num_atoms <= 15
