"""Training, generation and evaluation see the same atoms of a protein file."""

from pathlib import Path

import numpy as np
import pytest

from ligandsmith.evaluation.protein import load_protein
from ligandsmith.structure.protein import read_protein
from tiny_runs import ROOT

ATOM = "{:<6}{:>5} {:<4}{:1}{:<3} {}{:>4}{:1}   {:>8.3f}{:>8.3f}{:>8.3f}{:>6.2f}{:>6.2f}          {:>2}"


def atom(
    name: str, x: float, *, altloc: str = "", occupancy: float = 1.0, residue: str = "SER", number: int = 1
) -> str:
    """An ATOM record."""
    return ATOM.format("ATOM", 1, f" {name}", altloc, residue, "A", number, "", x, 0.0, 0.0, occupancy, 10.0, name[0])


BACKBONE = [atom("N", 0.0), atom("CA", 1.5), atom("C", 3.0), atom("O", 4.0)]
ODD = {
    "the fuller conformer comes second": (
        [atom("CB", 10.0, altloc="A", occupancy=0.3), atom("OG", 11.0, altloc="A", occupancy=0.3),
         atom("CB", 20.0, altloc="B", occupancy=0.7), atom("OG", 21.0, altloc="B", occupancy=0.7)],
        {"CB": 20.0, "OG": 21.0},
    ),
    "a residue is taken as a whole": (
        [atom("CB", 10.0, altloc="A", occupancy=0.6), atom("OG", 11.0, altloc="A", occupancy=0.6),
         atom("CB", 20.0, altloc="B", occupancy=0.9), atom("OG", 21.0, altloc="B", occupancy=0.1)],
        {"CB": 10.0, "OG": 11.0},
    ),
    "equal ones: the first": (
        [atom("CB", 10.0, altloc="A", occupancy=0.5), atom("CB", 20.0, altloc="B", occupancy=0.5)],
        {"CB": 10.0},
    ),
    "two residues share a place": (
        [atom("CB", 10.0, altloc="A", occupancy=0.4), atom("OG", 11.0, altloc="A", occupancy=0.4),
         atom("CB", 20.0, altloc="B", occupancy=0.6, residue="CYS"),
         atom("SG", 21.0, altloc="B", occupancy=0.6, residue="CYS")],
        {"CB": 20.0, "SG": 21.0},
    ),
    "an atom with and without a label": (
        [atom("CB", 10.0), atom("CB", 20.0, altloc="B", occupancy=0.4)],
        {"CB": 10.0},
    ),
    "an unlabelled alternate location": ([atom("CB", 10.0), atom("CB", 10.5)], {"CB": 10.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_alternate_locations_are_read_alike_and_the_fullest_conformer_stays(name: str, tmp_path: Path) -> None:
    lines, expected = ODD[name]
    path = tmp_path / "p.pdb"
    path.write_text("\n".join([*BACKBONE, *lines, "END", ""]))
    protein, view = read_protein(path), load_protein(path)
    found = dict(zip(protein.atom_label.tolist(), protein.x[:, 0].tolist(), strict=True))
    assert {atom: x for atom, x in found.items() if atom not in ("N", "CA", "C", "O")} == expected
    assert len(protein.atom_label) == 4 + len(expected)
    assert view.name == tuple(protein.atom_label.tolist())
    assert np.allclose(view.x, protein.x, atol=1e-4)


@pytest.mark.parametrize("pocket", sorted(p.name for p in (ROOT / "examples/complexes").iterdir() if p.is_dir()))
def test_the_examples_are_read_alike(pocket: str) -> None:
    path = ROOT / "examples/complexes" / pocket / "protein.pdb.gz"
    protein, view = read_protein(path), load_protein(path)
    assert np.array_equal(view.element, protein.element)
    assert np.allclose(view.x, protein.x, atol=1e-4)
    assert [r[:3] for r in view.residues] == [(r.chain, r.name, r.number) for r in protein.residues]


def test_copies_of_a_chain_under_one_name_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.pdb"
    path.write_text("\n".join([atom("CA", 0.0), atom("CB", 1.5), atom("CA", 50.0), atom("CB", 51.5), "END", ""]))
    assert len(read_protein(path).residues) == len(load_protein(path).residues) == 2
    assert len(load_protein(path).x) == 4
