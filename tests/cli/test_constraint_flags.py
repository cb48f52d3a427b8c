"""Fragments and constraints of `generate`, from the flags to the molecules."""

import json
from pathlib import Path

import pytest
from rdkit import Chem

from ligandsmith.cli.main import main
from ligandsmith.design.covalent import CovalentSite
from ligandsmith.design.interactions import InteractionSite, Requirement
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket

SITE = Path(__file__).parents[2] / "examples/complexes/7off"
WHERE = ["--protein", str(SITE / "protein.pdb.gz"), "--ligand", str(SITE / "ligand.sdf"), "--device", "cpu"]
QUICK = ["--num", "3", "--steps", "8", "--candidates", "1"]


def made(folder: Path, *flags: str) -> tuple[list[Chem.Mol], list[dict[str, str]]]:
    assert main(["generate", *WHERE, *QUICK, *flags, "--out", str(folder)]) == 0
    sdf = folder / "ligands.sdf"  # not there without a molecule
    mols = [m for m in Chem.SDMolSupplier(str(sdf)) if m is not None] if sdf.exists() and sdf.stat().st_size else []
    return mols, json.loads((folder / "samples.json").read_text())["failures"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--replace", str(SITE / "ligand.sdf"), "--smarts", "c1ccccc1"],
        ["--hop", str(SITE / "ligand.sdf")],
        ["--decorate", str(SITE / "ligand.sdf")],
        ["--fix", str(SITE / "ligand.sdf"), "--grow_from", "2,3", "--num_atoms", "32"],
    ],
)
def test_what_stays_of_a_reference_is_in_every_ligand(tmp_path: Path, flags: list[str]) -> None:
    mols, failures = made(tmp_path, *flags)
    assert len(mols) + len(failures) == 3
    places = {tuple(x) for x in read_ligand(SITE / "ligand.sdf").GetConformer().GetPositions().round(3).tolist()}
    for mol in mols:
        x = [tuple(row) for row in mol.GetConformer().GetPositions().round(3).tolist()]
        kept = sum(row in places for row in x)
        assert kept >= 3
        assert all(row in places for row in x[:kept])


def test_a_ligand_that_breaks_a_constraint_is_a_failure(tmp_path: Path) -> None:
    mols, failures = made(tmp_path, "--require_smarts", "[Xe]", "--charge", "0")
    assert mols == []
    assert [failure["reason"] for failure in failures if failure["reason"] != "constraint"] == []
    assert all("no [Xe]" in failure["detail"] for failure in failures)


def test_required_interactions_are_made_or_named_as_missing(tmp_path: Path) -> None:
    mols, failures = made(tmp_path, "--require", "hbond A:SER508", "--num_atoms", "20")
    site = InteractionSite(read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")[0], [
        Requirement("hbond", "A:SER508")])  # fmt: skip
    assert len(mols) + len(failures) == 3
    assert all(site.missing(mol) == [] for mol in mols)
    assert all(f["reason"] != "constraint" or "no hbond A:SER508" in f["detail"] for f in failures)


def test_a_reference_whose_interactions_are_required_gives_its_groups(tmp_path: Path) -> None:
    mols, failures = made(tmp_path, "--like", str(SITE / "ligand.sdf"), "--num_atoms", "27")
    assert len(mols) + len(failures) == 3
    assert all("no " in failure["detail"] for failure in failures if failure["reason"] == "constraint")


def test_covalent_ligands_keep_the_warhead_and_tell_their_unreacted_form(tmp_path: Path) -> None:
    mols, failures = made(tmp_path, "--covalent", "A:SER508", "--warhead", "nitrile", "--num_atoms", "18")
    site = CovalentSite(read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")[0], "A:SER508", "nitrile")
    assert len(mols) + len(failures) == 3
    for mol in mols:
        assert site.broken(mol) == []
        assert mol.GetProp("covalent_residue") == "A:SER508:OG"
        assert Chem.MolFromSmiles(mol.GetProp("unreacted_smiles")).HasSubstructMatch(Chem.MolFromSmarts("C#N"))


def test_other_constraints_are_another_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "--forbid", "[Br]")
    assert main(["generate", *WHERE, *QUICK, "--forbid", "[Cl]", "--out", str(tmp_path)]) == 1
    assert "different constraints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--fix", "a.sdf", "--hop", "b.sdf"], "argument --hop: not allowed with argument --fix"),
        (["--atoms", "3"], "--atoms names the part of --replace"),
        (["--replace", "a.sdf"], "--replace: give --atoms or --smarts"),
        (["--grow_from", "3"], "--grow_from names atoms of the fragment"),
        (["--fix", "a.sdf", "--grow_from", "0"], "no atom number or range like 5-12"),
        (["--require", "pi A:ALA510"], "--require pi A:ALA510: A:ALA510 cannot make it; it can make hbond, contact"),
        (["--require", "hbond A:SER9"], "no residue A:SER9 within reach of the site; there are"),
        (["--like", "there/is/none.sdf"], "none.sdf"),
        (["--covalent", "A:SER508"], "--covalent names the residue and --warhead what is bonded to it; give both"),
        (["--covalent", "A:ALA510", "--warhead", "nitrile"], "--covalent A:ALA510: ALA does not react"),
        (
            ["--covalent", "A:SER508", "--warhead", "nitrile", "--num_atoms", "3-5"],
            "--num_atoms 3-5: give a number or a range like 18-26, within 5-80",
        ),
        (["--charge", "2,1"], "no charge or range like -1,0"),
        (["--exclude", "1,2"], "--exclude 1,2: give X,Y,Z,R in Å"),
        (["--forbid", "C(("], "--forbid C((: RDKit cannot read this pattern"),
        (["--replace", str(SITE / "ligand.sdf"), "--smarts", "[Xe]"], "the reference has no such part"),
        (["--objective", "vina_mim"], "no metric or scorer 'vina_mim'; near it: vina_min"),
        (["--objective", "logp"], "write -logp (lower is better) or +logp (higher)"),
        (["--objective", "qed, -strain_uff"], "strain_uff: needs the tool strain, which is too slow"),
        (["--objective", "similarity"], "generate starts from no ligand"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    try:
        status = main(["generate", *WHERE, *flags, "--out", str(tmp_path / "out")])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status != 0
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
