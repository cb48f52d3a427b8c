"""A table of malformed inputs over all commands: one line, an exit status that is not zero, nothing half-written.

`{bad}` is a folder of malformed files, `{good}` one of usable ones, `{out}` does not exist before or after.
"""

import gzip
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.cli.main import FAILED, USAGE, main
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
PDB = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
SDF = (SITE / "ligand.sdf").read_text()
WEIGHTS = ROOT / "src/ligandsmith/weights"


class Harmful:
    """Unpickling it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (Path("harmed"),)  # type: ignore[return-value]


def shifted(by: float) -> str:
    """The example's ligand, moved along each axis (Å)."""
    mol = Chem.MolFromMolBlock(SDF)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + by)
    return str(Chem.MolToMolBlock(mol)) + "$$$$\n"


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The malformed files."""
    folder = tmp_path_factory.mktemp("bad")
    texts = {
        "empty.pdb": "", "text.pdb": "hello\n", "remark.pdb": PDB.replace("ATOM", "REMARK"),
        "nan.pdb": "\n".join(line[:30] + "     nan" + line[38:] if line[:4] == "ATOM" else line
                             for line in PDB.splitlines()),
        "waters.pdb": "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\n",
        "text.cif": "hello\n", "empty.sdf": "", "text.sdf": "hello\n", "far.sdf": shifted(500.0),
        "nan.sdf": SDF.replace(SDF.splitlines()[4][:10], "       nan", 1),
        "valence.sdf": Chem.MolToMolBlock(Chem.MolFromSmiles("CC(C)(C)(C)C", sanitize=False), kekulize=False),
        "text.mol2": "hello\n", "empty.pt": "", "text.pt": "hello\n", "list.yaml": "[1, 2]\n", "text.yaml": "a: [\n",
        "section.yaml": "denoisers: {width: 32}\n", "type.yaml": "denoiser: {width: wide}\n",
        "range.yaml": "denoiser: {width: 0}\n", "value.yaml": "denoiser: 3\n",
        "empty.csv": "", "header.csv": "pocket,protein,ligand\n", "column.csv": "pocket,protein,lignd\na,b,c\n",
        "twice.csv": "pocket,protein,het\na,b,c\na,b,c\n", "escape.csv": "pocket,protein,het\n../a,b,c\n",
        "unusable.csv": "pocket,protein,het\na,none.pdb,c\n", "complexes.csv": "id,protein\na,b\n",
        "empty.smi": "", "text.smi": "hello there\n!\n", "empty.txt": "",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    binary = np.random.default_rng(0).bytes(3000)
    for name in ("binary.pdb", "binary.sdf", "binary.pt", "binary.csv", "binary.smi"):
        (folder / name).write_bytes(binary)
    for name, whole in (("cut.pdb.gz", PDB), ("cut.sdf.gz", SDF)):
        (folder / name).write_bytes(gzip.compress(whole.encode())[:-40])
    checkpoint = (WEIGHTS / "denoiser_tiny.pt").read_bytes()
    (folder / "cut.pt").write_bytes(checkpoint[: len(checkpoint) // 2])
    torch.save([1, 2], folder / "list.pt")
    torch.save({"kind": "denoiser"}, folder / "keys.pt")
    (folder / "harmful.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("nothing", "data", "numbers", "results", "export", "folder.pdb", "folder.sdf"):
        (folder / name).mkdir()
    (folder / "data/manifest.json").write_text("hello")
    (folder / "numbers/manifest.json").write_text("[1, 2]")
    (folder / "results/summary.json").write_text("{}")
    (folder / "results/per_molecule.csv").write_text("a,b\n1,2\n")
    (folder / "export/config.json").write_text("{}")
    (folder / "export/model.safetensors").write_bytes(binary)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and results without molecules of their own."""
    folder = tmp_path_factory.mktemp("good")
    assert main(["prepare", str(SITE.parent), "--out", str(folder / "data")]) == 0
    shutil.copytree(folder / "data", folder / "cut_data")
    shard = next((folder / "cut_data").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    shutil.copytree(folder / "data", folder / "other_ids")
    (folder / "other_ids/splits.json").write_text(json.dumps({"train": ["x"], "validation": ["y"], "test": []}))
    return folder


@pytest.fixture(scope="module")
def folders(bad: Path, good: Path) -> tuple[Path, Path]:
    """Both."""
    return bad, good


RUN = "generate --checkpoint tiny --num 1 --device cpu --threads 1 --out {out}"
GENERATE = RUN + f" --ligand {SITE}/ligand.sdf --protein"
POSE = RUN + f" --protein {SITE}/protein.pdb.gz --ligand"
PLACED = POSE + f" {SITE}/ligand.sdf"
FIX = PLACED.replace("tiny", "small") + " --fix"
WITH = PLACED.replace("tiny", "{bad}/")
BATCH = RUN + " --manifest"
TRAIN = "train-vae --model_type ligand --device cpu --num_workers 0 --threads 1 --max_steps 1 --run_dir {out}"
RELAX = "relax --out {out}"
OPTIMISE = "optimise --checkpoint tiny --objective qed --budget 2 --device cpu --threads 1 --out {out}"
ANALOGUES = "analogues --checkpoint tiny --num 1 --device cpu --threads 1 --out {out}"

CASES = [
    # Proteins of `generate`.
    (f"{GENERATE} none.pdb", "none.pdb"),
    (f"{GENERATE} {{bad}}/empty.pdb", "empty.pdb"),
    (f"{GENERATE} {{bad}}/text.pdb", "text.pdb"),
    (f"{GENERATE} {{bad}}/binary.pdb", "binary.pdb"),
    (f"{GENERATE} {{bad}}/remark.pdb", "remark.pdb"),
    (f"{GENERATE} {{bad}}/nan.pdb", "nan.pdb, line"),
    (f"{GENERATE} {{bad}}/waters.pdb", "waters.pdb"),
    (f"{GENERATE} {{bad}}/cut.pdb.gz", "cut.pdb.gz"),
    (f"{GENERATE} {{bad}}/folder.pdb", "folder.pdb"),
    (f"{GENERATE} {{bad}}/text.cif", "text.cif"),
    # Ligands and sites of `generate`.
    (f"{POSE} none.sdf", "none.sdf"),
    (f"{POSE} {{bad}}/empty.sdf", "empty.sdf"),
    (f"{POSE} {{bad}}/text.sdf", "text.sdf"),
    (f"{POSE} {{bad}}/binary.sdf", "binary.sdf"),
    (f"{POSE} {{bad}}/nan.sdf", "nan.sdf"),
    (f"{POSE} {{bad}}/valence.sdf", "valence.sdf"),
    (f"{POSE} {{bad}}/far.sdf", "empty pocket"),
    (f"{POSE} {{bad}}/cut.sdf.gz", "cut.sdf.gz"),
    (f"{POSE} {{bad}}/folder.sdf", "folder.sdf"),
    (f"{POSE} {{bad}}/text.mol2", "text.mol2"),
    (f"{POSE} {{bad}}/text.pdb", "text.pdb"),
    (f"{FIX} {{bad}}/valence.sdf", "valence.sdf"),
    (f"{FIX} {{bad}}/far.sdf", "lies"),
    (f"{PLACED} --num 0", "--num"),
    (f"{PLACED} --num_atoms 90", "--num_atoms 90"),
    (f"{PLACED} --steps nan", "--steps"),
    (f"{PLACED} --seed x", "--seed"),
    # Checkpoints of `generate`.
    (f"{WITH}none.pt", "none.pt"),
    (f"{WITH}empty.pt", "empty.pt"),
    (f"{WITH}text.pt", "text.pt"),
    (f"{WITH}binary.pt", "binary.pt"),
    (f"{WITH}cut.pt", "cut.pt"),
    (f"{WITH}list.pt", "list.pt"),
    (f"{WITH}keys.pt", "keys.pt"),
    (f"{WITH}harmful.pt", "harmful.pt"),
    (f"{WITH}nothing", "nothing"),
    (f"{WITH}export", "export"),
    # Manifests of `generate`.
    (f"{BATCH} none.csv", "none.csv"),
    (f"{BATCH} {{bad}}/empty.csv", "empty.csv, line 1"),
    (f"{BATCH} {{bad}}/header.csv", "no rows"),
    (f"{BATCH} {{bad}}/column.csv", "line 1: unknown column 'lignd'"),
    (f"{BATCH} {{bad}}/twice.csv", "line 3"),
    (f"{BATCH} {{bad}}/escape.csv", "line 2"),
    (f"{BATCH} {{bad}}/binary.csv", "binary.csv"),
    # Training.
    (f"{TRAIN} --data none", "none"),
    (f"{TRAIN} --data {{bad}}/nothing", "nothing"),
    (f"{TRAIN} --data {{bad}}/data", "manifest.json"),
    (f"{TRAIN} --data {{bad}}/numbers", "manifest.json"),
    (f"{TRAIN} --data {{good}}/cut_data", "parquet"),
    (f"{TRAIN} --data {{good}}/other_ids", "splits.json"),
    (f"{TRAIN} --data {{bad}}/text.pt", "text.pt"),
    (f"{TRAIN} --config {{bad}}/list.yaml", "list.yaml"),
    (f"{TRAIN} --config {{bad}}/text.yaml", "text.yaml"),
    (f"{TRAIN} --config {{bad}}/section.yaml", "denoisers"),
    (f"{TRAIN} --config {{bad}}/type.yaml", "width"),
    (f"{TRAIN} --config {{bad}}/range.yaml", "width"),
    (f"{TRAIN} --config {{bad}}/value.yaml", "denoiser"),
    (f"{TRAIN} --resume {{bad}}/cut.pt", "cut.pt"),
    (f"{TRAIN} --init_from {{bad}}/keys.pt", "keys.pt"),
    ("train-denoiser --device cpu --run_dir {out} --ligand_vae_path {bad}/list.pt", "list.pt"),
    ("train-all --device cpu --num_gpus 0 --run_dir {out}", "--num_gpus"),
    # Data sets.
    ("prepare none --out {out}", "none"),
    ("prepare {bad}/nothing --out {out}", "nothing"),
    ("prepare {bad}/complexes.csv --out {out}", "complexes.csv"),
    ("split none", "none"),
    ("split {bad}/data", "no records to split"),
    ("split {bad}/nothing --by file --file {bad}/empty.csv", "nothing"),
    ("conformers none.smi --out {out}", "none.smi"),
    ("conformers {bad}/empty.smi --out {out}", "empty.smi"),
    ("conformers {bad}/text.smi --out {out}", "text.smi"),
    ("conformers {bad}/binary.smi --out {out}", "binary.smi"),
    ("properties {bad}/nothing", "nothing"),
    ("pseudo-complexes {bad}/nothing --out {out}", "nothing"),
    ("pseudo-complexes {bad}/text.pdb --out {out}", "text.pdb"),
    ("prepare-protein none.pdb --out {out}/p.pdb", "none.pdb"),
    ("prepare-protein {bad}/text.pdb --out {out}/p.pdb", "text.pdb"),
    (f"prepare-protein {SITE}/protein.pdb.gz --ligand {{bad}}/text.sdf --out {{out}}/p.pdb", "text.sdf"),
    (f"prepare-protein {SITE}/protein.pdb.gz --out {{out}}/p.pdbqt", "p.pdbqt"),
    (f"prepare-protein {SITE}/protein.pdb.gz --out {{out}}/p.pdb --ph 15", "0 to 14"),
    # Evaluation.
    ("evaluate none.sdf --out {out}", "none.sdf"),
    ("evaluate {bad}/nothing --out {out}", "nothing"),
    ("evaluate {bad}/harmful.pt --out {out}", "harmful.pt"),
    ("evaluate {bad}/text.pt --out {out}", "text.pt"),
    ("evaluate {bad}/empty.csv --out {out}", "empty.csv"),
    (f"evaluate {SITE}/ligand.sdf --protein {{bad}}/text.pdb --out {{out}}", "text.pdb"),
    (f"evaluate {SITE}/ligand.sdf --protein {SITE}/protein.pdb.gz --ligand {{bad}}/text.sdf --out {{out}}", "text.sdf"),
    (f"evaluate {SITE}/ligand.sdf --known none.smi --out {{out}}", "none.smi"),
    (f"evaluate {SITE}/ligand.sdf --requested 0 --out {{out}}", "--requested"),
    (f"{RELAX} none.sdf --protein {SITE}/protein.pdb.gz", "none.sdf"),
    (f"{RELAX} {SITE}/ligand.sdf --protein {{bad}}/text.pdb", "text.pdb"),
    (f"{RELAX} {{bad}}/empty.sdf --protein {SITE}/protein.pdb.gz", "empty.sdf"),
    # Design.
    (f"{OPTIMISE} --protein {SITE}/protein.pdb.gz --ligand none.sdf", "none.sdf"),
    (f"{OPTIMISE} --protein {SITE}/protein.pdb.gz --ligand {{bad}}/text.sdf", "text.sdf"),
    (f"{OPTIMISE} --protein {SITE}/protein.pdb.gz --ligand {{bad}}/empty.sdf", "empty.sdf"),
    (f"{OPTIMISE} --protein {{bad}}/text.pdb --ligand {SITE}/ligand.sdf", "text.pdb"),
    (f"{OPTIMISE} --protein {SITE}/protein.pdb.gz --ligand {SITE}/ligand.sdf --keep {{bad}}/text.sdf", "text.sdf"),
    (f"{OPTIMISE} --protein {SITE}/protein.pdb.gz --ligand {SITE}/ligand.sdf --checkpoint {{bad}}/cut.pt", "cut.pt"),
    (f"{ANALOGUES} {SITE}/ligand.sdf --protein {{bad}}/text.pdb", "text.pdb"),
    (f"{ANALOGUES} {{bad}}/text.sdf --protein {SITE}/protein.pdb.gz", "text.sdf"),
    (f"{ANALOGUES} {SITE}/ligand.sdf --protein {SITE}/protein.pdb.gz --similarity 0.8", "0.8"),
    ("rank {bad}/nothing --by qed", "nothing"),
    ("rank {bad}/results --by qed", "results"),
    ("report none", "none"),
    ("report {bad}/nothing", "nothing"),
    ("report {bad}/results", "results"),
    # Export and the rest.
    ("export none.pt --out {out}", "none.pt"),
    ("export {bad}/text.pt --out {out}", "text.pt"),
    ("export {bad}/cut.pt --out {out}", "cut.pt"),
    ("completion csh", "csh"),
    ("nonsense", "nonsense"),
]  # fmt: skip


def snapshot(*folders: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for f in folders for p in f.rglob("*")}


@pytest.mark.parametrize(("words", "said"), CASES, ids=[words.replace(str(ROOT), "") for words, _ in CASES])
def test_malformed_input_is_one_line_and_writes_nothing(
    words: str, said: str, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    bad, good = folders
    before = snapshot(bad, good)
    try:
        status = main(words.format(bad=bad, good=good, out=tmp_path / "out").split())
    except SystemExit as end:
        status = int(end.code or 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    assert status in (FAILED, USAGE), lines
    assert len(errors) == 1, lines
    assert lines[-1] == errors[0]
    assert said in errors[0]
    assert "Traceback" not in "".join(lines)
    assert list(tmp_path.iterdir()) == []
    assert snapshot(bad, good) == before


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 60
    commands = {words.split()[0] for words, _ in CASES}
    assert commands >= {
        "generate", "train-vae", "train-denoiser", "train-all", "prepare", "split", "conformers", "properties",
        "pseudo-complexes", "evaluate", "relax", "rank", "report", "export", "completion", "optimise", "analogues",
        "prepare-protein",
    }  # fmt: skip
