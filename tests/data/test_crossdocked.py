"""The published CrossDocked2020 files, written here in exactly their record format from a real complex."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import lmdb
import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.data.crossdocked.reader import CrossDockedDataset
from ligandsmith.data.crossdocked.record import AMINO_ACID_TYPES, complex_from_record
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.ligands import BOND_TYPES, mol_from_ligand

FILES = Path(__file__).parents[2] / "examples/complexes/7off"
MOL = Chem.MolFromMolFile(str(FILES / "ligand.sdf"))
CENTER = gemmi.Position(*MOL.GetConformer().GetPositions().mean(0))
RESIDUES = [
    residue
    for chain in gemmi.read_structure(str(FILES / "protein.pdb.gz"))[0]
    for residue in chain
    if residue.name in AMINO_ACID_TYPES and min(atom.pos.dist(CENTER) for atom in residue) < 10.0
]


def ligand_fields(mol: Chem.Mol) -> dict[str, Any]:
    """The ligand half of a published record: int64 and float32 tensors, every bond in both directions, sorted."""
    bonds = []
    for bond in mol.GetBonds():
        i, j, kind = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), BOND_TYPES[bond.GetBondType()]
        bonds += [(i, j, kind), (j, i, kind)]
    table = torch.tensor(sorted(bonds)).T
    return {
        "ligand_smiles": Chem.MolToSmiles(mol),
        "ligand_element": torch.tensor([a.GetAtomicNum() for a in mol.GetAtoms()]),
        "ligand_pos": torch.tensor(mol.GetConformer().GetPositions(), dtype=torch.float32),
        "ligand_bond_index": table[:2],
        "ligand_bond_type": table[2],
    }


def published_record(number: int = 0, group: str = "KEAP1_HUMAN_321_609_0", mol: Chem.Mol = MOL) -> dict[str, Any]:
    """A record as it is in the published LMDB; `number` moves the complex by so many 0.01 Å along x."""
    atoms = [(residue, atom) for residue in RESIDUES for atom in residue if not atom.is_hydrogen()]
    shift = torch.tensor([0.01 * number, 0.0, 0.0])
    record = {
        "protein_element": torch.tensor([a.element.atomic_number for _, a in atoms]),
        "protein_molecule_name": "pocket",
        "protein_pos": torch.tensor([a.pos.tolist() for _, a in atoms], dtype=torch.float32) + shift,
        "protein_is_backbone": torch.tensor([a.name in ("CA", "C", "N", "O") for _, a in atoms]),
        "protein_atom_name": [a.name for _, a in atoms],
        "protein_atom_to_aa_type": torch.tensor([AMINO_ACID_TYPES.index(r.name) for r, _ in atoms]),
        **ligand_fields(mol),
        "protein_filename": f"{group}/7off_A_rec_{number}_pocket10.pdb",
        "ligand_filename": f"{group}/7off_A_rec_7off_vcb_lig_tt_min_{number}.sdf",
    }
    record["ligand_pos"] = record["ligand_pos"] + shift
    return record


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def write_lmdb(path: Path, values: list[bytes]) -> Path:
    """Record i under the key str(i), in one file without a folder, as published."""
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 28) as environment,
        environment.begin(write=True) as transaction,
    ):
        for i, value in enumerate(values):
            transaction.put(str(i).encode(), value)
    return path


def pickled(number: int, group: str = "KEAP1_HUMAN_321_609_0") -> bytes:
    return pickle.dumps(published_record(number, group))


def number_of(id: str) -> int:
    return int(id.rsplit("_", maxsplit=1)[1])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 records in three protein groups (8 + 14 + 2) and split files of both kinds."""
    folder = tmp_path_factory.mktemp("published")
    groups = ["A_HUMAN"] * 8 + ["B_HUMAN"] * 14 + ["C_HUMAN"] * 2
    write_lmdb(folder / "records.lmdb", [pickled(i, group) for i, group in enumerate(groups)])
    records = [published_record(i, group) for i, group in enumerate(groups)]
    names = [(r["protein_filename"], r["ligand_filename"]) for r in records]
    torch.save({"train": list(range(20)), "val": [], "test": [20, 21, 22, 23]}, folder / "pose_split.pt")
    torch.save({"train": names[:22], "test": names[22:]}, folder / "split_by_name.pt")
    return folder


def test_a_record_becomes_the_complex_it_was_written_from() -> None:
    result = complex_from_record(pickle.loads(pickle.dumps(published_record())), "0")  # noqa: S301  our own
    assert isinstance(result, Complex)
    assert result.id == "KEAP1_HUMAN_321_609_0/7off_A_rec_7off_vcb_lig_tt_min_0"
    assert Chem.MolToSmiles(mol_from_ligand(result.ligand)) == Chem.MolToSmiles(MOL)
    np.testing.assert_allclose(result.ligand.x, MOL.GetConformer().GetPositions(), atol=1e-4)
    pocket = result.pocket
    assert pocket is not None
    assert pocket.name == "KEAP1_HUMAN_321_609_0/7off_A_rec_0_pocket10.pdb"
    assert pocket.residue_index.max() + 1 == len(RESIDUES)
    for number, residue in enumerate(RESIDUES):
        mine = pocket.residue_index == number
        assert {vocab.RESIDUES[i] for i in pocket.residue[mine]} == {residue.name}
        expected = {a.name: a.pos.tolist() for a in residue if not a.is_hydrogen()}
        got = {vocab.ATOM_NAMES[i]: x for i, x in zip(pocket.atom_name[mine], pocket.x[mine], strict=True)}
        assert got.keys() == expected.keys()
        for name, x in got.items():
            np.testing.assert_allclose(x, expected[name], atol=1e-3)


def test_numpy_arrays_byte_names_and_hydrogens_give_the_same_complex() -> None:
    record = published_record()
    expected = complex_from_record(record, "0")
    arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in record.items()}
    arrays["protein_atom_name"] = np.array([n.encode() for n in record["protein_atom_name"]])
    arrays |= {f"ligand_{k[7:]}": v for k, v in ligand_fields(Chem.AddHs(MOL, addCoords=True)).items()}
    for field, extra in (("element", [1]), ("pos", [[0.0, 0, 0]]), ("atom_to_aa_type", [0]), ("is_backbone", [False])):
        arrays[f"protein_{field}"] = np.concatenate([arrays[f"protein_{field}"], np.array(extra)])
    arrays["protein_atom_name"] = np.append(arrays["protein_atom_name"], b"HB1")
    got = complex_from_record(arrays, "0")
    assert isinstance(got, Complex)
    assert isinstance(expected, Complex)
    assert got.smiles == expected.smiles
    for half in ("ligand", "pocket"):
        for name, value in getattr(expected, half).__dict__.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(getattr(getattr(got, half), name), value, atol=1e-4)


@pytest.mark.parametrize(
    "smiles",
    [
        "C[N+](C)(C)CCOC(=O)c1ccccc1",
        "O=[N+]([O-])c1ccc(Cl)cc1",
        "c1ccc2[nH]ccc2c1",
        "Cc1cc[n+]([O-])cc1C#N",
        "C[n+]1ccccc1C(N)=O",
        "Cc1ccc2[nH]c(=O)ccc2c1",
        "C[S+](C)CCC(N)C(=O)O",
        "CS(=O)(=O)Nc1ccccc1",
        "CCOP(=O)(O)OCC",
        "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    ],
)
def test_charges_and_hydrogens_are_derived_from_the_bonds_alone(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    center = MOL.GetConformer().GetPositions().mean(0)
    conformer.SetPositions(center + np.arange(mol.GetNumAtoms())[:, None] * np.array([0.5, 0.5, 0.7]))
    mol.AddConformer(conformer)
    record = published_record(mol=mol)
    del record["ligand_smiles"]
    result = complex_from_record(record, "0")
    assert isinstance(result, Complex), result
    assert Chem.CanonSmiles(result.smiles) == Chem.CanonSmiles(smiles)


def test_protonation_is_taken_from_the_smiles_of_the_record_where_it_fits() -> None:
    mol = Chem.Mol(MOL)
    acid = mol.GetSubstructMatch(Chem.MolFromSmarts("[CX3](=O)[OX2H1]"))
    mol.GetAtomWithIdx(acid[2]).SetFormalCharge(-1)
    Chem.SanitizeMol(mol)
    result = complex_from_record(published_record(mol=mol), "0")
    assert isinstance(result, Complex)
    assert result.ligand.charge[acid[2]] == -1
    assert result.ligand.num_h[acid[2]] == 0
    other = complex_from_record(published_record(mol=mol) | {"ligand_smiles": "CCO"}, "0")
    assert isinstance(other, Complex)
    assert other.ligand.charge.sum() == 0


def _replace(field: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record | {field: value}


def _five_bonds(record: dict[str, Any]) -> object:
    return record | {"ligand_bond_type": torch.full_like(record["ligand_bond_type"], 3)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: [record], "not a record"),
        (lambda record: {k: v for k, v in record.items() if k != "ligand_pos"}, "missing field"),
        (lambda record: {k: v for k, v in record.items() if k != "protein_atom_name"}, "missing field"),
        (_replace("ligand_filename", 7), "missing field"),
        (_replace("protein_pos", torch.zeros(4, 3)), "wrong field"),
        (_replace("protein_element", torch.zeros(4, 3)), "wrong field"),
        (_replace("ligand_pos", torch.zeros(4, 3)), "wrong coordinates"),
        (lambda record: record | {"ligand_pos": record["ligand_pos"] * float("nan")}, "non-finite coordinates"),
        (lambda record: record | {"ligand_pos": record["ligand_pos"] * 0}, "overlapping atoms"),
        (lambda record: record | {"ligand_pos": record["ligand_pos"] + 100}, "ligand far from the pocket"),
        (lambda record: record | {"ligand_element": record["ligand_element"] * 0 + 14}, "unknown element"),
        (lambda record: record | {"ligand_bond_index": record["ligand_bond_index"] + 50}, "wrong bonds"),
        (_replace("ligand_bond_type", torch.tensor([1])), "wrong bonds"),
        (_five_bonds, "impossible bonds"),
    ],
)
def test_a_record_that_cannot_be_used_is_a_rejection_with_its_reason(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    result = complex_from_record(change(published_record()), "17")
    assert isinstance(result, Rejection)
    assert result.reason == reason
    assert result.detail


def test_index_splits_count_records_in_the_order_of_the_keys_as_text(published: Path) -> None:
    dataset = CrossDockedDataset(published / "records.lmdb", published / "pose_split.pt", "test", allow_test=True)
    in_order = sorted(str(i) for i in range(24))
    assert [number_of(id) for id in dataset.ids] == [int(key) for key in in_order[20:24]]
    assert [number_of(dataset[i].id) for i in range(len(dataset))] == [int(key) for key in in_order[20:24]]


def test_name_splits_find_their_records(published: Path) -> None:
    dataset = CrossDockedDataset(published / "records.lmdb", published / "split_by_name.pt", "test", allow_test=True)
    assert [number_of(id) for id in dataset.ids] == [22, 23]
    assert dataset[1].pocket is not None
    assert dataset[1].pocket.name == "C_HUMAN/7off_A_rec_23_pocket10.pdb"
    ligands, pockets = dataset.sizes()
    assert ligands.tolist() == [MOL.GetNumHeavyAtoms()] * 2
    assert pockets.tolist() == [dataset[0].pocket.num_atoms] * 2  # type: ignore[union-attr]


def test_validation_is_a_whole_protein_group_held_out_of_train(published: Path) -> None:
    paths = published / "records.lmdb", published / "split_by_name.pt"
    train, validation = CrossDockedDataset(*paths, "train"), CrossDockedDataset(*paths, "validation")
    assert len(train) + len(validation) == 22
    assert {id.split("/")[0] for id in validation.ids} == {"A_HUMAN"}
    assert {id.split("/")[0] for id in train.ids} == {"B_HUMAN"}
    assert set(train.clusters) & set(validation.clusters) == set()
    assert validation.ids == CrossDockedDataset(*paths, "validation").ids
    assert train[0].cluster == train.clusters[0]


def test_the_test_split_does_not_open_unasked(published: Path) -> None:
    with pytest.raises(LigandsmithError, match="test split"):
        CrossDockedDataset(published / "records.lmdb", published / "pose_split.pt", "test")
    with pytest.raises(LigandsmithError, match="no split 'valid'"):
        CrossDockedDataset(published / "records.lmdb", published / "pose_split.pt", "valid")


def test_opening_reads_no_record_and_access_looks_up_one_key(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = published / "records.lmdb", published / "pose_split.pt"
    CrossDockedDataset(*paths)
    calls: list[str] = []

    class Transaction:
        def __init__(self, real: lmdb.Transaction) -> None:
            self.real = real

        def __enter__(self) -> "Transaction":
            return self

        def __exit__(self, *_: object) -> None:
            self.real.abort()

        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(self.real, name)

    class Environment:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.real = real_open(*arguments, **options)

        def begin(self) -> Transaction:
            return Transaction(self.real.begin())

    real_open = lmdb.open
    monkeypatch.setattr("ligandsmith.data.crossdocked.reader.lmdb.open", Environment)
    dataset = CrossDockedDataset(*paths)
    assert calls == []
    for i in (0, len(dataset) - 1, 3):
        assert dataset[i].id == dataset.ids[i]
    assert calls == ["get"] * 3


def test_corrupt_and_malicious_records_are_counted_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = pickle.dumps(published_record(1) | {"protein_pos": Payload(f"touch {marker}")})
    values = [pickled(0), evil, pickled(2)[:5000], b"", b"\x00noise", pickled(5, "B_HUMAN"), pickled(6)]
    write_lmdb(tmp_path / "records.lmdb", values)
    torch.save({"train": [0, 1, 2, 3, 4, 5], "test": [6]}, tmp_path / "split.pt")
    train = CrossDockedDataset(tmp_path / "records.lmdb", tmp_path / "split.pt")
    validation = CrossDockedDataset(tmp_path / "records.lmdb", tmp_path / "split.pt", "validation")
    assert len(train) + len(validation) + len(train.rejections) == 6
    assert [r.reason for r in train.rejections] == ["unreadable record"] * 4
    assert "posix.system" in train.rejections[0].detail
    assert all(isinstance(train[i], Complex) for i in range(len(train)))
    assert not marker.exists()


def test_workers_of_a_data_loader_read_the_same_records(published: Path) -> None:
    dataset = CrossDockedDataset(published / "records.lmdb", published / "pose_split.pt")
    here = [dataset[i].ligand.x for i in range(len(dataset))]
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)  # type: ignore[arg-type,var-annotated]
    for expected, record in zip(here, loader, strict=True):
        np.testing.assert_array_equal(record.ligand.x, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[3].ligand.x, here[3])  # noqa: S301  our own


def test_a_changed_file_is_checked_again(tmp_path: Path, published: Path) -> None:
    path, split = tmp_path / "records.lmdb", published / "pose_split.pt"
    shutil.copy(published / "records.lmdb", path)
    before = CrossDockedDataset(path, split).ids
    path.unlink()
    write_lmdb(path, [pickled(i, "D_HUMAN" if i % 2 else "E_HUMAN") for i in range(24)])
    after = CrossDockedDataset(path, split).ids
    assert {id.split("/")[0] for id in before} <= {"A_HUMAN", "B_HUMAN", "C_HUMAN"}
    assert {id.split("/")[0] for id in after} <= {"D_HUMAN", "E_HUMAN"}
    assert len(list(tmp_path.glob("*.index.parquet"))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a split file"),
        ({"train": [1]}, "not a split file"),
        ({"train": ["a", "b"], "test": []}, "record numbers or"),
        ({"train": [0, 99], "test": []}, "names record 99"),
        ({"train": [0, 1], "test": [1]}, "listed twice"),
        ({"train": [("x.pdb", "y.sdf")], "test": []}, "none of the files"),
        ({"train": [], "test": [1]}, "no usable record"),
    ],
)
def test_an_unfit_split_file_is_one_clear_line(published: Path, tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "split.pt")
    with pytest.raises(LigandsmithError, match=message) as caught:
        CrossDockedDataset(published / "records.lmdb", tmp_path / "split.pt")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_lmdb_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "noise.lmdb").write_bytes(b"noise")
    for name in ("noise.lmdb", "missing.lmdb"):
        with pytest.raises(LigandsmithError, match=name):
            CrossDockedDataset(tmp_path / name, tmp_path / "split.pt")
