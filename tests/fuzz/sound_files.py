"""Small sound files of every kind that a command reads, made by the commands themselves."""

import gzip
import io
import json
import pickle
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import gemmi
import lmdb
import torch
import yaml
from rdkit import Chem
from test_crossdocked import published_record

from ligandsmith.chem.sdf import write_sdf
from ligandsmith.cli.main import main
from tiny_runs import ROOT, TINY

EXAMPLES = ROOT / "examples/complexes"
SMALL = "--device cpu --threads 1"
TRAIN = f"{SMALL} --num_workers 0 --max_steps 1 --batch_size 2 --limit 4 --config {{here}}/tiny.yaml --run_dir {{out}}"
MAKE = f"{SMALL} --num 2 --steps 2 --candidates 1"


def _cut_protein(site: str) -> str:
    """The residues within 9 Å of the ligand: enough for all commands, and quick to read."""

    structure = gemmi.read_structure(str(EXAMPLES / site / "protein.pdb.gz"))
    structure.setup_entities()
    lines = (EXAMPLES / site / "ligand.sdf").read_text().splitlines()
    x = [gemmi.Position(*map(float, line.split()[:3])) for line in lines[4:] if len(line) > 60 and line[31].isalpha()]
    for chain in structure[0]:
        for i in reversed(range(len(chain))):
            if min(atom.pos.dist(p) for atom in chain[i] for p in x) > 9:
                del chain[i]
    structure.remove_empty_chains()
    return str(structure.make_pdb_string())


def _mol2(block: str) -> str:
    """A molecule of a molfile, with hydrogens, as MOL2."""
    mol = Chem.AddHs(Chem.MolFromMolBlock(block), addCoords=True)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    ending = {Chem.HybridizationType.SP3: ".3", Chem.HybridizationType.SP2: ".2", Chem.HybridizationType.SP: ".1"}
    lines = ["@<TRIPOS>MOLECULE", "LIG", f" {mol.GetNumAtoms()} {mol.GetNumBonds()} 1", "SMALL", "NO_CHARGES", "",
             "@<TRIPOS>ATOM"]  # fmt: skip
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        kind = atom.GetSymbol() + (ending.get(atom.GetHybridization(), "") if atom.GetSymbol() in "CNO" else "")
        lines.append(
            f"{atom.GetIdx() + 1} {atom.GetSymbol()}{atom.GetIdx() + 1} {x:.4f} {y:.4f} {z:.4f} {kind} 1 LIG 0.0"
        )
    lines.append("@<TRIPOS>BOND")
    for i, bond in enumerate(mol.GetBonds(), 1):
        lines.append(f"{i} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} {bond.GetBondTypeAsDouble():.0f}")
    return "\n".join(lines) + "\n"


def make_sound_files(base: Path) -> None:
    """The folders of the targets, with files of each kind that are sound and small."""
    for folder in ("pairs/a", "pairs/b", "words", "proteins", "crossdocked", "site", "run"):
        (base / folder).mkdir(parents=True)
    _make_pairs(base)
    _make_words(base)
    _make_data(base)
    _make_runs(base)
    _make_site(base / "site")


def _make_pairs(base: Path) -> None:
    protein, ligand = _cut_protein("7sza"), (EXAMPLES / "7sza/ligand.sdf").read_text()
    cif = gemmi.read_pdb_string(protein).make_mmcif_document().as_string()
    for folder in ("pairs/a", "proteins", "site"):
        (base / folder / "protein.pdb").write_text(protein)
    for folder in ("pairs/b", "proteins"):
        (base / folder / "protein.cif").write_text(cif)
    for folder in ("pairs/a", "site"):
        (base / folder / "ligand.sdf").write_text(ligand)
    (base / "pairs/b/ligand.mol2").write_text(_mol2(ligand))
    (base / "pairs/split.csv").write_text("id,split\na,train\nb,validation\n")
    (base / "pairs/table.csv").write_text(
        "id,protein,ligand\na,a/protein.pdb,a/ligand.sdf\nb,b/protein.cif,b/ligand.mol2\n"
    )


def _make_words(base: Path) -> None:
    smiles = "CCOC(=O)c1ccccc1 ester\nCC(=O)Nc1ccc(O)cc1\nc1ccc2ccccc2c1 tar\nCN1CCC[C@H]1c1cccnc1 n\n"
    for folder in ("words", "site"):
        (base / folder / "x.smi").write_text(smiles)
    (base / "words/x.smi.gz").write_bytes(gzip.compress(smiles.encode()))
    (base / "words/card.md").write_text("# A model\n\nMade for a test.\n")


def _make_data(base: Path) -> None:
    _run("prepare", str(base / "pairs"), "--out", str(base / "data"))
    for name in ("words", "data", "crossdocked"):
        (base / name / "tiny.yaml").write_text(TINY)
    (base / "data/tiny.json").write_text(json.dumps(yaml.safe_load(TINY)))
    (base / "data/new.csv").write_text("id,split\na,train\nb,test\n")
    (base / "data/new.json").write_text('{"train": ["a"], "validation": [], "test": ["b"]}')
    records = [published_record(i, group) for i, group in enumerate(["A", "A", "B", "B"])]
    place = str(base / "crossdocked/x.lmdb")
    with lmdb.open(place, subdir=False, map_size=1 << 28) as file, file.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(str(i).encode(), pickle.dumps(record))
    torch.save({"train": [0, 1], "val": [2], "test": [3]}, base / "crossdocked/split.pt")


def _make_runs(base: Path) -> None:
    flags = [*TRAIN.format(here=base / "data", out=base / "run").split(), "--data", str(base / "data")]
    for kind in ("ligand", "protein"):
        _run("train-vae", "--model_type", kind, *flags)
        shutil.copyfile(base / f"run/best_{kind}_vae.pt", base / f"words/{kind}_vae.pt")
    shutil.copyfile(base / "words/ligand_vae.pt", base / "data/ligand_vae.pt")
    _run("train-denoiser", *flags)
    shutil.copyfile(base / "run/best_denoiser.pt", base / "site/denoiser.pt")
    for path in (base / "run").iterdir():
        if not path.name.endswith(("_history.json", "_report_card.json")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    next((base / "run").glob("*denoiser_history.json")).rename(base / "run/x_history.json")
    next((base / "run").glob("*_report_card.json")).rename(base / "run/x_report_card.json")
    _run("properties", str(base / "data"))


def _make_site(site: Path) -> None:
    mol = Chem.MolFromMolFile(str(site / "ligand.sdf"))
    _run("export", str(site / "denoiser.pt"), "--out", str(site / "export"))
    part = Chem.RWMol(mol)
    ring = set(mol.GetRingInfo().AtomRings()[0])
    for i in sorted(set(range(mol.GetNumAtoms())) - ring, reverse=True):
        part.RemoveAtom(i)
    Chem.SanitizeMol(part)
    (site / "part.sdf").write_text(Chem.MolToMolBlock(part) + "$$$$\n")
    (site / "pockets.csv").write_text(
        "pocket,protein,ligand,radius\na,protein.pdb,ligand.sdf,\nb,protein.pdb,ligand.sdf,\n"
    )
    where = ["--protein", str(site / "protein.pdb"), "--ligand", str(site / "ligand.sdf")]
    make = [*MAKE.split(), "--checkpoint", "tiny"]
    _run("generate", *where, *make, "--out", str(site / "made"))
    _run("generate", "--manifest", str(site / "pockets.csv"), *make, "--chunk", "1", "--out", str(site / "many"))
    better = [*SMALL.split(), "--steps", "2", "--candidates", "1", "--checkpoint", "tiny", "--objective", "qed"]
    _run("optimise", *where, *better, "--num_atoms", "8-12", "--budget", "2", "--out", str(site / "better"))
    _make_scored(site / "scored", mol)
    scored = str(site / "scored")
    _run("evaluate", f"{scored}/ligands.sdf", *where, "--tools", "strain", "interactions", "--out", scored)
    (site / "list.csv").write_text(
        "pocket,ligands,protein,reference,requested\na,scored/ligands.sdf,protein.pdb,ligand.sdf,4\nb,ligand.sdf,,,3\n"
    )
    records = [{"mol": mol, "ligand_filename": "p/a.sdf"}, {"mol": None, "ligand_filename": "p/a.sdf"}]
    torch.save([records], site / "results.pt")


def _make_scored(folder: Path, mol: Chem.Mol) -> None:
    """Three poses of a ligand and a failure, as `generate` would leave them."""
    folder.mkdir()
    poses = []
    for index in range(3):
        pose = Chem.Mol(mol)
        pose.GetConformer().SetPositions(mol.GetConformer().GetPositions() + 0.1 * index)
        poses.append((pose, {"index": index}))
    write_sdf(folder / "ligands.sdf", poses)
    log = {"requested": 4, "done": 4, "seconds": 2.0, "identity": {"seed": 0}, "molecules": [],
           "failures": [{"index": 3, "reason": "valence", "detail": "atom 1"}], "removed_from_site": []}  # fmt: skip
    (folder / "samples.json").write_text(json.dumps(log))


def _run(*words: str) -> None:
    with redirect_stdout(io.StringIO()) as said:
        status = main(list(words))
    assert status == 0, (words, said.getvalue())
