"""Evaluation of poses in protein files as other programs write them: the scores of the plain file."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.plausibility import PocketAtoms, clashes_per_atom
from ligandsmith.chem.protein import count_clashes, load_protein
from ligandsmith.chem.sdf import write_sdf
from ligandsmith.cli.main import main
from ligandsmith.evaluation.sources import load_reference
from ligandsmith.evaluation.tools.interactions import InteractionsTool
from ligandsmith.evaluation.tools.runner import Site
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7off"
PDB = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
ATOM = "{:<6}{:>5}  {:<3} {:<3} {}{:>4}    {:8.3f}{:8.3f}{:8.3f}  1.00 20.00          {:>2}\n"


@pytest.fixture(scope="module")
def ligand() -> Chem.Mol:
    return load_reference(SITE / "ligand.sdf")


def pdb(folder: Path, *extra: str, text: str = PDB) -> Path:
    path = folder / "protein.pdb"
    path.write_text(text.replace("END\n", "") + "".join(extra) + "END\n")
    return path


def copy_of(ligand: Chem.Mol, record: str) -> str:
    symbols = [atom.GetSymbol().upper() for atom in ligand.GetAtoms()]
    x = ligand.GetConformer().GetPositions()
    return "".join(ATOM.format(record, 9000 + i, f"X{i}", "LIG", "A", 901, *x[i], s) for i, s in enumerate(symbols))


def interactions(path: Path, ligand: Chem.Mol) -> list[tuple[str, str]]:
    found = InteractionsTool().open(Site("", load_protein(path), None))(ligand)["interactions"]
    return [(each["residue"], each["type"]) for each in found]


def test_names_of_force_fields_interact_like_plain_ones(ligand: Chem.Mol, tmp_path: Path) -> None:
    pytest.importorskip("prolif")
    plain = interactions(SITE / "protein.pdb.gz", ligand)
    assert plain
    text = PDB
    for name, variant in {"ARG": "ARN", "HIS": "HIE", "GLU": "GLH", "ASP": "ASH", "LYS": "LYN", "TYR": "TYM"}.items():
        text = text.replace(f" {name} A", f" {variant} A")
    assert interactions(pdb(tmp_path, text=text), ligand) == plain


@pytest.mark.parametrize(("name", "element"), [("OH", "O"), ("NH4", "N")])
def test_a_single_atom_near_the_site_costs_no_interactions(
    name: str, element: str, ligand: Chem.Mol, tmp_path: Path
) -> None:
    pytest.importorskip("prolif")
    x = ligand.GetConformer().GetPositions()
    near = x[0] + 3.4 * (x[0] - x.mean(0)) / np.linalg.norm(x[0] - x.mean(0))
    line = ATOM.format("HETATM", 9000, element, name, "A", 901, *near, element)
    assert interactions(pdb(tmp_path, line), ligand) == interactions(SITE / "protein.pdb.gz", ligand)


@pytest.mark.parametrize("record", ["HETATM", "ATOM"])
def test_the_copy_of_the_reference_is_left_out_however_it_is_recorded(
    record: str, ligand: Chem.Mol, tmp_path: Path
) -> None:
    path = pdb(tmp_path, copy_of(ligand, record))
    whole, plain = load_protein(path), load_protein(SITE / "protein.pdb.gz", ligand)
    assert len(whole.x) == len(plain.x) + ligand.GetNumAtoms()
    without = [load_protein(path, ligand), load_protein(path, removed_from_site=["A:LIG:901"]),
               load_protein(path, molecules=[ligand, None, ligand])]  # fmt: skip
    assert [np.array_equal(view.x, plain.x) for view in without] == [True, True, True]
    assert "on which most molecules lie" in without[2].removed[-1]
    assert len(load_protein(path, molecules=[None]).x) == len(whole.x)


def test_what_generation_removed_from_the_site_is_remembered(ligand: Chem.Mol, tmp_path: Path) -> None:
    protein = pdb(tmp_path, copy_of(ligand, "HETATM"))
    words = "--checkpoint tiny --num 1 --num_atoms 8 --steps 2 --device cpu --threads 1 --het LIG --protein"
    assert main(["generate", *words.split(), str(protein), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out/samples.json").read_text())["removed_from_site"] == ["A:LIG:901"]
    write_sdf(tmp_path / "out/ligands.sdf", [(ligand, {"index": 0})])
    flags = ["--protein", str(protein), "--protocol", "none", "--requested", "1"]
    assert main(["evaluate", str(tmp_path / "out/ligands.sdf"), *flags]) == 0
    with (tmp_path / "out/per_molecule.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["clashes"]) == count_clashes(ligand, load_protein(SITE / "protein.pdb.gz"))


def test_an_atom_that_coordinates_a_metal_is_no_clash(ligand: Chem.Mol) -> None:
    oxygen = next(a.GetIdx() for a in ligand.GetAtoms() if a.GetAtomicNum() == 8)
    carbon = next(a.GetIdx() for a in ligand.GetAtoms() if a.GetAtomicNum() == 6)
    x = ligand.GetConformer().GetPositions()
    for atom, distance, clashes in ((oxygen, 2.1, 0), (oxygen, 1.4, 1), (carbon, 2.1, 1)):
        zinc = PocketAtoms.of(x[[atom]] + [[0, 0, distance]], np.array([30]))
        assert clashes_per_atom(ligand, zinc)[atom] == clashes
