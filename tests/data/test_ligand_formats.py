"""Ligands in files without bond orders: orders from a SMILES or a sequence, else refused by name, in every consumer."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.poses import read_poses
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.cli.main import main
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.evaluation.sources import find_sources, load_reference
from ligandsmith.generation.batch.manifest import read_manifest
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import mol_from_ligand, read_ligand, read_ligand_file, ring_without_orders
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.protein import UnreadableFile

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
SITE = COMPLEXES / "7off"
SDF = (SITE / "ligand.sdf").read_text()
NAMES = ("3ln1", "7off", "7sza")


def crystal(name: str = "7off") -> Chem.Mol:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


def pdb_of(mol: Chem.Mol, connect: bool = False) -> str:
    """The HETATM records as the Protein Data Bank has them: no bond orders, and bonds only with `connect`."""
    lines = Chem.MolToPDBBlock(mol, flavor=2).splitlines()
    return "\n".join(line for line in lines if line.startswith("HETATM") or connect) + "\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def embedded(smiles: str, seed: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    return Chem.RemoveHs(mol)


@pytest.mark.parametrize("connect", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_pdb_ligand_with_its_smiles_is_the_ligand_of_the_sdf(name: str, connect: bool, tmp_path: Path) -> None:
    mol = crystal(name)
    smiles = Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))  # in another order of atoms
    read = read_ligand(written(tmp_path / "LIG.pdb", pdb_of(mol, connect)), smiles)
    assert Chem.MolToSmiles(read) == Chem.MolToSmiles(mol)
    assert np.allclose(read.GetConformer().GetPositions(), mol.GetConformer().GetPositions(), atol=1e-3)
    assert [a.GetSymbol() for a in read.GetAtoms()] == [a.GetSymbol() for a in mol.GetAtoms()]
    different = sum(  # bonds of symmetric groups may be exchanged: those of celecoxib's benzene rings
        read.GetBondBetweenAtoms(b.GetBeginAtomIdx(), b.GetEndAtomIdx()).GetBondType() != b.GetBondType()
        for b in mol.GetBonds()
    )
    assert different == 0


GROUPS = (
    "OC(=O)c1ccccc1", "[O-]C(=O)C1CC1CC", "NC(=[NH2+])NCc1ccccc1", "O=c1cccc[nH]1", "O=[N+]([O-])c1ccccc1C",
    "NS(=O)(=O)c1ccc(Cl)cc1", "OP(=O)([O-])OCc1ccccc1", "c1c[nH]c(C)n1", "C[N+](C)(C)CCO", "N#CCCBr", "OB(O)c1ccccc1",
    "[N-]=[N+]=NCc1ccccc1", "C/C=C/CCO", "C/C=C\\CCO", "CC(=O)N[C@H](C)C(F)(F)F",
)  # fmt: skip


@pytest.mark.parametrize("smiles", GROUPS)
def test_groups_keep_charges_hydrogens_and_stereo(smiles: str, tmp_path: Path) -> None:
    mol = embedded(smiles)
    path = written(tmp_path / "LIG.pdb", pdb_of(mol))
    Chem.AssignStereochemistryFrom3D(mol)
    assert Chem.MolToSmiles(read_ligand(path, smiles)) == Chem.MolToSmiles(mol)


def test_where_a_smiles_fits_twice_the_shorter_bonds_are_the_double_ones(tmp_path: Path) -> None:
    for smiles in ("CC1CCC=CC1", "OC(=O)CCl"):  # the double bond is on one side of the ring, or of the acid
        mol = embedded(smiles)
        order = list(range(mol.GetNumAtoms()))[::-1]
        for turned in (mol, Chem.RenumberAtoms(mol, order)):
            read = read_ligand(written(tmp_path / "LIG.pdb", pdb_of(turned)), smiles)
            double = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in turned.GetBonds()
                      if b.GetBondType() == Chem.BondType.DOUBLE]  # fmt: skip
            assert [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in read.GetBonds()
                    if b.GetBondType() == Chem.BondType.DOUBLE] == double  # fmt: skip


def test_stereo_is_that_of_the_coordinates_and_a_difference_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "LIG.pdb", pdb_of(embedded("C[C@H](N)C(=O)OC")))
    assert "C@H" in Chem.MolToSmiles(read_ligand(path, "CC(N)C(=O)OC"))
    assert not caplog.messages
    read = read_ligand(path, "C[C@@H](N)C(=O)OC")
    assert Chem.MolToSmiles(read) == Chem.CanonSmiles("C[C@H](N)C(=O)OC")
    assert "another stereoisomer" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("", r"no bond orders of UNL; give its SMILES \(--smiles, .*or give an SDF"),
        ("c1ccccc1", "23 heavy atoms, but the SMILES has 6"),
        ("not a smiles", "'not a smiles' is not a SMILES"),
        ("C" * 23, "the atoms are not bonded as in the SMILES"),
    ],
)
def test_a_pdb_ligand_that_fits_no_smiles_is_refused(smiles: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "LIG.pdb", pdb_of(crystal("7off")))
    count = crystal("7off").GetNumAtoms()
    with pytest.raises(UnreadableFile, match=message.replace("23", str(count))):
        read_ligand(path, smiles.replace("C" * 23, "C" * count))


def test_another_isomer_of_many_equal_branches_is_refused_at_once(tmp_path: Path) -> None:
    branches = "C(C(C)(C)C)(C(C)(C)C)"
    mol = embedded(2 * branches)
    path = written(tmp_path / "LIG.pdb", pdb_of(mol))
    assert Chem.MolToSmiles(read_ligand(path, 2 * branches)) == Chem.MolToSmiles(mol)
    mol = Chem.MolFromSmiles(7 * branches)
    mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    for atom in range(mol.GetNumAtoms()):
        mol.GetConformer().SetAtomPosition(atom, (1.5 * atom, float(atom % 2), 0.1))
    (tmp_path / "x.sdf").write_text(Chem.MolToMolBlock(mol))
    assert read_ligand(tmp_path / "x.sdf", Chem.MolToSmiles(mol)).GetNumAtoms() == 63
    with pytest.raises(UnreadableFile, match="not bonded as in the SMILES"):
        read_ligand(tmp_path / "x.sdf", 6 * branches + "C(C(C)(C)C)C(CC)C")


def test_salts_hydrogens_waters_and_a_smiles_beside_the_file(tmp_path: Path) -> None:
    mol = Chem.AddHs(crystal(), addCoords=True)
    water = "HETATM  900  O   HOH A 900      90.000  90.000  90.000  1.00 20.00           O\n"
    path = written(tmp_path / "LIG.pdb", pdb_of(mol) + water)
    (tmp_path / "LIG.smi").write_text(f"{Chem.MolToSmiles(crystal())}.Cl the ligand\n")
    assert Chem.MolToSmiles(read_ligand(path)) == Chem.MolToSmiles(crystal())
    packed = tmp_path / "LIG.pdb.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert Chem.MolToSmiles(read_ligand(packed)) == Chem.MolToSmiles(crystal())


@pytest.mark.parametrize("names", ["repeated", "left", "elements"])
def test_atom_names_as_docking_programs_write_them(names: str, tmp_path: Path) -> None:
    mol = embedded("O=C(Nc1ccccc1Cl)C1CCN(C)CC1Br")
    Chem.AssignStereochemistryFrom3D(mol)
    lines = pdb_of(mol).splitlines()
    for i, (line, atom) in enumerate(zip(lines, mol.GetAtoms(), strict=True)):
        symbol = atom.GetSymbol().upper()
        name = {"repeated": symbol, "left": f"{symbol}{'ABDEHGFM'[i % 8]}", "elements": f"{symbol}{i}"}[names]
        end = f"{'':10}{symbol:>2}" if names == "repeated" else ""
        lines[i] = line[:12] + name.ljust(4) + line[16:66] + end
    path = written(tmp_path / "LIG.pdb", "\n".join(lines) + "\n")
    assert Chem.MolToSmiles(read_ligand(path, Chem.MolToSmiles(mol))) == Chem.MolToSmiles(mol)


def test_a_peptide_has_the_bond_orders_of_its_sequence(tmp_path: Path) -> None:
    peptide = Chem.MolFromSequence("GFDR")
    rdDistGeom.EmbedMolecule(peptide, randomSeed=2)
    lines = [line.replace("HETATM", "ATOM  ") for line in Chem.MolToPDBBlock(peptide, flavor=2).splitlines()]
    read = read_ligand(written(tmp_path / "peptide.pdb", "\n".join(lines) + "\n"))
    assert Chem.MolToSmiles(read) == Chem.MolToSmiles(peptide)


def single_bonds(mol: Chem.Mol) -> Chem.Mol:
    changed = Chem.RWMol(mol)
    Chem.Kekulize(changed, clearAromaticFlags=True)
    for bond in changed.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
    for atom in changed.GetAtoms():
        atom.SetFormalCharge(0)
    changed.UpdatePropertyCache(strict=False)
    return changed.GetMol()


def no_bonds(mol: Chem.Mol) -> Chem.Mol:
    changed = Chem.RWMol(mol)
    for i, j in [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]:
        changed.RemoveBond(i, j)
    return changed.GetMol()


@pytest.mark.parametrize(
    ("change", "message"), [(single_bonds, "all bonds are single, but the ring of atom"), (no_bonds, "lists no bond")]
)
def test_a_reference_that_lost_its_bond_orders_is_refused_unless_a_smiles_gives_them(
    change: Callable[[Chem.Mol], Chem.Mol], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "ligand.sdf", Chem.MolToMolBlock(change(crystal()), kekulize=False))
    with pytest.raises(UnreadableFile, match=message):
        read_ligand(path)
    for flags in (
        ["generate", "--num", "1"],
        ["relax", str(SITE / "ligand.sdf")],
        ["evaluate", str(SITE / "ligand.sdf")],
    ):
        command = [
            *flags,
            "--protein",
            str(SITE / "protein.pdb.gz"),
            "--ligand",
            str(path),
            "--out",
            str(tmp_path / "o"),
        ]
        assert main(command) != 0
    assert not (tmp_path / "o").exists()
    smiles = Chem.MolToSmiles(crystal())
    assert Chem.MolToSmiles(load_reference(path, smiles)) == smiles


def test_one_ring_without_orders_is_enough_and_flat_saturated_rings_of_drugs_are_none(tmp_path: Path) -> None:
    half = Chem.RWMol(crystal("3ln1"))
    Chem.Kekulize(half, clearAromaticFlags=True)
    for atom in Chem.GetSymmSSSR(half)[0]:
        for bond in half.GetAtomWithIdx(atom).GetBonds():
            bond.SetBondType(Chem.BondType.SINGLE)
    rings = [len(ring) for ring in Chem.GetSymmSSSR(half)]
    path = written(tmp_path / "half.sdf", Chem.MolToMolBlock(half, kekulize=False))
    if rings[0] == 6:
        with pytest.raises(UnreadableFile, match="all bonds are single"):
            read_ligand(path)
    for smiles in ("O=C1NC(=O)NC(=O)N1", "O=C1CC(=O)NC(=O)N1", "C1CCCCC1"):
        mol = embedded(smiles)
        assert ring_without_orders(mol, mol.GetConformer().GetPositions()) == ""


def test_no_ring_of_the_shipped_crystal_complexes_counts_as_one_without_orders() -> None:
    data = ComplexDataset(None, "validation")
    mols = [mol_from_ligand(data[i].ligand) for i in range(len(data))]
    assert [ring_without_orders(mol, mol.GetConformer().GetPositions()) for mol in mols] == [""] * len(mols)


def test_prepare_takes_pdb_ligands_with_a_column_smiles_or_a_file_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "b").mkdir()
    smiles = Chem.MolToSmiles(crystal())
    for folder in ("a", "b"):
        (source / folder / "protein.pdb.gz").write_bytes((SITE / "protein.pdb.gz").read_bytes())
        (source / folder / "x_ligand.pdb").write_text(pdb_of(crystal()))
    (source / "a/x_ligand.smi").write_text(smiles + "\n")
    assert main(["prepare", str(source), "--out", str(tmp_path / "data")]) == 0
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert [(r["id"], r["reason"]) for r in manifest["rejections"]] == [("b", "no bond orders")]
    assert ComplexDataset(tmp_path / "data", "train")[0].smiles == smiles
    table = source / "pairs.csv"
    table.write_text(f"id,protein,ligand,smiles\nb,b/protein.pdb.gz,b/x_ligand.pdb,{smiles}\n")
    assert main(["prepare", str(table), "--out", str(tmp_path / "more")]) == 0
    assert ComplexDataset(tmp_path / "more", "train")[0].smiles == smiles


def test_the_site_of_a_pdb_ligand_is_that_of_the_sdf_also_in_a_manifest(tmp_path: Path) -> None:
    smiles = Chem.MolToSmiles(crystal())
    path = written(tmp_path / "LIG.pdb", pdb_of(crystal()))
    protein = SITE / "protein.pdb.gz"
    expected, _ = read_pocket(protein, SITE / "ligand.sdf")
    table = written(tmp_path / "list.csv", f"pocket,protein,ligand,smiles\na,{protein},LIG.pdb,{smiles}\n")
    (row,) = read_manifest(table)
    for pocket, _ in (read_pocket(protein, path, smiles=smiles), row.read()):
        assert np.array_equal(pocket.x, expected.x)
        assert np.array_equal(pocket.kept, expected.kept)
    with pytest.raises(UnreadableFile, match="no bond orders"):
        read_pocket(protein, path)


def test_prepare_takes_a_ligand_of_the_protein_file_by_its_name_and_smiles(tmp_path: Path) -> None:
    smiles = Chem.MolToSmiles(crystal())
    ligand = pdb_of(crystal()).replace("UNL     1", "VCB L 712")
    assert "VCB L 712" in ligand
    protein = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode().replace("END\n", "")
    written(tmp_path / "holo.pdb", protein + ligand + "END\n")
    rows = [f"a,holo.pdb,VCB,{smiles}", f"b,holo.pdb,L:VCB:712,{smiles}", "c,holo.pdb,VCB,", f"d,holo.pdb,XYZ,{smiles}"]
    table = written(tmp_path / "list.csv", "\n".join(["id,protein,het,smiles", *rows]) + "\n")
    assert main(["prepare", str(table), "--out", str(tmp_path / "data")]) == 0
    data = ComplexDataset(tmp_path / "data", "train")
    assert [(data[i].id, data[i].smiles) for i in range(len(data))] == [("a", smiles), ("b", smiles)]
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    reasons = {record["id"]: record["reason"] for record in manifest["rejections"]}
    assert reasons == {"c": "no bond orders", "d": "no such ligand"}
    pocket, expected = data[0].pocket, read_complex(SITE / "protein.pdb.gz", SITE / "ligand.sdf", "x")
    assert isinstance(expected, Complex)
    assert pocket is not None
    assert expected.pocket is not None
    assert np.allclose(pocket.x, expected.pocket.x, atol=1e-3)


def test_a_complex_from_a_pdb_ligand_is_that_of_the_sdf(tmp_path: Path) -> None:
    path = written(tmp_path / "LIG.pdb", pdb_of(crystal()))
    protein = SITE / "protein.pdb.gz"
    found = read_complex(protein, path, "x", smiles=Chem.MolToSmiles(crystal()))
    expected = read_complex(protein, SITE / "ligand.sdf", "x")
    assert isinstance(found, Complex)
    assert isinstance(expected, Complex)
    for name in ("element", "charge", "aromatic", "num_h", "bond_type"):
        assert sorted(getattr(found.ligand, name)) == sorted(getattr(expected.ligand, name))
    assert isinstance(read_complex(protein, path, "x"), Rejection)


def test_poses_of_a_pdb_file_are_evaluated_with_the_smiles_as_those_of_an_sdf(tmp_path: Path) -> None:
    text = "".join(f"MODEL     {k}\n{pdb_of(crystal())}ENDMDL\n" for k in (1, 2))
    poses, reference = written(tmp_path / "poses.pdb", text), written(tmp_path / "LIG.pdb", pdb_of(crystal()))
    smiles = Chem.MolToSmiles(crystal())
    assert read_ligand_file(poses, smiles).num_records == 2
    common = ["--protein", str(SITE / "protein.pdb.gz"), "--protocol", "none"]
    pdb = [str(poses), "--ligand", str(reference), "--smiles", smiles, "--out", str(tmp_path / "pdb")]
    sdf = [str(SITE / "ligand.sdf"), "--ligand", str(SITE / "ligand.sdf"), "--out", str(tmp_path / "sdf")]
    assert main(["evaluate", *pdb, *common]) == 0
    assert main(["evaluate", *sdf, *common]) == 0
    rows = [list(csv.DictReader((tmp_path / f / "per_molecule.csv").open())) for f in ("pdb", "sdf")]
    assert len(rows[0]) == 2
    for name in ("smiles", "qed", "sa", "logp", "clashes", "shape_similarity", "centroid_distance", "heavy_atoms"):
        assert rows[0][0][name] == rows[0][1][name] == rows[1][0][name]
    assert main(["evaluate", str(poses), *common]) != 0


def test_results_without_bond_orders_are_listed_as_failures(tmp_path: Path) -> None:
    path = tmp_path / "made.sdf"
    blocks = [Chem.MolToMolBlock(mol, kekulize=False) for mol in (crystal(), single_bonds(crystal()))]
    path.write_text("".join(f"{block}$$$$\n" for block in blocks))
    good, bad = read_poses(path)
    assert good.mol is not None
    assert bad.mol is None
    assert bad.reason.startswith("bond orders lost: all bonds are single")
    assert main(["evaluate", str(path), "--protocol", "none", "--out", str(tmp_path / "e")]) == 0
    rows = list(csv.DictReader((tmp_path / "e/per_molecule.csv").open()))
    assert [row["reason"] for row in rows] == ["", "bond orders lost"]


def test_a_folder_of_references_may_have_any_format_sdf_first(tmp_path: Path) -> None:
    made, references = tmp_path / "made", tmp_path / "references"
    made.mkdir()
    references.mkdir()
    for name in ("a", "b"):
        (made / f"{name}.sdf").write_text(SDF)
        (references / f"{name}.pdb").write_text(pdb_of(crystal()))
    (references / "a.sdf").write_text(SDF)
    found = [source.reference for source in find_sources(made, reference=references)]
    assert [path.name for path in found if path is not None] == ["a.sdf", "b.pdb"]


@pytest.mark.parametrize("command", ["generate", "evaluate", "relax"])
def test_pdbqt_is_refused_with_how_to_convert_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = written(tmp_path / "poses.pdbqt", "MODEL 1\n" + pdb_of(crystal()) + "ENDMDL\n")
    protein = ["--protein", str(SITE / "protein.pdb.gz"), "--out", str(tmp_path / "out")]
    assert main([command, *(["--ligand"] if command == "generate" else []), str(poses), *protein]) != 0
    error = capsys.readouterr().err
    assert "PDBQT has no bond orders; convert it to SDF" in error
    assert error.count("\n") == 1
