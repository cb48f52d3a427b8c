"""Naming a site: by ligand, residues, centre or het molecule."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.vocabulary import CALPHA
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
PROTEIN, LIGAND = SITE / "protein.pdb.gz", SITE / "ligand.sdf"


def test_every_way_to_name_a_site_finds_the_same_one(tmp_path: Path) -> None:
    by_ligand, report = read_pocket(PROTEIN, LIGAND)
    mol = Chem.MolFromMolFile(str(LIGAND))
    center = mol.GetConformer().GetPositions().mean(0)
    with_het = tmp_path / "bound.pdb"
    lines = [line for line in gzip.decompress(PROTEIN.read_bytes()).decode().splitlines() if line.startswith("ATOM")]
    het = [line for line in Chem.MolToPDBBlock(mol).splitlines() if line.startswith("HETATM")]
    with_het.write_text("\n".join([*lines, *het, "END", ""]))
    by_residues, _ = read_pocket(PROTEIN, residues=report.residues)
    by_center, _ = read_pocket(PROTEIN, center=center)
    by_het, het_report = read_pocket(with_het, het="UNL")
    assert by_center.center == pytest.approx(center, abs=1e-3)
    assert het_report.residues == report.residues
    assert np.array_equal(by_het.x, by_ligand.x)
    assert np.array_equal(by_het.kept, by_ligand.kept)
    assert het_report.num_atoms == report.num_atoms == by_ligand.kept.sum() < len(by_ligand.x)
    distance = np.linalg.norm(by_center.x - center, axis=-1)
    near = (distance <= 10) | ((by_center.atom_name == CALPHA) & (distance <= 12))
    assert np.array_equal(by_center.kept, near)
    assert [site.cut for site in (by_ligand, by_het, by_center, by_residues)] == ["ligand", "ligand", "center", ""]
    assert read_pocket(PROTEIN, center=center, radius=9.0)[0].cut == read_pocket(PROTEIN, LIGAND, cut=7.0)[0].cut == ""
    for pocket in (by_residues, by_center, by_het):
        pairs = np.abs(pocket.x[:, None] - by_ligand.x[None]).max(-1) < 1e-3
        assert pairs.any(0).mean() > 0.5  # of what is around the ligand is in the pocket


def test_the_site_does_not_change_with_the_hydrogens_of_the_reference(tmp_path: Path) -> None:
    mol = Chem.AddHs(Chem.MolFromMolFile(str(LIGAND)), addCoords=True)
    Chem.MolToMolFile(mol, str(tmp_path / "with_h.sdf"))
    assert np.array_equal(read_pocket(PROTEIN, tmp_path / "with_h.sdf")[0].x, read_pocket(PROTEIN, LIGAND)[0].x)
