"""Complexes cut from a real protein: valid capped molecules with the bonds of amino acids, in pockets without them."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.cli.main import main
from ligandsmith.data.dataset import ComplexDataset, Split
from ligandsmith.data.pseudo import complexes as module
from ligandsmith.data.pseudo.complexes import CutOptions, pseudo_complexes
from ligandsmith.data.pseudo.templates import AMINO_ACIDS, Piece, mol_from_pieces, side_chain, template_atoms
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.protein import Kind, Protein, read_protein

EXAMPLES = Path(__file__).parents[2] / "examples/complexes"
ZINC = "HETATM    1 ZN    ZN A   1       1.000   2.000   3.000  1.00 10.00          ZN"
LICENCE = "CC0-1.0"
# The middles of the amino acids as their N-acetyl methyl amides, written down by hand.
CAPPED = {
    "ALA": "C[C@H]", "ARG": "N=C(N)NCCC[C@H]", "ASN": "NC(=O)C[C@H]", "ASP": "OC(=O)C[C@H]", "CYS": "SC[C@H]",
    "GLN": "NC(=O)CC[C@H]", "GLU": "OC(=O)CC[C@H]", "GLY": "[CH2]", "HIS": "c1[nH]cnc1C[C@H]",
    "ILE": "CC[C@H](C)[C@H]", "LEU": "CC(C)C[C@H]", "LYS": "NCCCC[C@H]", "MET": "CSCC[C@H]",
    "PHE": "c1ccccc1C[C@H]", "SER": "OC[C@H]", "THR": "C[C@@H](O)[C@H]", "TRP": "c1ccc2c(c1)c(c[nH]2)C[C@H]",
    "TYR": "Oc1ccc(cc1)C[C@H]", "VAL": "CC(C)[C@H]",
}  # fmt: skip
CAPPED = {name: f"{middle}(NC(C)=O)C(=O)NC" for name, middle in CAPPED.items()} | {"PRO": "C1CC[C@H](N1C(C)=O)C(=O)NC"}


@pytest.fixture(scope="module")
def protein() -> Protein:
    return read_protein(EXAMPLES / "7off/protein.pdb.gz")


@pytest.fixture(scope="module")
def tried(protein: Protein) -> list[Complex | Rejection]:
    return list(pseudo_complexes(protein, "7off", LICENCE, CutOptions(per_protein=60)))


@pytest.fixture(scope="module")
def records(tried: list[Complex | Rejection]) -> list[Complex]:
    return [record for record in tried if isinstance(record, Complex)]


def rows_of_ligand(protein: Protein, record: Complex) -> np.ndarray:
    distance, rows = cKDTree(protein.x).query(record.ligand.x)
    assert distance.max() == 0
    return rows


def residues_of_ligand(protein: Protein, record: Complex) -> list[int]:
    return sorted(set(protein.residue_of[rows_of_ligand(protein, record)].tolist()))


def test_every_amino_acid_is_the_molecule_of_the_textbook() -> None:
    assert set(CAPPED) == AMINO_ACIDS
    for name, smiles in CAPPED.items():
        pieces = [Piece("ALA", ("CA", "C", "O")), Piece(name, template_atoms(name)), Piece("ALA", ("N", "CA"))]
        count = sum(len(piece.atoms) for piece in pieces)
        mol = mol_from_pieces(pieces, np.random.default_rng(0).normal(size=(count, 3)))
        flat = Chem.MolFromSmiles(smiles)
        Chem.RemoveStereochemistry(flat)
        Chem.RemoveStereochemistry(mol)
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(flat), name
    assert "CA" in side_chain("TRP", "CA")
    assert not {"N", "CA", "C", "O"} & set(side_chain("TRP", "CB"))
    with pytest.raises(KeyError):
        template_atoms("MSE")


def test_peptides_have_the_handedness_of_nature_and_both_caps(protein: Protein, records: list[Complex]) -> None:
    cap = Chem.MolFromSmarts("[CH3]C(=O)N[CX4]"), Chem.MolFromSmarts("[CX4]C(=O)[NH][CH3]")
    lengths = set()
    singles = 0
    for record in records:
        mol = Chem.MolFromSmiles(record.smiles)
        residues = residues_of_ligand(protein, record)
        names = [protein.residues[i].name for i in residues]
        lengths.add(max(len(residues) - 2, 0))
        if len(residues) > 1:
            assert residues == list(range(residues[0], residues[-1] + 1))
            assert all(mol.HasSubstructMatch(pattern) for pattern in cap)
        if len(residues) == 3:
            singles += 1
            assert record.smiles == Chem.CanonSmiles(CAPPED[names[1]])
    assert lengths == {0, 1, 2, 3, 4}
    assert singles > 5


def test_every_bond_is_that_of_the_template_and_has_its_length(protein: Protein, records: list[Complex]) -> None:
    for record in records:
        mol = mol_from_ligand(record.ligand)
        assert Chem.MolToSmiles(mol) == record.smiles
        assert 5 <= record.ligand.num_atoms <= 40
        assert not record.ligand.charge.any()
        rows = rows_of_ligand(protein, record)
        length = np.linalg.norm(record.ligand.x[:, None] - record.ligand.x[None], axis=-1)
        bonded = np.eye(len(rows), dtype=bool)
        for i, j in record.ligand.bond_index:
            bonded[i, j] = bonded[j, i] = True
            double = mol.GetBondBetweenAtoms(int(i), int(j)).GetBondType() == Chem.BondType.DOUBLE
            assert 1.15 < length[i, j] < (1.45 if double else 1.9)
        assert length[~bonded].min() > 2.0  # none is missing


def test_the_pocket_lacks_the_ligand_and_is_no_bond_away(protein: Protein, records: list[Complex]) -> None:
    for record in records:
        assert record.pocket is not None
        near = cKDTree(record.pocket.x)
        assert near.query(record.ligand.x)[0].min() >= 2.2
        own = protein.x[np.isin(protein.residue_of, residues_of_ligand(protein, record))]
        assert near.query(own)[0].min() > 1.0
        contacts = near.query_ball_point(record.ligand.x, 4.5, return_length=True)
        assert contacts.mean() >= 4
        assert (contacts > 0).mean() >= 0.8
        there = cKDTree(protein.x).query(record.pocket.x)
        assert there[0].max() == 0
        assert (protein.atom_name[there[1]] == record.pocket.atom_name).all()


def test_records_name_their_parent_and_share_no_residue(protein: Protein, tried: list[Complex | Rejection]) -> None:
    assert [record.id for record in tried] == [f"pseudo-7off-{i}" for i in range(len(tried))]
    taken: set[int] = set()
    for record in tried:
        if isinstance(record, Complex):
            assert (record.source, record.licence, record.cluster) == ("pseudo-complex", LICENCE, -1)
            own = protein.residue_of[rows_of_ligand(protein, record)]
            whole = {int(i) for i in own if np.bincount(own)[i] > 3 or len(set(own)) == 1}
            assert not whole & taken
            taken |= whole
    assert {r.reason for r in tried if isinstance(r, Rejection)} >= {"few contacts"}


def test_the_same_again_for_a_seed_and_others_for_another(protein: Protein, records: list[Complex]) -> None:
    def smiles(parent: str, seed: int) -> list[str]:
        options = CutOptions(per_protein=8, seed=seed)
        found = pseudo_complexes(protein, parent, LICENCE, options)
        return [record.smiles for record in found if isinstance(record, Complex)]

    assert smiles("7off", 0) == [record.smiles for record in records[:8]]
    assert len({tuple(smiles(*key)) for key in (("7off", 0), ("7off", 1), ("other", 0))}) == 3


def reasons(protein: Protein, first: int, length: int = 1) -> str:
    chain = module._Chain(protein)
    record = module._record(chain, module._Cut(first, length), "id")
    return record.reason if isinstance(record, Rejection) else ""


def test_doubtful_residues_are_refused_with_a_reason(protein: Protein) -> None:
    good = next(i for i in range(50, 200) if reasons(protein, i) == "" and protein.residues[i].name == "LEU")
    rows = np.flatnonzero(protein.residue_of == good)
    assert reasons(replace(protein, alternate=frozenset({good})), good) == "alternate locations"
    assert reasons(replace(protein, alternate=frozenset({good + 1})), good) == "no cap"
    assert reasons(protein.without({good + 1}), good) == "chain end or break"
    assert reasons(protein, 0) in ("chain end or break", "missing atoms")
    names = protein.atom_name.copy()
    names[rows[-1]] = len(module.vocab.ATOM_NAMES) - 1
    assert reasons(replace(protein, atom_name=names), good) == "missing atoms"
    x = protein.x.copy()
    x[rows[-1]] += 1.5
    assert reasons(replace(protein, x=x), good) in ("impossible bond length", "bonded to its surroundings")
    odd = replace(protein.residues[good], name="MSE")
    residues = (*protein.residues[:good], odd, *protein.residues[good + 1 :])
    assert reasons(replace(protein, residues=residues), good) == "non-standard residue"
    far = np.flatnonzero(protein.residue_of == good + 60)
    x = protein.x.copy()
    x[far[0]] = protein.x[rows[-1]] + np.float32(1.4)
    kind = protein.kind.copy()
    kind[far] = Kind.METAL
    assert reasons(replace(protein, x=x, kind=kind), good) == "bound to a metal"
    x[far[0]] = protein.x[rows[-1]] + np.float32(0.9)
    assert reasons(replace(protein, x=x), good) == "bonded to its surroundings"


def test_alternate_locations_are_known_from_the_file(protein: Protein, tmp_path: Path) -> None:
    lines = gzip.decompress((EXAMPLES / "7off/protein.pdb.gz").read_bytes()).decode().splitlines(keepends=True)
    atom = next(i for i, line in enumerate(lines) if line.startswith("ATOM"))
    at = next(i for i in range(atom, len(lines)) if lines[i][22:26] != lines[atom][22:26])
    lines[at] = f"{lines[at][:16]}A{lines[at][17:]}"
    (tmp_path / "a.pdb").write_text("".join(lines))
    assert not protein.alternate
    assert read_protein(tmp_path / "a.pdb").alternate == {1}
    assert read_protein(tmp_path / "a.pdb").without({0}).alternate == {0}


@pytest.mark.parametrize("options", [{"per_protein": 0}, {"seed": -1}])
def test_numbers_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(LigandsmithError):
        CutOptions(**options)


def test_the_command_writes_a_data_set_past_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "proteins"
    (source / "7sza").mkdir(parents=True)
    (source / "7sza/protein.pdb.gz").write_bytes((EXAMPLES / "7sza/protein.pdb.gz").read_bytes())
    (source / "7off.pdb.gz").write_bytes((EXAMPLES / "7off/protein.pdb.gz").read_bytes())
    (source / "7sza.pdb").write_text("hello\n")
    (source / "bad.pdb").write_text("hello\n")
    (source / "ions.pdb").write_text(f"{ZINC}\n")
    data = tmp_path / "data"
    command = ["pseudo-complexes", str(source), "--per_protein", "6", "--licence", "CC0-1.0", "--out"]
    assert main([*command, str(data)]) == 0
    assert "12 pseudo-complexes written" in capsys.readouterr().out
    manifest = json.loads((data / "manifest.json").read_text())
    assert manifest["rejection_counts"]["not a structure"] == 1
    assert manifest["rejection_counts"]["duplicate id"] == 1
    assert manifest["rejection_counts"]["nothing to cut"] == 1
    dataset = ComplexDataset(data, Split.TRAIN)
    assert len(dataset) == 12
    assert {dataset[i].licence for i in range(12)} == {"CC0-1.0"}
    assert all(json.loads((data / "sequences.json").read_text()).values())
    assert main([*command, str(data)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_sources_without_proteins_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/x.pdb").write_text("hello\n")
    for name, said in (("none", "no such folder"), ("empty", "no proteins found"), ("bad", "nothing could be cut")):
        assert main(["pseudo-complexes", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "empty"]
