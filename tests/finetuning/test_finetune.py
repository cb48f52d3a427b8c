"""`ligandsmith finetune`: from each kind of own data to weights that `generate` takes, and what it refuses."""

import gzip
import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.cli.main import FAILED, INTERRUPTED, OK, USAGE, main
from ligandsmith.data.dataset import Manifest, write_manifest
from ligandsmith.errors import LigandsmithError
from ligandsmith.finetuning import loaders, records, run
from ligandsmith.finetuning.options import FinetuneOptions, for_records
from ligandsmith.finetuning.stage import seeded_stage
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.latent_cache import encoded_pockets
from tiny_runs import ROOT, content, signalled

SERIES = ROOT / "benchmarks/series/a2a"
PROTEIN = SERIES / "protein.pdb.gz"
CPU = torch.device("cpu")
TRAIN = [
    "--checkpoint", "tiny", "--steps", "2", "--batch_size", "2", "--samples", "0", "--device", "cpu", "--threads", "1",
]  # fmt: skip
SMILES = "c1ccccc1C(=O)O a\nCC(=O)Oc1ccccc1C(=O)O b\nno_smiles c\nc1ccncc1N d\nCc1ccccc1N e\nOCc1ccccc1 f\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few records to mix in and to test on."""
    monkeypatch.setattr(loaders, "STEPS_BETWEEN_TESTS", 2)
    monkeypatch.setattr(loaders, "TESTED", 2)
    monkeypatch.setattr(records, "MOST_MIXED", 2)
    monkeypatch.setattr(run, "MOST_TESTED", 2)


def series(path: Path, first: int, more: str = "") -> Path:
    """The first ligands of the series in a file, and more text."""
    blocks = gzip.decompress((SERIES / "ligands.sdf.gz").read_bytes()).decode().split("$$$$\n")[:first]
    path.write_text("".join(f"{block}$$$$\n" for block in blocks) + more)
    return path


Finetune = Callable[..., int]


@pytest.fixture
def finetune(tmp_path: Path) -> Finetune:
    """Fine-tune on a small series; further flags are added."""
    ligands = series(tmp_path / "ligands.sdf", 6)

    def command(*flags: str) -> int:
        own = ["--ligands", str(ligands), "--protein", str(PROTEIN), "--out", str(tmp_path / "out")]
        return main(["finetune", *own, *TRAIN, *flags])

    return command


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = content(folder / "denoiser.pt")["diffusion_state"]
    return state


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_series_gives_an_adapter_that_generate_takes(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert finetune("--lora", "2", "--samples", "1") == OK
    said = capsys.readouterr().out
    assert "loss on held-out own records" in said
    assert f"--checkpoint tiny --adapter {out / 'adapter.safetensors'}" in said
    record = json.loads((out / "finetune.json").read_text())
    assert (record["own"]["train"], record["own"]["held_out"], record["steps"]) == (5, 1, 2)
    assert record["before"]["loss_held_out"] != record["after"]["loss_held_out"]
    assert {"loss_others", "valid", "nearest_held_out", "in_series", "qed"} <= record["after"].keys()
    made = []
    for number, flags in enumerate((
        ["--checkpoint", "tiny", "--adapter", str(out / "adapter.safetensors")],
        ["--checkpoint", str(out / "denoiser.pt")],
    )):  # fmt: skip
        folder = tmp_path / str(number)
        words = [
            "generate",
            *flags,
            "--protein",
            str(PROTEIN),
            "--center",
            "-0.4,3,16",
            "--num",
            "1",
            "--num_atoms",
            "8",
        ]
        words += ["--steps", "3", "--candidates", "1", "--device", "cpu", "--threads", "1", "--out", str(folder)]
        assert main(words) == OK
        made.append(read_sdf(folder / "ligands.sdf")[0].mol.GetConformer().GetPositions().tolist())
    assert made[0] == made[1]


def test_the_same_again_does_nothing_and_another_request_is_refused(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune() == OK
    before = weights(tmp_path / "out")
    assert not (tmp_path / "out/adapter.safetensors").exists()
    capsys.readouterr()
    assert finetune() == OK
    assert "Epoch" not in capsys.readouterr().out
    assert finetune("--seed", "1") == FAILED
    assert "different seed" in capsys.readouterr().err
    assert same(before, weights(tmp_path / "out"))
    assert finetune("--seed", "1", "--overwrite") == OK
    assert not same(before, weights(tmp_path / "out"))


def test_full_training_keeps_what_it_must(finetune: Finetune, tmp_path: Path) -> None:
    assert finetune() == OK
    base, tuned = content(ROOT / "src/ligandsmith/weights/denoiser_tiny.pt"), content(tmp_path / "out/denoiser.pt")
    assert same(base["vae_state"], tuned["vae_state"])
    changed = {n for n, v in tuned["diffusion_state"].items() if not torch.equal(v, base["diffusion_state"][n])}
    assert not [name for name in changed if name.startswith("stats.")]
    assert any(name.startswith("denoiser.") for name in changed)
    assert "size.net.2.bias" in changed  # the sizes of own ligands


def test_an_interrupted_run_continues(
    finetune: Finetune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        signalled(patch, 3, signal.SIGTERM)
        assert finetune("--steps", "4", "--lora", "2") == INTERRUPTED
    assert "the same command continues" in capsys.readouterr().err
    assert not (tmp_path / "out/denoiser.pt").exists()
    assert finetune("--steps", "4", "--lora", "2") == OK
    continued = weights(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "first")
    assert finetune("--steps", "4", "--lora", "2") == OK
    assert same(continued, weights(tmp_path / "out"))


def test_molecules_without_poses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own.smi").write_text(SMILES)
    words = ["finetune", "--smiles", str(tmp_path / "own.smi"), *TRAIN, "--out", str(tmp_path / "out")]
    assert main(words) == OK
    assert "left out c: unreadable SMILES (line 3: no_smiles)" in caplog.text
    assert Manifest.load(tmp_path / "out/data").rejection_counts() == {"unreadable SMILES": 1}
    record = json.loads((tmp_path / "out/finetune.json").read_text())
    assert record["own"]["train"] + record["own"]["held_out"] == 5
    assert "denoiser.pt" in capsys.readouterr().out


def test_a_prepared_data_set_and_its_own_split(finetune: Finetune, tmp_path: Path) -> None:
    assert finetune() == OK
    data = tmp_path / "out/data"
    ids = [f"a2a_{n:03d}" for n in (0, 1, 2, 4, 7, 9)]
    write_manifest(data, {"train": ids[:3], "validation": ids[3:]}, [])
    data.rename(tmp_path / "mine")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "mine").iterdir()}
    assert main(["finetune", "--data", str(tmp_path / "mine"), *TRAIN, "--out", str(tmp_path / "second")]) == OK
    assert json.loads((tmp_path / "second/finetune.json").read_text())["own"]["held_out_ids"] == ids[3:]
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "mine").iterdir()} == before


def test_a_folder_of_complexes(tmp_path: Path) -> None:
    blocks = series(tmp_path / "ligands.sdf", 6).read_text().split("$$$$\n")[:6]
    for number, block in enumerate(blocks):
        folder = tmp_path / "mine" / f"c{number}"
        folder.mkdir(parents=True)
        (folder / "ligand.sdf").write_text(block if number else "nothing")
        (folder / "protein.pdb.gz").write_bytes(PROTEIN.read_bytes())
    options = FinetuneOptions(data=tmp_path / "mine")
    data = records.prepared_data(options, tmp_path / "data")
    own = records.own_records(data, options, VOCABULARY.ligand_elements)
    assert {r.id for r in (*own.train, *own.held_out)} == {f"c{n}" for n in range(1, 6)}
    assert len(own.held_out) == 1
    assert [r.id for r in Manifest.load(data).rejections] == ["c0"]


def test_poses_of_a_molecule_are_held_out_together(tmp_path: Path) -> None:
    poses = series(tmp_path / "ligands.sdf", 6).read_text()
    (tmp_path / "ligands.sdf").write_text(poses * 3)
    options = FinetuneOptions(ligands=tmp_path / "ligands.sdf", protein=PROTEIN)
    data = records.prepared_data(options, tmp_path / "data")
    own = records.own_records(data, options, VOCABULARY.ligand_elements)
    assert (len(own.train), len(own.held_out)) == (15, 3)
    assert not {r.smiles for r in own.train} & {r.smiles for r in own.held_out}
    with pytest.raises(LigandsmithError, match="0 usable records"):
        records.own_records(data, options, elements=[6])


def test_batches_hold_a_share_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_MIXED", 8)
    options = FinetuneOptions("tiny", ligands=series(tmp_path / "ligands.sdf", 6), protein=PROTEIN, mix=0.25, lora=1)
    stage = seeded_stage(load_checkpoint(Path("tiny"), ("denoiser",)), options)
    own = records.own_records(records.prepared_data(options, tmp_path / "data"), options, VOCABULARY.ligand_elements)
    settings = for_records(replace(options, batch_size=4), len(own.train))
    others = records.other_records(options, own)
    latents = encoded_pockets(stage.pocket_vae, records.RecordList([*own.train, *others]), VOCABULARY, CPU)
    made = loaders.finetuning_loaders(stage, own, others, settings, 0, latents)
    ids = Counter(id for batch in made.train for id in batch.ids)
    mine = {r.id for r in own.train}
    assert len({ids[id] for id in mine}) == 1  # each equally often
    share = sum(n for id, n in ids.items() if id not in mine) / ids.total()
    assert abs(share - 0.25) < 0.1


def test_a_ligand_that_cannot_be_used_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ligands = series(tmp_path / "ligands.sdf", 6, "broken\n\n\nnonsense\n$$$$\n")
    own = ["--ligands", str(ligands), "--protein", str(PROTEIN), "--out", str(tmp_path / "out")]
    assert main(["finetune", *own, *TRAIN]) == OK
    assert "left out 7: " in caplog.text


NO_LIGAND = (
    "far\n  x\n\n  1  0  0  0  0  0            999 V2000\n   90.0000   90.0000   90.0000 C   0  0\nM  END\n$$$$\n"
)


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({}, "--ligands l.sdf", "--protein is missing"),
        ({}, "", "name your data with one of --data, --ligands"),
        ({"l.sdf": ""}, "--data l.sdf --smiles l.sdf", "got --data and --smiles"),
        ({"l.sdf": ""}, "--ligands l.sdf --protein absent.pdb", "--protein absent.pdb: no such file"),
        ({"l.sdf": ""}, "--ligands l.sdf --protein PROTEIN", "none of 0 ligands could be used"),
        ({"l.sdf": NO_LIGAND}, "--ligands l.sdf --protein PROTEIN", "none of 1 ligands could be used"),
        ({"l.txt": ""}, "--ligands l.txt --protein PROTEIN", "the name must end in"),
        ({"l.sdf": "", "p.pdb": "nothing"}, "--ligands l.sdf --protein p.pdb", "p.pdb"),
        ({"x.smi": "CCO\nc1ccccc1\n"}, "--smiles x.smi", "usable records; fine-tuning needs 5 or more"),
        ({"x.smi": "X\nY\n"}, "--smiles x.smi", "no molecule could be used"),
        ({}, "--data absent", "--data absent: no such file or folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(
    files: dict[str, str], words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    given = words.replace("PROTEIN", str(PROTEIN)).split()
    assert main(["finetune", *given, *TRAIN, "--out", "out"]) == FAILED
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == set(files)  # nothing half-written


def test_a_rank_of_zero_is_refused(finetune: Finetune, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        finetune("--lora", "0")
    assert end.value.code == USAGE
    assert "--lora: 0 is out of range: 1 to 64" in capsys.readouterr().err


def test_settings_follow_the_number_of_records_unless_given() -> None:
    few, some, many = (for_records(FinetuneOptions(), number) for number in (30, 300, 3000))
    assert few.steps < some.steps < many.steps
    assert for_records(FinetuneOptions(lora=8), 30).learning_rate > few.learning_rate
    assert for_records(FinetuneOptions(steps=7, mix=0.0), 30) == replace(few, steps=7, mix=0.0)
