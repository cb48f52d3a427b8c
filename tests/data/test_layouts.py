"""Published data sets by name: files in exactly the layout that each has after unpacking give its records, splits and
metadata; what is missing or damaged is a rejection."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import gemmi
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from ligandsmith.cli.data import LAYOUT_NAMES
from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.data.dataset import ComplexDataset, Manifest, Split, read_splits
from ligandsmith.data.layouts.affinity import p_affinity
from ligandsmith.data.layouts.registry import LAYOUTS, pairs_of
from ligandsmith.data.preparation import PrepareOptions, prepare
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import csv_content
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import read_complex
from tiny_runs import ROOT

EXAMPLES = ROOT / "examples" / "complexes"
NAMES = ("3ln1", "7off", "7sza")


def protein_text(name: str) -> str:
    return gzip.decompress((EXAMPLES / name / "protein.pdb.gz").read_bytes()).decode()


def ligand(name: str) -> Chem.Mol:
    return Chem.MolFromMolFile(str(EXAMPLES / name / "ligand.sdf"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pdbbind(folder: Path) -> set[str]:
    """The release of 2020: refined set and others, an index of each, and CASF's list of the core set."""
    parts = {"3ln1": "refined-set", "7off": "v2020-other-PL", "7sza": "P-L/2011-2019"}
    for name, part in parts.items():
        place = folder / part / name
        write(place / f"{name}_protein.pdb", protein_text(name))
        write(place / f"{name}_pocket.pdb", "HEADER    a pocket that is not read\n")
        shutil.copy(EXAMPLES / name / "ligand.sdf", place / f"{name}_ligand.sdf")
        write(place / f"{name}_ligand.mol2", "not read\n")
    write(folder / "refined-set" / "1abc" / "1abc_protein.pdb", protein_text("7sza"))
    write(folder / "refined-set" / "readme" / "README.txt", "no complex")
    head = (
        "# ==========\n# List of the protein-ligand complexes in the PDBbind refined set v.2020\n"
        "# PDB code, resolution, release year, -logKd/Ki, Kd/Ki, reference, ligand name\n# ==========\n"
    )
    write(
        folder / "refined-set" / "index" / "INDEX_refined_data.2020",
        f"{head}3ln1  2.40  2010   9.05  Ki=0.9nM      // 3ln1.pdf (CEL)\n",
    )
    write(
        folder / "index" / "INDEX_general_PL.2020R1.lst",
        "# PDB code, resolution, release year, binding data, reference, ligand name\n"
        "7off  NMR   2021  IC50~3.2uM   // 7off.pdf (VCB) incomplete ligand structure\n",
    )
    write(
        folder / "CASF-2016" / "power_scoring" / "CoreSet.dat",
        "#code  resl  year  logKa  Ka  target\n7sza 2.0 2022 7.0\n",
    )
    return {"1abc"}


def plinder(folder: Path) -> set[str]:
    """Systems unpacked, the index and the split; one system has an ion besides its ligand, one was removed."""
    rows, systems = [], {name: f"{name}__1__1.A__1.C" for name in NAMES}
    for name, system in systems.items():
        place = folder / "systems" / system
        structure = gemmi.read_pdb_string(protein_text(name))
        for chain in structure[0]:
            chain.name = "1.A"
        write(place / "receptor.cif", structure.make_mmcif_document().as_string())
        write(place / "receptor.pdb", "not read\n")
        write(place / "chain_mapping.json", "{}")
        (place / "ligand_files").mkdir()
        shutil.copy(EXAMPLES / name / "ligand.sdf", place / "ligand_files" / "1.C.sdf")
        write(place / "ligand_files" / "1.D.sdf", "ion\n")
        common = {"system_id": system, "entry_resolution": 1.9, "entry_release_date": "2021-05-06"}
        rows.append(common | {"ligand_instance_chain": "1.C", "ligand_is_ion": False, "ligand_is_artifact": False,
                              "ligand_ccd_code": "LIG", "ligand_binding_affinity": 7.25})  # fmt: skip
        rows.append(common | {"ligand_instance_chain": "1.D", "ligand_is_ion": True, "ligand_is_artifact": False,
                              "ligand_ccd_code": "ZN", "ligand_binding_affinity": None})  # fmt: skip
    for lone in ("9xyz__1__1.A__1.B", "9zzz__1__1.A__1.B"):
        write(folder / "systems" / lone / "receptor.cif", "data_x\n")
    (folder / "index").mkdir()
    (folder / "splits").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "index" / "annotation_table.parquet")
    splits = dict(zip([*systems.values(), "9xyz__1__1.A__1.B"], ("train", "val", "test", "train"), strict=True))
    splits["9zzz__1__1.A__1.B"] = "removed"
    table = [{"system_id": system, "split": split} for system, split in splits.items()]
    pq.write_table(pa.Table.from_pylist(table), folder / "splits" / "split.parquet")
    return {"9xyz__1__1.A__1.B"}


def bindingmoad(folder: Path) -> set[str]:
    """every.csv, and assemblies with the ligands inside; one ligand is in the second assembly, one in none."""
    rows = ["3.4.21.7,,,,,,,,,", ",Family. Representative Entry is ,3LN1,,,,,,,"]
    for number, name in enumerate(NAMES):
        lines = [x for x in protein_text(name).splitlines() if x.startswith("ATOM")]
        chain = lines[0][21]
        block = Chem.MolToPDBBlock(ligand(name)).splitlines()
        hets = [f"{x[:17]}LIG {chain} 900{x[26:]}" for x in block if x.startswith("HETATM")]
        place = folder / "BindingMOAD_2020" / f"{name}.bio{2 if name == '7off' else 1}"
        write(place, "\n".join([*lines, *hets, "END", ""]))
        if name == "7off":
            write(folder / "BindingMOAD_2020" / f"{name}.bio1", "\n".join([*lines, "END", ""]))
        rows += [f",,{name.upper()},,,,,,,"] if number else []
        smiles = Chem.MolToSmiles(ligand(name))
        rows += [f",,,LIG:{chain}:900,valid,Ki,=,10,nM,{smiles},", f",,,ZN:{chain}:901,invalid,,,,,[Zn+2],"]
    rows += [",,9ABC,,,,,,,", ",,,LIG:A:1,valid,Kd,~,11,uM,CCO,", ",,3LN1,,,,,,,", ",,,NAG NAG:A:5,valid,,,,,CCO,"]
    write(folder / "every.csv", "\n".join(rows) + "\n")
    write(folder / "moad_train.txt", "3LN1-bio1_LIG:C:900")
    write(folder / "moad_test.txt", "7SZA-bio1_LIG:A:900,7OFF-bio1_LIG:A:900")
    return {"9abc_LIG:A:1", "3ln1_NAG-NAG:A:5"}


def crossdocked(folder: Path) -> set[str]:
    """A pocket each; the pose is the second record of a docking run whose first is not near the crystal's."""
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for name in NAMES:
        pocket, receptor = folder / f"POCKET_{name.upper()}_1_300_0", f"{name}_A_rec"
        write(pocket / f"{receptor}.pdb", protein_text(name))
        pose = Chem.MolToMolBlock(ligand(name))
        poses = f"{Chem.MolToMolBlock(Chem.MolFromSmiles('CCCCCC'))}$$$$\n{pose}$$$$\n"
        docked = f"{receptor}_{name}_lig_lig_tt_docked"
        (pocket / f"{docked}.sdf.gz").write_bytes(gzip.compress(poses.encode()))
        where = f"{pocket.name}/{receptor}_0.gninatypes {pocket.name}/{docked}"
        split = "test" if name == "7sza" else "train"
        lines[split] += [f"0 -6.5 4.21 {where}_0.gninatypes #-5.1", f"1 6.5 0.42 {where}_1.gninatypes #-9.3"]
    lines["train"] += ["1 0.0 0.5 GONE_1_2_0/x_rec_0.gninatypes GONE_1_2_0/x_rec_x_lig_tt_min_0.gninatypes #-1", "1 2"]
    for split, text in lines.items():
        write(folder / "types" / f"it2_tt_v1.3_0_{split}0.types", "\n".join(text) + "\n")
    return {"GONE_1_2_0/x_rec_x_lig_tt_min_0", f"{folder / 'types' / 'it2_tt_v1.3_0_train0.types'}, line 6"}


def folders(folder: Path) -> set[str]:
    for name in NAMES:
        shutil.copytree(EXAMPLES / name, folder / name)
    (folder / "empty").mkdir()
    return {"empty"}


BUILDERS: dict[str, Callable[[Path], set[str]]] = {
    "folders": folders, "pdbbind": pdbbind, "plinder": plinder, "bindingmoad": bindingmoad, "crossdocked": crossdocked,
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, set[str]]]:
    """A source of each layout, and the ids that must be refused."""
    sources = {}
    for name, build in BUILDERS.items():
        folder = tmp_path_factory.mktemp(name)
        sources[name] = (folder, build(folder))
    return sources


def test_the_flag_names_the_layouts_that_there_are() -> None:
    assert tuple(LAYOUTS) == LAYOUT_NAMES == tuple(BUILDERS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_records_of_its_files(
    layout: str, built: dict[str, tuple[Path, set[str]]], tmp_path: Path
) -> None:
    source, refused = built[layout]
    manifest = prepare(source, tmp_path / "data", PrepareOptions(layout=layout))
    assert {r.id for r in manifest.rejections} == refused
    assert manifest.counts["complexes"] == 3
    splits = read_splits(tmp_path / "data")
    found = {}
    for split in Split:
        if splits[split]:
            data = ComplexDataset(tmp_path / "data", split, allow_test=True)
            found |= {id: data[i] for i, id in enumerate(data.ids)}
    assert len(found) == 3
    for name in NAMES:
        (record,) = (record for id, record in found.items() if name in id)
        expected = read_complex(EXAMPLES / name / "protein.pdb.gz", EXAMPLES / name / "ligand.sdf", name)
        assert isinstance(expected, Complex)
        assert isinstance(record, Complex)
        assert record.pocket is not None
        assert expected.pocket is not None
        assert record.smiles == expected.smiles
        assert record.pocket.num_atoms == expected.pocket.num_atoms
        assert record.source == ("" if layout == "folders" else layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_again_and_refuses_what_is_not_its_own(
    layout: str, built: dict[str, tuple[Path, set[str]]], tmp_path: Path
) -> None:
    source, _ = built[layout]
    assert pairs_of(source, layout) == pairs_of(source, layout)
    ids = [pair.id for pair in pairs_of(source, layout)[0]]
    assert len(set(ids)) == len(ids)
    write(tmp_path / "notes" / "readme.txt", "nothing\n")
    (tmp_path / "nothing").mkdir()
    for other in (tmp_path / "nothing", tmp_path / "absent", write(tmp_path / "file.txt", "x")):
        with pytest.raises(LigandsmithError, match=str(other)):
            pairs_of(other, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_structure_is_a_rejection(
    layout: str, built: dict[str, tuple[Path, set[str]]], tmp_path: Path
) -> None:
    source = shutil.copytree(built[layout][0], tmp_path / "copy")
    path = next(pair.protein for pair in pairs_of(source, layout)[0] if "7off" in pair.id)
    path.write_text("\n".join(x for x in path.read_text(errors="ignore").splitlines() if x.startswith("HETATM")) + "\n")
    manifest = prepare(source, tmp_path / "data", PrepareOptions(layout=layout))
    (bad,) = (r for r in manifest.rejections if "7off" in r.id)
    assert "\n" not in bad.detail
    assert manifest.counts["complexes"] == 2


SPLITS = {
    "pdbbind": {"3ln1": "train", "7off": "train", "7sza": "test"},
    "plinder": {"3ln1": "train", "7off": "validation", "7sza": "test"},
    "bindingmoad": {"3ln1": "train", "7off": "test", "7sza": "test"},
}


@pytest.mark.parametrize("layout", [*SPLITS, "crossdocked"])
def test_the_split_of_the_layout_is_used_and_a_file_wins_over_it(
    layout: str, built: dict[str, tuple[Path, set[str]]], tmp_path: Path
) -> None:
    source, _ = built[layout]
    pairs, _ = pairs_of(source, layout)
    split_of = {name: pair.split for pair in pairs for name in NAMES if name in pair.id}
    if layout == "crossdocked":  # one of the two training pockets is held out
        assert split_of["7sza"] == "test"
        assert sorted(split_of[name] for name in ("3ln1", "7off")) == ["train", "validation"]
    else:
        assert split_of == SPLITS[layout]
    rows = "".join(f"{pair.id},train\n" for pair in pairs)
    manifest = prepare(
        source,
        tmp_path / "data",
        PrepareOptions(layout=layout, split_file=write(tmp_path / "s.csv", f"id,split\n{rows}")),
    )
    assert manifest.counts["complexes/train"] == 3


def metadata(layout: str, built: dict[str, tuple[Path, set[str]]], out: Path) -> dict[str, dict[str, str]]:
    prepare(built[layout][0], out, PrepareOptions(layout=layout))
    rows = [row for _, row in csv_content(out / "metadata.csv")[1]]
    return {name: row for row in rows for name in NAMES if name in row["id"]}


def test_metadata_of_pdbbind(built: dict[str, tuple[Path, set[str]]], tmp_path: Path) -> None:
    rows = metadata("pdbbind", built, tmp_path / "data")
    assert rows["3ln1"] == {
        "id": "3ln1", "affinity": "9.05", "measure": "Ki=0.9nM", "resolution": "2.40", "year": "2010", "ligand": "CEL",
    }  # fmt: skip
    assert (rows["7off"]["affinity"], rows["7off"]["measure"], rows["7off"]["resolution"]) == (
        "5.49",
        "IC50~3.2uM",
        "NMR",
    )
    assert rows["7sza"]["affinity"] == ""


def test_metadata_of_the_others(built: dict[str, tuple[Path, set[str]]], tmp_path: Path) -> None:
    row = metadata("plinder", built, tmp_path / "a")["7off"]
    assert (row["affinity"], row["resolution"], row["year"], row["ligand"]) == ("7.25", "1.9", "2021", "LIG")
    row = metadata("bindingmoad", built, tmp_path / "b")["7off"]
    assert (row["affinity"], row["measure"], row["class"]) == ("8.00", "Ki=10nM", "3.4.21.7")
    row = metadata("crossdocked", built, tmp_path / "c")["7off"]
    assert (row["affinity"], row["rmsd"], row["vina"]) == ("6.5", "0.42", "-9.3")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(10, "mM", "2.00"), (1, "nM", "9.00"), (1e6, "M^-1", "6.00"), (0, "nM", ""), (5, "percent", "")],
)
def test_affinities_are_on_one_scale(value: float, unit: str, expected: str) -> None:
    assert p_affinity(value, unit) == expected


def test_plinder_without_its_tables_takes_every_ligand_for_training(
    built: dict[str, tuple[Path, set[str]]], tmp_path: Path
) -> None:
    source = shutil.copytree(built["plinder"][0], tmp_path / "copy")
    shutil.rmtree(source / "index")
    shutil.rmtree(source / "splits")
    pairs, _ = pairs_of(source, "plinder")
    assert len(pairs) == 6
    assert {pair.split for pair in pairs} == {""}
    (source / "index").mkdir()
    write(source / "index" / "annotation_table.parquet", "rubbish")
    with pytest.raises(LigandsmithError, match=r"annotation_table.parquet: not a readable Parquet file"):
        pairs_of(source, "plinder")


def test_of_several_types_files_one_is_named(built: dict[str, tuple[Path, set[str]]], tmp_path: Path) -> None:
    source = shutil.copytree(built["crossdocked"][0], tmp_path / "copy")
    one = source / "types" / "it2_tt_v1.3_0_train0.types"
    shutil.copy(one, source / "types" / "it2_tt_v1.3_0_train1.types")
    with pytest.raises(LigandsmithError, match=r"3 files .* one split can be read; name one, as .*test0\.types"):
        pairs_of(source, "crossdocked")
    assert [p.id for p in pairs_of(one, "crossdocked")[0]] == [
        p.id for p in pairs_of(built["crossdocked"][0], "crossdocked")[0]
    ]


def test_the_command(
    built: dict[str, tuple[Path, set[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", str(built["plinder"][0]), "--layout", "plinder", "--out", str(tmp_path / "data")]
    assert main(words) == OK
    said = capsys.readouterr().out
    assert "3 complexes written" in said
    assert "1 refused: missing file" in said
    assert "splits: test 1, train 1, validation 1" in said
    assert Manifest.load(tmp_path / "data").rejections[0] == Rejection(
        "9xyz__1__1.A__1.B", "missing file", f"{built['plinder'][0]}/systems/9xyz__1__1.A__1.B: no ligand_files/*.sdf"
    )
    assert json.loads((tmp_path / "data" / "splits.json").read_text())["test"] == ["7sza__1__1.A__1.C"]
    assert main(["prepare", str(EXAMPLES), "--layout", "bindingmoad", "--out", str(tmp_path / "b")]) == FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"error: {EXAMPLES}: no every.csv; give the folder of Binding MOAD that holds it"]
