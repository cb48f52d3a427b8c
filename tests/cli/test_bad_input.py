"""Bad input ends in one line that says what is wrong and what to do, an exit status, and nothing half-written."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.cli.main import FAILED, USAGE, main
from tiny_runs import ROOT, Tiny

COMPLEXES = ROOT / "examples/complexes"
SITE = COMPLEXES / "7sza"
PROTEIN, LIGAND = SITE / "protein.pdb.gz", SITE / "ligand.sdf"
PDB = gzip.decompress(PROTEIN.read_bytes()).decode()
SDF = LIGAND.read_text()

FIVE_BONDS = Chem.MolToMolBlock(Chem.MolFromSmiles("CC(C)(C)(C)C", sanitize=False), kekulize=False)

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, status: int) -> str:
    """The one line on stderr, given that the command ended with a status that is not zero."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert status in (FAILED, USAGE)
    return lines[0]


def moved(text: str, by: float) -> str:
    mol = Chem.MolFromMolBlock(text)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + by)
    return str(Chem.MolToMolBlock(mol))


def big(_: str) -> str:
    mol = Chem.MolFromSmiles("C" * 5000)
    conformer = Chem.Conformer(5000)
    conformer.SetPositions(np.arange(15000.0).reshape(5000, 3) / 100)
    mol.AddConformer(conformer)
    return str(Chem.MolToV3KMolBlock(mol))


def nan_at_first_atom(text: str) -> str:
    lines = text.splitlines()
    lines[4] = "       nan" + lines[4][10:]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def checkpoint(denoiser_dir: Path) -> Path:
    return denoiser_dir / "best_denoiser.pt"


@pytest.fixture
def generate(checkpoint: Path, tmp_path: Path) -> Callable[..., int]:
    """`ligandsmith generate` with defaults; the folder of the samples is tmp_path/out."""

    def run(**changes: str | None) -> int:
        flags: dict[str, str | None] = {
            "checkpoint": str(checkpoint), "protein": str(PROTEIN), "ligand": str(LIGAND), "num": "1", "num_atoms": "6",
            "device": "cpu", "threads": "1", "out": str(tmp_path / "out"), **changes,
        }  # fmt: skip
        words = [
            word for name, value in flags.items() if value is not None for word in (f"--{name}", *value.split(" "))
        ]
        try:
            return main(["generate", *words])
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            assert not (tmp_path / "out").exists()

    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "no such"),
        (lambda _: "hello\n", "protein.pdb"),
        (lambda text: text.replace("ATOM", "REMARK"), "protein.pdb"),
    ],
)
def test_unusable_proteins(
    change: Callable[[str], str] | None, said: str, generate: Any, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "protein.pdb"
    if change is not None:
        path.write_text(change(PDB))
    assert said in refused(capsys, generate(protein=str(path)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "no such file"),
        (lambda _: "", "no molecule"),
        (lambda _: "hello\n", "ligand.sdf"),
        (lambda _: FIVE_BONDS, "valence"),
        (nan_at_first_atom, "ligand.sdf"),
        (lambda text: moved(text, 500.0), "share a frame"),
        (big, "5000 heavy atoms"),
    ],
)
def test_unusable_reference_ligands(
    change: Callable[[str], str] | None, said: str, generate: Any, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "ligand.sdf"
    if change is not None:
        path.write_text(change(SDF))
    assert said in refused(capsys, generate(ligand=str(path)))


@pytest.mark.parametrize(
    ("site", "said", "status"),
    [
        ({"residues": "A:9999 A:8888"}, "no residue A:9999, A:8888", FAILED),
        ({"center": "-900,-900,900"}, "(-900, -900, 900)", FAILED),
        ({"center": "nan,0,0"}, "out of range: a finite number", USAGE),
        ({"center": "1,2"}, "not three numbers", USAGE),
        ({"het": "XYZ"}, "no het molecule XYZ", FAILED),
        ({}, "one of the arguments", USAGE),
        ({"het": "XYZ", "residues": "A:1"}, "not allowed with", USAGE),
    ],
)
def test_sites_that_are_not_there(site: dict[str, str], said: str, status: int, generate: Any, capsys: Capture) -> None:
    found = generate(ligand=None, **site)
    assert found == status
    assert said in refused(capsys, found)


@pytest.mark.parametrize(
    ("flag", "value", "status"),
    [
        ("sampler", "magic", USAGE),
        ("num", "0", USAGE),
        ("batch_size", "0", USAGE),
        ("num_atoms", "1000", FAILED),
        ("device", "tpu", USAGE),
        ("frob", "1", USAGE),
    ],
)
def test_unusable_generation_flags(flag: str, value: str, status: int, generate: Any, capsys: Capture) -> None:
    found = generate(**{flag: value})
    assert found == status
    assert flag in refused(capsys, found)


class Payload:
    """A pickle that would run code."""

    def __reduce__(self) -> Any:
        return print, ("this code must not run",)


def spoiled(kind: str, good: Path, path: Path) -> Path:
    content = torch.load(good, weights_only=True)
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:5000])
    elif kind == "code":
        path.write_bytes(pickle.dumps({"kind": Payload()}))
    elif kind == "code in a zip":
        torch.save({**content, "extra": Payload()}, path)
    elif kind == "version":
        torch.save({**content, "format_version": 99}, path)
    elif kind == "foreign":
        torch.save({"model": torch.zeros(3)}, path)
    elif kind == "other sizes":
        content["config"]["denoiser"]["width"] = 48
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no such checkpoint"),
        ("truncated", "bad.pt: cannot be read: truncated"),
        ("code", "not a whole checkpoint"),
        ("code in a zip", "not a whole checkpoint"),
        ("version", "format version 99"),
        ("foreign", "not a checkpoint of this program"),
        ("other sizes", "does not fit its own config"),
    ],
)
def test_unusable_checkpoints(
    kind: str, said: str, generate: Any, checkpoint: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = spoiled(kind, checkpoint, tmp_path / "bad.pt")
    found = generate(checkpoint=str(path))
    captured = capsys.readouterr()
    assert found == FAILED
    (line,) = captured.err.splitlines()
    assert said in line
    assert "must not run" not in captured.out


def test_a_vae_is_no_denoiser_and_must_be_the_right_one(
    generate: Any, vae_dir: Path, tiny: Tiny, vae_paths: list[str], tmp_path: Path, capsys: Capture
) -> None:  # fmt: skip
    vae = vae_dir / "best_ligand_vae.pt"
    assert "holds a ligand_vae; expected denoiser or joint" in refused(capsys, generate(checkpoint=str(vae)))
    assert "holds a ligand_vae" in refused(capsys, generate(protein_vae_path=str(vae)))
    swapped = ("--ligand_vae_path", vae_paths[3], "--protein_vae_path", vae_paths[1])
    assert "holds a protein_vae" in refused(capsys, tiny.run("train-denoiser", tmp_path / "run", *swapped))
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_shipped(generate: Any, capsys: Capture) -> None:
    assert "no shipped weights of that name" in refused(capsys, generate(checkpoint="enormous"))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--batch_size", "0"], USAGE),
        (["--num_workers", "-1"], USAGE),
        (["--learning_rate", "nan"], USAGE),
        (["--num_epochs", "x"], USAGE),
        (["--use_amp", "maybe"], USAGE),
        (["--preset", "huge"], USAGE),
        (["--unknown_flag"], USAGE),
        (["--set", "denoiser.depth=3"], FAILED),
        (["--set", "denoiser.width=wide"], FAILED),
        (["--resume", "nowhere.pt"], FAILED),
        (["--data", "nowhere"], FAILED),
        (["--data", "nowhere.lmdb", "--split_file", "nowhere.pt"], FAILED),
        (["--config", "nowhere.yaml"], FAILED),
    ],
)
def test_unusable_training_flags(words: list[str], status: int, tiny: Tiny, tmp_path: Path, capsys: Capture) -> None:
    run_dir = tmp_path / "run"
    try:
        found = tiny.run("train-vae", run_dir, "--model_type", "ligand", *words)
    except SystemExit as end:
        found = int(end.code or 0)
    assert found == status
    assert words[min(1, len(words) - 1)].split("=")[0].split(".")[0].lstrip("-") in refused(capsys, found)
    assert not run_dir.exists()


def test_latents_are_stored_for_a_frozen_vae_only(tiny: Tiny, tmp_path: Path, capsys: Capture) -> None:
    status = tiny.run("train-denoiser", tmp_path / "run", "--cache_latents")
    assert "add --protein_vae_path" in refused(capsys, status)
    assert not (tmp_path / "run").exists()


def test_an_empty_split_and_a_damaged_shard(tiny: Tiny, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    assert main(["prepare", str(COMPLEXES), "--out", str(data)]) == 0
    splits = json.loads((data / "splits.json").read_text())
    ids = [id for part in splits.values() for id in part]
    (data / "splits.json").write_text(json.dumps({"train": ids, "validation": [], "test": []}))
    capsys.readouterr()
    run = ("train-vae", tmp_path / "run", "--model_type", "protein", "--data", str(data))
    assert "no complexes in the split validation" in refused(capsys, tiny.run(*run))
    shard = next(data.glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert refused(capsys, tiny.run(*run))
    assert not (tmp_path / "run").exists()


def test_prepare_keeps_going_past_bad_records(tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "source"
    for name, protein, ligand in (
        ("good", PDB, SDF), ("far", PDB, moved(SDF, 500.0)), ("nan", PDB, nan_at_first_atom(SDF)),
        ("text", "hello\n", SDF), ("big", PDB, big(SDF)), ("broken", PDB, "hello\n"),
    ):  # fmt: skip
        (source / name).mkdir(parents=True)
        (source / name / "protein.pdb").write_text(protein)
        (source / name / "ligand.sdf").write_text(ligand)
    assert main(["prepare", str(source), "--out", str(tmp_path / "data")]) == 0
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert manifest["counts"]["complexes"] == 1
    assert {r["id"] for r in manifest["rejections"]} == {"far", "nan", "text", "big", "broken"}
    assert all(r["reason"] for r in manifest["rejections"])
    out = capsys.readouterr().out
    assert "1 complexes written" in out
    assert out.count("refused:") == len(manifest["rejection_counts"])


def test_evaluate_needs_its_file(tmp_path: Path, capsys: Capture) -> None:
    assert "no such file" in refused(capsys, main(["evaluate", str(tmp_path / "none.sdf")]))


def test_a_full_disk_while_sampling_is_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    words = ["--protein", str(PROTEIN), "--ligand", str(LIGAND), "--device", "cpu", "--out", str(tmp_path / "out")]
    status = main(["generate", "--checkpoint", str(checkpoint), "--num", "1", "--num_atoms", "6", *words])
    assert "No space left on device" in refused(capsys, status)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["relax", "none.sdf", "--protein", str(PROTEIN)], "no such file: none.sdf"),
        (["relax", str(LIGAND), "--protein", "none.pdb"], "no such file"),
        (["relax", str(LIGAND), "--protein", str(PROTEIN), "--workers", "0"], "--workers"),
        (["rank", str(SITE), "--by", "qed"], "no per_molecule.csv"),
        (["rank", str(SITE), "--by", "qed", "--diverse", "-1"], "--diverse"),
        (["rank", str(SITE), "--by", "qed", "--diverse", "2", "--num", "2"], "not allowed with"),
        (["rank", str(SITE)], "--by"),
    ],
)
def test_unusable_words_for_relax_and_rank(words: list[str], said: str, capsys: Capture) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    assert said in refused(capsys, status)


def test_a_lone_minus_is_a_direction_and_no_flag(tmp_path: Path, capsys: Capture) -> None:
    sdf = tmp_path / "ligands.sdf"
    sdf.write_text(SDF)
    assert main(["evaluate", str(sdf), "--no-posebusters"]) == 0
    assert main(["rank", str(tmp_path), "--by", "-sa,qed", "--filters", "connected"]) == 0
    assert "1 of 1 molecules ranked by sa (smaller is better)" in capsys.readouterr().out
