"""Splits: no id twice, nothing related in two parts, the same for the same seed; and an honest report."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.data.dataset import ComplexDataset, Manifest, read_splits, write_manifest
from ligandsmith.data.shards import write_shards
from ligandsmith.data.splitting import (
    ONE_LETTER,
    Item,
    assign,
    hold_out_groups,
    pocket_sequence,
    split_dataset,
)
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Ligand, Pocket
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.ligands import ligand_from_mol

FAMILIES = {
    # the first 60 residues of hen egg-white lysozyme, of human ubiquitin, and of human myoglobin
    "lysozyme": "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINS",
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN",
    "myoglobin": "MGLSDGEWQLVLNVWGKVEADIPGHGQEVLIRLFKGHPETLEKFDKFKHLKSEDEMKASE",
}
SMILES = {
    "lysozyme": ["CCCCCCO", "CCCCCCN", "c1ccccc1CCO", "c1ccccc1CCN"],
    "ubiquitin": ["c1ccncc1CCO", "c1ccncc1CCN", "C1CCCCC1CO"],
    "myoglobin": ["C1CCNCC1CO", "c1ccccc1CCCl"],
}


def mutated(sequence: str, share: float, seed: int) -> str:
    """The sequence with so many of its residues exchanged for another."""
    random = np.random.default_rng(seed)
    letters = list(sequence)
    for i in random.choice(len(letters), round(share * len(letters)), replace=False):
        letters[i] = random.choice([x for x in ONE_LETTER[:20] if x != letters[i]])
    return "".join(letters)


def pocket(sequence: str) -> Pocket:
    """A C-alpha and a C-beta for each residue."""
    residues = np.array([ONE_LETTER.index(x) for x in sequence for _ in range(2)], dtype=np.uint8)
    n = len(residues)
    return Pocket(
        element=np.full(n, 6, dtype=np.uint8),
        residue=residues,
        atom_name=np.tile(np.array([vocab.CALPHA, vocab.ATOM_NAMES.index("CB")], dtype=np.uint8), n // 2),
        residue_index=np.repeat(np.arange(n // 2), 2).astype(np.int16),
        x=np.arange(3 * n, dtype=np.float32).reshape(n, 3) / 100,
    )


def record(id: str, smiles: str, sequence: str | None, cluster: int = -1) -> Complex:
    mol = Chem.MolFromSmiles(smiles)
    ligand = ligand_from_mol(mol, id, 1.5 * np.arange(3 * mol.GetNumAtoms()).reshape(-1, 3) % 31)
    assert isinstance(ligand, Ligand)
    return Complex(id, ligand, pocket(sequence) if sequence else None, smiles=smiles, cluster=cluster)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """4 + 3 + 2 complexes of three families, members 80 % identical to the family, and 3 ligand-only records."""
    complexes = [
        record(f"{family}-{i}", smiles, mutated(sequence, 0.2, 10 * number + i))
        for number, (family, sequence) in enumerate(FAMILIES.items())
        for i, smiles in enumerate(SMILES[family])
    ]
    ligands = [record(f"free-{i}", smiles, None) for i, smiles in enumerate(("c1ccccc1CO", "c1ccoc1CCO", "c1ccoc1CCN"))]
    folder = tmp_path / "data"
    write_shards(folder, "complexes", complexes)
    write_shards(folder, "ligands", ligands)
    write_manifest(folder, {"train": [c.id for c in [*complexes, *ligands]]}, [])
    return folder


@pytest.fixture(autouse=True)
def _no_mmseqs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ligandsmith.data.homology.shutil.which", lambda _: None)


def families_by_split(data: Path) -> dict[str, set[str]]:
    return {split: {id.split("-")[0] for id in ids} for split, ids in read_splits(data).items()}


def test_the_pocket_sequence_is_read_from_its_residues() -> None:
    assert pocket_sequence(pocket(FAMILIES["ubiquitin"] + "X")) == FAMILIES["ubiquitin"]


def test_families_stay_together_and_unrelated_ones_part(data: Path) -> None:
    report = split_dataset(data, "sequence", fractions=(0.4, 0.3, 0.3))
    families = families_by_split(data)
    for one in ("train", "validation", "test"):
        for two in {"train", "validation", "test"} - {one}:
            assert not (families[one] & families[two]) - {"free"}
    assert set().union(*families.values()) == {*FAMILIES, "free"}
    assert report.groups == 3 + 2
    assert set(report.pairs_above.values()) == {0}
    assert max(report.max_identity.values()) < 0.3
    assert report.aligner == "parasail"


def test_a_stricter_identity_makes_more_groups(data: Path) -> None:
    assert split_dataset(data, "sequence", identity=0.95).groups == 9 + 2


def test_a_known_cluster_joins_what_the_pockets_do_not_show(data: Path) -> None:
    joined = [record(f"pair-{i}", "c1ccccc1CCO", FAMILIES[family], 7) for i, family in enumerate(list(FAMILIES)[:2])]
    write_shards(data, "complexes", joined)
    write_manifest(data, {"train": ["pair-0", "pair-1"]}, [])
    assert split_dataset(data, "sequence").groups == 1 + 2


def test_the_sequences_of_the_whole_chains_are_used_where_the_data_set_has_them(data: Path) -> None:
    chains = {f"lysozyme-{i}": [FAMILIES["lysozyme"]] for i in range(4)}
    chains |= {"ubiquitin-0": [FAMILIES["ubiquitin"], FAMILIES["lysozyme"]]}  # two chains line the site
    # The myoglobins, without sequences of their chains, are 64 % identical in their pockets.
    (data / "sequences.json").write_text(json.dumps(chains))
    assert split_dataset(data, "sequence", identity=0.7, fractions=(0.4, 0.3, 0.3)).groups == 1 + 2 + 2
    parts = read_splits(data)
    (data.parent / "parts.json").write_text(json.dumps({"train": ["lysozyme-0"], "test": ["ubiquitin-0"]}))
    report = split_dataset(data, "file", file=data.parent / "parts.json")
    assert report.max_identity == {"train/test": 1.0}
    assert any({"lysozyme-0", "ubiquitin-0"} <= set(ids) for ids in parts.values())


def test_scaffolds_stay_together(data: Path) -> None:
    report = split_dataset(data, "scaffold", fractions=(0.5, 0.25, 0.25))
    assert set(report.shared_scaffolds.values()) == {0}
    assert sum(report.counts.values()) == 12
    phenyl = {"lysozyme-2", "lysozyme-3", "myoglobin-1", "free-0"}
    assert [phenyl & set(ids) for ids in read_splits(data).values()].count(phenyl) == 1


def test_the_report_counts_what_leaks_through_a_random_split(data: Path) -> None:
    parts = {"train": [f"lysozyme-{i}" for i in range(3)], "validation": ["lysozyme-3"], "test": ["ubiquitin-0"]}
    file = data.parent / "parts.json"
    file.write_text(json.dumps(parts))
    report = split_dataset(data, "file", file=file)
    assert read_splits(data) == parts
    assert report.pairs_above == {"train/validation": 3, "train/test": 0, "validation/test": 0}
    assert 0.5 < report.max_identity["train/validation"] < 0.8
    assert report.shared_scaffolds == {"train/validation": 1, "train/test": 0, "validation/test": 0}
    assert report.shared_ligands == {"train/validation": 0, "train/test": 0, "validation/test": 0}
    assert report.unassigned == 7
    assert json.loads((data / "leakage.json").read_text())["pairs_above"] == report.pairs_above
    assert "3 pairs at 0.30 or above" in "\n".join(report.lines())
    again = split_dataset(data, "file", file=data / "splits.json")
    assert again.pairs_above == report.pairs_above
    assert again.counts == report.counts


def test_equal_pockets_and_equal_ligands_in_two_splits_are_counted(tmp_path: Path) -> None:
    records = [record(f"r{i}", "OC(=O)c1ccccc1", FAMILIES["lysozyme"]) for i in range(3)]
    records.append(record("r3", "[O-]C(=O)c1ccccc1", FAMILIES["lysozyme"]))
    write_shards(tmp_path / "d", "complexes", records)
    write_manifest(tmp_path / "d", {"train": ["r0", "r1"], "test": ["r2", "r3"]}, [])
    report = split_dataset(tmp_path / "d", "file", file=tmp_path / "d" / "splits.json")
    assert report.max_identity == {"train/test": 1.0}
    assert report.pairs_above == {"train/test": 4}
    assert report.shared_ligands == {"train/test": 1}


@pytest.mark.parametrize("by", ["sequence", "scaffold", "random"])
def test_splits_are_complete_disjoint_and_fixed_by_the_seed(data: Path, by: str) -> None:
    ids = {id for part in read_splits(data).values() for id in part}
    split_dataset(data, by, seed=3)  # type: ignore[arg-type]
    first = read_splits(data)
    assert sum(map(len, first.values())) == len(ids)
    assert {id for part in first.values() for id in part} == ids
    split_dataset(data, by, seed=3)  # type: ignore[arg-type]
    assert read_splits(data) == first


def test_another_seed_is_another_random_split_and_the_manifest_follows(data: Path) -> None:
    seen = set()
    for seed in range(4):
        split_dataset(data, "random", seed=seed, fractions=(0.5, 0.25, 0.25))
        seen.add(tuple(read_splits(data)["test"]))
        counts = Manifest.load(data).counts
        assert counts["complexes/train"] + counts["ligands/train"] == len(read_splits(data)["train"]) == 6
    assert len(seen) > 1
    assert len(ComplexDataset(data, "train")) == counts["complexes/train"]


def test_a_split_without_a_share_stays_empty() -> None:
    items = [Item(f"r{i}", (), "", "", has_pocket=True, cluster=-1) for i in range(10)]
    splits = assign(items, [0, 0, 0, 1, 1, 2, 3, 4, 5, 6], (0.8, 0.2, 0.0), seed=1)
    assert [len(ids) for ids in splits.values()] == [8, 2, 0]
    assert {"r0", "r1", "r2"} <= set(splits["train"])


def test_complexes_and_ligands_each_get_their_share() -> None:
    items = [Item(f"r{i}", (), "", "", has_pocket=i < 10, cluster=-1) for i in range(110)]
    splits = assign(items, [0] * 3 + list(range(1, 108)), (0.8, 0.1, 0.1), seed=1)
    known = {item.id: item for item in items}
    assert [sum(known[id].has_pocket for id in ids) for ids in splits.values()] == [8, 1, 1]
    assert [len(ids) for ids in splits.values()] == [88, 11, 11]


def test_stereoisomers_and_protonation_states_stay_together_in_a_scaffold_split(tmp_path: Path) -> None:
    forms = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C[C@H]([NH3+])C(=O)[O-]", "CCCCCO", "CCCCCN", "CCCCCCl"]
    records = [record(f"r{i}", smiles, None) for i, smiles in enumerate(forms)]
    write_shards(tmp_path / "d", "ligands", records)
    write_manifest(tmp_path / "d", {}, [])
    report = split_dataset(tmp_path / "d", "scaffold", fractions=(0.4, 0.3, 0.3))
    assert set(report.shared_ligands.values()) == {0}
    assert report.groups == 4


def test_held_out_groups_are_whole_and_near_the_share() -> None:
    groups = [f"g{i // 4}" for i in range(400)]
    held = hold_out_groups(groups, 0.05, seed=0)
    assert sum(held) == 20
    assert not {g for g, out in zip(groups, held, strict=True) if out} & {
        g for g, out in zip(groups, held, strict=True) if not out
    }
    assert hold_out_groups(["a", "a", "a", "b", "b"], 0.01, seed=0) == [False] * 3 + [True] * 2
    assert hold_out_groups(["a", "a"], 0.5, seed=0) == [False, False]


def test_mmseqs_is_used_where_it_is_on_the_path(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mmseqs"
    program.write_text(
        "#!/bin/sh\n"
        'test "$1" = easy-search || exit 3\n'
        'test "$(grep -c ">" "$2")" = 9 || exit 4\n'
        'printf "0\\t0\\t60\\t60\\t60\\n0\\t4\\t30\\t60\\t60\\n4\\t0\\t31\\t60\\t50\\n" > "$4"\n'
    )
    os.chmod(program, 0o755)
    monkeypatch.setattr("ligandsmith.data.homology.shutil.which", lambda _: str(program))
    report = split_dataset(data, "sequence", fractions=(1, 0, 0))
    assert report.aligner == "mmseqs2"
    assert report.groups == 8 + 2
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 1\n")
    with pytest.raises(LigandsmithError, match="out of memory"):
        split_dataset(data, "sequence")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "colour"}, "no split by"),
        ({"by": "sequence", "identity": 30}, "identity"),
        ({"by": "random", "fractions": (0.5, 0.1, 0.1)}, "sum 1"),
        ({"by": "file"}, "needs a file"),
        ({"by": "random", "file": Path("x.csv")}, "needs a file"),
    ],
)
def test_wrong_options_are_refused(data: Path, options: dict[str, object], message: str) -> None:
    before = read_splits(data)
    with pytest.raises(LigandsmithError, match=message):
        split_dataset(data, **options)  # type: ignore[arg-type]
    assert read_splits(data) == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "id,part\nfree-0,train\n", "no rows under the columns"),
        ("a.csv", "id,split\nfree-0,valid\n", "no split 'valid'"),
        ("a.csv", "id,split\nnobody,train\n", "nobody is not in the data set"),
        ("a.csv", "id,split\nfree-0,train\nfree-0,test\n", "free-0 is named twice"),
        ("a.json", "[1", "not a JSON object"),
        ("a.json", None, "cannot be read"),
    ],
)
def test_a_wrong_split_file_is_one_clear_line(data: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (data.parent / name).write_text(text)
    with pytest.raises(LigandsmithError, match=message) as caught:
        split_dataset(data, "file", file=data.parent / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_gives_the_splits(data: Path) -> None:
    (data.parent / "parts.csv").write_text("id,split\nfree-1,validation\nlysozyme-0,train\n")
    report = split_dataset(data, "file", file=data.parent / "parts.csv")
    assert read_splits(data) == {"train": ["lysozyme-0"], "validation": ["free-1"], "test": []}
    assert report.counts == {"train": 1, "validation": 1, "test": 0}


def test_a_split_by_sequence_without_an_aligner_says_what_to_install(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "parasail", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LigandsmithError, match=r"parasail is not installed .*mmseqs2"):
        split_dataset(data, "sequence", fractions=(0.4, 0.3, 0.3))
