"""SMILES files become ligand-only data sets: real 3D molecules, the same for any number of processes."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.data.conformers import EmbedOptions, Molecule, embed, embed_conformers
from ligandsmith.data.dataset import ComplexDataset, Manifest, Split, read_splits
from ligandsmith.data.shards import ShardReader
from ligandsmith.data.splitting import scaffold_of
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.ligands import mol_from_ligand

MOLECULES = Path(__file__).parents[1] / "data_files" / "molecules.smi"
LINES = """\
CC(=O)Oc1ccccc1C(=O)O aspirin

OC(=O)c1ccccc1OC(C)=O aspirin again
C[C@H](N)C(=O)O L-alanine
not_a_molecule broken
c1ccccc1.CCO mixture
C[Si](C)(C)c1ccccc1 silane
CCO ethanol
Cc1ccccc1C#N
CC(C)Cc1ccc(C(C)C(=O)O)cc1 ibuprofen
OB(O)c1ccccc1 boronic
CCCCO same
CCCCN same
"""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("conformers")
    (folder / "in.smi").write_text(LINES)
    return folder / "out", embed_conformers(folder / "in.smi", folder / "out")


def test_every_line_is_a_record_or_a_rejection_with_its_line(embedded: tuple[Path, Manifest]) -> None:
    folder, manifest = embedded
    assert {(r.id, r.reason, r.detail.split(":")[0]) for r in manifest.rejections} == {
        ("aspirin again", "duplicate molecule", "line 3"),
        ("broken", "unreadable SMILES", "line 5"),
        ("mixture", "several fragments", "line 6"),
        ("silane", "unknown element", "line 7"),
        ("ethanol", "ligand size", "line 8"),
    }
    assert manifest.counts["ligands"] == 7
    ids = {id for part in read_splits(folder).values() for id in part}
    assert ids == {"aspirin", "L-alanine", "9", "ibuprofen", "boronic", "same", "same#13"}
    assert Manifest.load(folder).rejection_counts() == manifest.rejection_counts()


def test_the_records_are_the_molecules_in_three_dimensions(embedded: tuple[Path, Manifest]) -> None:
    folder, _ = embedded
    records = {r.id: r for r in ShardReader(sorted(folder.glob("ligands-*.parquet")))}
    assert records["aspirin"].smiles == Chem.CanonSmiles("CC(=O)Oc1ccccc1C(=O)O")
    for record in records.values():
        assert record.pocket is None
        mol = mol_from_ligand(record.ligand)
        assert Chem.MolToSmiles(mol) == record.smiles
        for bond in mol.GetBonds():
            a, b = record.ligand.x[bond.GetBeginAtomIdx()], record.ligand.x[bond.GetEndAtomIdx()]
            assert 1.1 < np.linalg.norm(a - b) < 1.65
    assert records["L-alanine"].smiles == "C[C@H](N)C(=O)O"
    ring = [a.GetIdx() for a in mol_from_ligand(records["ibuprofen"].ligand).GetAromaticAtoms()]
    points = records["ibuprofen"].ligand.x[ring]
    assert np.linalg.svd(points - points.mean(0))[1][2] < 0.1
    carbonyl = records["aspirin"].ligand.x
    assert np.linalg.svd(carbonyl - carbonyl.mean(0))[1][2] > 0.5


def test_the_result_depends_on_neither_workers_nor_place_nor_writing_but_on_the_seed(tmp_path: Path) -> None:
    smiles = [line.split()[0] for line in MOLECULES.read_text().splitlines()[:6]]
    (tmp_path / "a.smi").write_text("".join(f"{s} m{i}\n" for i, s in enumerate(smiles)))
    shuffled = [
        f"{Chem.MolToSmiles(Chem.MolFromSmiles(s), canonical=False, rootedAtAtom=2)} m{i}" for i, s in enumerate(smiles)
    ]
    with gzip.open(tmp_path / "b.smi.gz", "wt") as stream:
        stream.write("\n".join(reversed(shuffled)))
    embed_conformers(tmp_path / "a.smi", tmp_path / "one")
    embed_conformers(tmp_path / "a.smi", tmp_path / "two", EmbedOptions(workers=2))
    embed_conformers(tmp_path / "b.smi.gz", tmp_path / "other order")
    embed_conformers(tmp_path / "a.smi", tmp_path / "other seed", EmbedOptions(seed=1))
    assert (tmp_path / "one/ligands-00000.parquet").read_bytes() == (
        tmp_path / "two/ligands-00000.parquet"
    ).read_bytes()
    assert read_splits(tmp_path / "one") == read_splits(tmp_path / "two")
    one, order, seed = (
        {r.id: r.ligand.x for r in ShardReader([tmp_path / name / "ligands-00000.parquet"])}
        for name in ("one", "other order", "other seed")
    )
    assert all(np.array_equal(one[id], order[id]) for id in one)
    assert not any(np.array_equal(one[id], seed[id]) for id in one)


def test_validation_holds_whole_scaffolds(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text(
        "\n".join(f"{'C' * n}c1cc{x}cc1" for n in range(1, 9) for x in ("c", "n", "[nH+]"))
    )
    embed_conformers(tmp_path / "in.smi", tmp_path / "out")
    train, validation = (
        ComplexDataset(tmp_path / "out", split, "ligands") for split in (Split.TRAIN, Split.VALIDATION)
    )
    scaffolds = [{scaffold_of(part[i].smiles) for i in range(len(part))} for part in (train, validation)]
    assert scaffolds[0] & scaffolds[1] == set()
    assert len(train) + len(validation) == 24


def test_a_molecule_that_cannot_be_embedded_is_a_rejection() -> None:
    camphor, inverted = "CC1(C)[C@H]2CC[C@]1(C)C(=O)C2", "CC1(C)[C@@H]2CC[C@]1(C)C(=O)C2"
    assert isinstance(embed(Molecule("camphor", Chem.CanonSmiles(camphor), 6), EmbedOptions(timeout=2)), Complex)
    impossible = embed(Molecule("inverted", Chem.CanonSmiles(inverted), 7), EmbedOptions(timeout=2))
    assert isinstance(impossible, Rejection)
    assert impossible.reason in ("no conformer found", "embedding timed out")
    assert impossible.detail.startswith("line 7")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no molecule"),
        (b"x y\nz\n", "no molecule"),
        (b"\xff\xfe\x00CC", "not a readable text"),
        (None, "no such file"),
    ],
)
def test_an_unusable_file_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "in.smi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LigandsmithError, match=message) as caught:
        embed_conformers(path, tmp_path / "out")
    assert "in.smi" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ([] if content is None else ["in.smi"])


def test_a_damaged_gzip_file_and_an_existing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in.smi.gz").write_bytes(gzip.compress(LINES.encode())[:-20])
    with pytest.raises(LigandsmithError, match="not a readable text"):
        embed_conformers(tmp_path / "in.smi.gz", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(LigandsmithError, match="exists already"):
        embed_conformers(tmp_path / "in.smi.gz", tmp_path / "out")
