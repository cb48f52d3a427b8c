"""Training, generation and evaluation see the same atoms of a protein file."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gemmi
import numpy as np
import odd_files
import pandas as pd
import pytest
from rdkit import Chem

from ligandsmith.chem.protein import CROP_RADIUS, ProteinView, load_protein
from ligandsmith.chem.receptor import receptor_pdbqt
from ligandsmith.chem.relax import RelaxFailure, Surroundings
from ligandsmith.chem.residues import residue_label, residue_molecule
from ligandsmith.evaluation import relaxation
from ligandsmith.evaluation.output import pocket_pdb
from ligandsmith.evaluation.relaxation import RelaxTool
from ligandsmith.evaluation.report.page import _heavy_atoms
from ligandsmith.evaluation.tools.interactions import INTERACTION_REACH
from ligandsmith.evaluation.tools.posebusters import PoseBustersTool
from ligandsmith.evaluation.tools.runner import Site, ToolFailure
from ligandsmith.records import Complex, Pocket
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.pocket import copies_at, read_pocket
from ligandsmith.structure.protein import Protein, Residue, read_protein
from ligandsmith.structure.vocabulary import Kind
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
    assert view.residues == protein.residues


def test_copies_of_a_chain_under_one_name_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.pdb"
    path.write_text("\n".join([atom("CA", 0.0), atom("CB", 1.5), atom("CA", 50.0), atom("CB", 51.5), "END", ""]))
    assert len(read_protein(path).residues) == len(load_protein(path).residues) == 2
    assert len(load_protein(path).x) == 4


# The contract: each consumer of each odd file sees the atoms that the file means.

NEAR = 15.0  # Å from the ligand; another copy of the protein is farther away
Seen = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Opened:
    """An odd file on disk, and the protein as evaluation loads it."""

    path: Path
    view: ProteinView
    expected: Sequence[odd_files.Atom]


def _place(x: Any) -> tuple[float, ...]:
    return tuple(round(float(v), 3) + 0.0 for v in x)


def _near(rows: Iterable[tuple[Any, ...]]) -> Seen:
    """Rows whose last entry is a place near the ligand, sorted."""
    points = odd_files.ligand().GetConformer().GetPositions()
    return sorted(row for row in rows if np.linalg.norm(points - row[-1], axis=1).min() <= NEAR)


def _label(residue: Residue) -> tuple[str, str]:
    return residue.label, residue.name


def _expected(atoms: Sequence[odd_files.Atom], *columns: str) -> Seen:
    """The atoms that a file means, with some of: label, residue, name, element, classes."""
    rows = []
    for a in atoms:
        z = gemmi.Element(a.element).atomic_number
        classes = (
            vocab.RESIDUE_CLASS.get(a.residue, vocab.OTHER_RESIDUE),
            vocab.ATOM_CLASS.get(a.name, vocab.OTHER_ATOM),
        )
        values = {"label": f"{a.chain}:{a.number}{a.insertion}", "residue": a.residue, "name": a.name, "element": z,
                  "classes": classes}  # fmt: skip
        rows.append((*(values[column] for column in columns), _place(a.x)))
    return _near(rows)


def _of_protein(protein: Protein) -> Seen:
    kept = [i for i, r in enumerate(protein.residues) if r.kind is not Kind.LIGAND]
    return _near(
        (*_label(protein.residues[r]), str(name), int(z), _place(x))
        for r, name, z, x in zip(protein.residue_of, protein.atom_label, protein.element, protein.x, strict=True)
        if r in kept
    )


def _of_pocket(pocket: Pocket) -> Seen:
    columns = zip(pocket.residue, pocket.atom_name, pocket.element, pocket.x, strict=True)
    return _near(((int(r), int(a)), int(z), _place(x)) for r, a, z, x in columns)


def prepare_sees(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    found = read_complex(opened.path, odd_files.SITE / "ligand.sdf", "x")
    assert isinstance(found, Complex), found
    return _of_pocket(found.pocket), _expected(opened.expected, "classes", "element")


def generate_sees(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    pocket, _report = read_pocket(opened.path, odd_files.SITE / "ligand.sdf")
    return _of_pocket(pocket), _expected(opened.expected, "classes", "element")


def reader_sees(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    protein = read_protein(opened.path)
    copies = copies_at(protein, odd_files.ligand().GetConformer().GetPositions())
    return _of_protein(protein.without(copies)), _expected(opened.expected, "label", "residue", "name", "element")


def metrics_see(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    view = opened.view
    rows = zip(view.residue_index, view.name, view.element, view.x, strict=True)
    found = _near((*_label(view.residues[r]), n, int(z), _place(x)) for r, n, z, x in rows)
    return found, _expected(opened.expected, "label", "residue", "name", "element")


def posebusters_sees(opened: Opened, patch: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    """What is handed to PoseBusters, as it tells proteins and cofactors apart: by the flag of het atoms."""
    handed: list[Chem.Mol] = []

    class PoseBusters:
        config: ClassVar[dict[str, Any]] = {"modules": [{"function": "energy_ratio", "parameters": {}}]}

        def __init__(self, config: Any, **_: Any) -> None:
            del config

        def bust(self, mol: Chem.Mol, _reference: None, protein: Chem.Mol) -> pd.DataFrame:
            del mol
            handed.append(protein)
            return pd.DataFrame({"internal_energy": [True]})

    patch.setitem(sys.modules, "posebusters", SimpleNamespace(PoseBusters=PoseBusters))
    PoseBustersTool().open(Site("", opened.view, odd_files.ligand()))(odd_files.ligand())
    rows = []
    for atom, x in zip(handed[0].GetAtoms(), handed[0].GetConformer().GetPositions(), strict=True):
        info = atom.GetPDBResidueInfo()
        label = f"{info.GetChainId()}:{info.GetResidueNumber()}{info.GetInsertionCode()}"
        rows.append((label, info.GetResidueName(), info.GetName().strip(), atom.GetAtomicNum(), _place(x)))
        is_ion = gemmi.Element(atom.GetAtomicNum()).is_metal
        assert info.GetIsHeteroAtom() == is_ion
    return _crop(rows), _crop(_expected(opened.expected, "label", "residue", "name", "element"))


def _crop(rows: Iterable[tuple[Any, ...]]) -> Seen:
    """Whole residues, by their first entry, within the reach of the crop for PoseBusters."""
    rows = list(rows)
    points = odd_files.ligand().GetConformer().GetPositions()
    near = {row[0] for row in rows if np.linalg.norm(points - row[-1], axis=1).min() <= CROP_RADIUS - 0.1}
    return sorted(row for row in rows if row[0] in near)


def relax_sees(opened: Opened, patch: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    """Heavy atoms that `relax` gets, and which accept hydrogen bonds."""
    handed: list[Surroundings] = []

    def record(mol: Chem.Mol, around: Surroundings, options: Any) -> None:
        del mol, options
        handed.append(around)
        raise RelaxFailure("recorded")

    patch.setattr(relaxation, "relax", record)
    with pytest.raises(ToolFailure, match="recorded"):
        RelaxTool().open(Site("", opened.view))(odd_files.ligand())
    around = handed[0]
    heavy = around.element > 1
    rows = zip(around.accepts[heavy].tolist(), around.element[heavy].tolist(), around.x[heavy], strict=True)
    wanted = {
        _place(a.x): a.element == "O" or (a.residue == "HIS" and a.name in ("ND1", "NE2")) for a in opened.expected
    }
    expected = [(wanted[row[-1]], *row) for row in _expected(opened.expected, "element")]
    return _near((accepts, z, _place(x)) for accepts, z, x in rows), sorted(expected)


def docking_sees(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    lines = [line for line in receptor_pdbqt(opened.view).splitlines() if line[77:].strip() != "HD"]
    rows = [
        (line[17:20].strip(), line[12:16].strip(), _place([float(line[30 + 8 * k : 38 + 8 * k]) for k in range(3)]))
        for line in lines
    ]
    return _near(rows), _expected(opened.expected, "residue", "name")


def interactions_see(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    """The residues that ProLIF gets, under the labels that are reported."""
    rows, view = [], opened.view
    for index in view.residues_near(odd_files.ligand().GetConformer().GetPositions(), INTERACTION_REACH):
        mol, own = residue_molecule(view, index)
        assert mol is not None, view.residues[index]
        label = residue_label(view, index)
        places = mol.GetConformer().GetPositions()
        rows += [(label, mol.GetAtomWithIdx(i).GetAtomicNum(), _place(places[i])) for i in range(own)]
    labelled = {f"{a.chain}:{a.residue}{a.number}{a.insertion}" for a in opened.expected}
    assert {row[0] for row in rows} <= labelled
    wanted = [
        (f"{a.chain}:{a.residue}{a.number}{a.insertion}", gemmi.Element(a.element).atomic_number, _place(a.x))
        for a in opened.expected
    ]
    found = {row[0] for row in rows}
    points = odd_files.ligand().GetConformer().GetPositions()
    close = {row[0] for row in wanted if np.linalg.norm(points - row[-1], axis=1).min() <= INTERACTION_REACH - 0.1}
    assert close <= found
    return sorted(rows), sorted(row for row in wanted if row[0] in found)


def page_sees(opened: Opened, _: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    """The pocket that `report` shows, read back: labels but for the chain, which has one letter there."""
    site = SimpleNamespace(reference=odd_files.ligand())
    text = pocket_pdb(SimpleNamespace(data=SimpleNamespace(site=site, samples=())), opened.view)  # type: ignore[arg-type]
    path = opened.path.with_name("pocket.pdb")
    path.write_text(text)
    shown = _heavy_atoms(path).splitlines()
    assert all(line[22:26].strip().lstrip("-").isdigit() for line in shown)
    rows = [(*row[:-1], row[-1]) for row in _of_protein(read_protein(path))]
    assert len(shown) == len(rows)
    numbers = [(row[0].partition(":")[2], *row[1:]) for row in rows]
    wanted = _expected(opened.expected, "label", "residue", "name", "element")
    return _crop(numbers), _crop((row[0].partition(":")[2], *row[1:]) for row in wanted)


CONSUMERS = [
    reader_sees, prepare_sees, generate_sees, metrics_see, posebusters_sees, relax_sees, docking_sees, interactions_see,
    page_sees,
]  # fmt: skip
FILES = odd_files.odd_files()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Opened]:
    """Opens an odd file by name, once."""

    @cache
    def open_file(name: str) -> Opened:
        path = tmp_path_factory.mktemp("odd") / name
        content = FILES[name].content
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Opened(path, load_protein(path, odd_files.ligand()), FILES[name].atoms)

    return open_file


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.__name__)
@pytest.mark.parametrize("name", FILES)
def test_every_consumer_sees_the_atoms_that_a_file_means(
    name: str,
    consumer: Callable[..., tuple[Seen, Seen]],
    opened: Callable[[str], Opened],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, expected = consumer(opened(name), monkeypatch)
    assert found == expected


@pytest.mark.parametrize("name", FILES)
def test_what_was_renamed_is_said(name: str, opened: Callable[[str], Opened]) -> None:
    line = read_protein(opened(name).path).description()
    assert "\n" not in line
    assert [change for change in FILES[name].renamed if change not in line] == []
