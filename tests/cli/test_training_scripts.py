"""The training contract: flags, defaults, files, log lines and checkpoint keys of the three scripts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ligandsmith.cli.main import build_parser, main
from ligandsmith.cli.train import train_request
from ligandsmith.config import Config, from_dict
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.structure.vocabulary import Vocabulary
from ligandsmith.training.optim import make_optimizer
from tiny_runs import Tiny

LINE = re.compile(r"^Epoch (\d+): Train Loss = \d+\.\d{4}, Test Loss = \d+\.\d{4}$", re.MULTILINE)
KEYS = {"epoch", "optimizer_state", "train_loss", "test_loss"}
COMMON = {
    "learning_rate": 1e-4,
    "num_epochs": 100,
    "save_interval": 10,
    "num_workers": 4,
    "use_amp": True,
    "device": "cuda",
}


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def history(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}_history.json").read_text())
    return rows


def files(folder: Path) -> set[str]:
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name for name in found if not name.startswith("logs/")}


@pytest.mark.parametrize(
    ("command", "given", "defaults"),
    [
        ("train-vae", ["--model_type", "ligand"], {"batch_size": 32}),
        (
            "train-denoiser",
            [],
            {"batch_size": 16, "cfg_dropout_prob": 0.1, "ligand_vae_path": None, "protein_vae_path": None},
        ),
        ("train-all", [], {"batch_size": 16, "cfg_dropout_prob": 0.1, "num_gpus": 1}),
    ],
)
def test_defaults(command: str, given: list[str], defaults: dict[str, Any]) -> None:
    args = build_parser(command).parse_args(given)
    request = train_request(args)
    parts = (request.data, request.train, request.hardware, request.config.diffusion, args)
    found = {name: next(getattr(p, name) for p in parts if hasattr(p, name)) for name in COMMON | defaults}
    assert found == COMMON | defaults


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], True), (["--use_amp"], True), (["--use_amp", "false"], False), (["--no-use_amp"], False)],
)
def test_mixed_precision_can_be_turned_off(words: list[str], expected: bool) -> None:
    assert train_request(build_parser("train-all").parse_args(words)).hardware.use_amp is expected


def test_the_vae_script_as_a_user_runs_it(tiny: Tiny, tmp_path: Path) -> None:
    extra = ("--model_type", "ligand", "--save_interval", "1", "--device", "cuda")
    out, err = tiny.script("train_vae.py", tmp_path, *extra).communicate(timeout=300)
    assert LINE.findall(out) == ["1", "2"], err
    assert out.count("no GPU here") == (0 if torch.cuda.is_available() else 1)
    assert files(tmp_path) == {
        "best_ligand_vae.pt", "checkpoints/ligand_vae_epoch_1.pt", "checkpoints/ligand_vae_epoch_2.pt",
        "checkpoints/ligand_vae_last.pt", "ligand_vae_history.json", "ligand_vae_report_card.json",
        "ligand_vae_losses_epoch_1.png",
        "ligand_vae_losses_epoch_2.png",
    }  # fmt: skip
    assert any((tmp_path / "logs").glob("*/1/events.*"))
    assert (tmp_path / "ligand_vae_losses_epoch_2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("kind", "network"), [("ligand", LigandVAE), ("protein", PocketVAE)])
def test_vae_checkpoints_load_as_users_load_them(kind: str, network: type, vae_dir: Path) -> None:
    ckpt = content(vae_dir / "checkpoints" / f"{kind}_vae_epoch_2.pt")
    assert KEYS | {"vae_state"} <= ckpt.keys()
    assert "scaler_state" not in ckpt
    assert ckpt["epoch"] == 2
    config = from_dict(Config, ckpt["config"])
    section = config.ligand_vae if kind == "ligand" else config.pocket_vae
    model = network(section, Vocabulary.from_dict(ckpt["vocabulary"]))
    model.load_state_dict(ckpt["vae_state"])
    optimizer = make_optimizer(model, config.optimizer, 1e-4)
    optimizer.load_state_dict(ckpt["optimizer_state"])
    assert len(optimizer.state) == sum(p.requires_grad for p in model.parameters())
    row = history(vae_dir, f"{kind}_vae")[-1]
    assert (ckpt["train_loss"], ckpt["test_loss"]) == (row["train_loss"], row["test_loss"])


def test_denoiser_files_and_frozen_vaes(denoiser_dir: Path, vae_dir: Path) -> None:
    assert files(denoiser_dir) == {
        "best_denoiser.pt", "checkpoints/denoiser_epoch_2.pt", "checkpoints/denoiser_last.pt",
        "denoiser_history.json", "denoiser_losses_epoch_2.png",
    }  # fmt: skip
    ckpt = content(denoiser_dir / "best_denoiser.pt")
    assert KEYS | {"diffusion_state"} <= ckpt.keys()
    for kind in ("ligand", "protein"):
        used = content(vae_dir / f"best_{kind}_vae.pt")["ema_state"]["values"]
        kept = {k.removeprefix(f"{kind}."): v for k, v in ckpt["vae_state"].items() if k.startswith(f"{kind}.")}
        assert kept.keys() == {k.removeprefix("vae.") for k in used}
        assert all(torch.equal(value, used[f"vae.{name}"]) for name, value in kept.items())
    model = DiffusionModel(from_dict(Config, ckpt["config"]))
    model.load_state_dict(ckpt["diffusion_state"])
    groups = ckpt["optimizer_state"]["param_groups"]
    assert sum(len(g["params"]) for g in groups) == sum(1 for _ in model.parameters())


@pytest.mark.parametrize("frozen", [(), ("ligand",), ("protein",)])
def test_each_vae_is_frozen_or_trained(frozen: tuple[str, ...], tiny: Tiny, vae_dir: Path, tmp_path: Path) -> None:
    paths = [w for kind in frozen for w in (f"--{kind}_vae_path", str(vae_dir / f"best_{kind}_vae.pt"))]
    assert tiny.run("train-denoiser", tmp_path, *paths, "--limit", "4", "--num_epochs", "1") == 0
    ckpt = content(tmp_path / "best_denoiser.pt")
    assert ckpt["frozen_vaes"] == sorted(frozen)
    averaged = {k.split(".")[1] for k in ckpt["ema_state"]["values"] if k.startswith("trained.")}
    assert averaged == {"ligand", "protein"} - set(frozen)
    for kind in frozen:
        used = content(vae_dir / f"best_{kind}_vae.pt")["ema_state"]["values"]
        assert all(torch.equal(v, ckpt["vae_state"][f"{kind}.{k.removeprefix('vae.')}"]) for k, v in used.items())
    assert set(ckpt["vae_hashes"]) == {"ligand", "protein"}


def test_stored_pocket_latents_change_the_loss_little(
    tiny: Tiny, vae_paths: list[str], denoiser_dir: Path, tmp_path: Path
) -> None:
    assert tiny.run("train-denoiser", tmp_path, *vae_paths, "--cache_latents") == 0
    (stored,) = tmp_path.glob("pocket_latents_*.safetensors")
    cached, plain = history(tmp_path, "denoiser"), history(denoiser_dir, "denoiser")
    assert [r["test_loss"] for r in cached] == pytest.approx([r["test_loss"] for r in plain], rel=0.02)
    before = stored.stat().st_mtime_ns
    assert tiny.run("train-denoiser", tmp_path, *vae_paths, "--cache_latents", "--resume", "auto") == 0
    assert stored.stat().st_mtime_ns == before


def test_gradient_checkpointing_changes_memory_not_losses(
    tiny: Tiny, vae_paths: list[str], denoiser_dir: Path, tmp_path: Path
) -> None:
    assert tiny.run("train-denoiser", tmp_path, *vae_paths, "--gradient_checkpointing") == 0
    again, plain = history(tmp_path, "denoiser"), history(denoiser_dir, "denoiser")
    assert [r["train_loss"] for r in again] == pytest.approx([r["train_loss"] for r in plain], rel=1e-6)


def test_joint_training_ends_with_samples(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(LigandGenerator, "_sizes", lambda self, latents, keys, *rest: torch.full_like(keys, 6))
    extra = ("--cfg_scale", "7.5", "--num_samples", "2", "--num_epochs", "1", "--limit", "4", "--save_interval", "1")
    assert tiny.run("train-all", tmp_path, *extra) == 0
    assert "Learning rate 0.0001 x sqrt(1) = 0.0001" in caplog.text
    assert LINE.search("\n".join(caplog.messages))
    names = files(tmp_path)
    assert {"best_model.pt", "checkpoints/checkpoint_epoch_1.pt", "losses_epoch_1.png"} <= names
    scales = {
        p.parent.name.split("_")[1]: json.loads(p.read_text())["identity"] for p in tmp_path.glob("*/samples.json")
    }
    assert scales["guided"]["sampling"]["cfg_scale"] == 7.5
    assert scales["unguided"]["sampling"]["cfg_scale"] == scales["unguided"]["sampling"]["cfg_scale_x"] == 1.0
    assert capsys.readouterr().out.count("valid_connected") == 2
    ckpt = content(tmp_path / "best_model.pt")
    assert KEYS | {"vae_state", "diffusion_state"} <= ckpt.keys()


def test_the_preset_of_the_earlier_scripts_trains(tiny: Tiny, tmp_path: Path) -> None:
    sizes = ["--set", "denoiser.self_layers=1", "--set", "denoiser.cross_layers=1", "--max_steps", "1", "--limit", "2"]
    words = [*tiny.flags, "--run_dir", str(tmp_path), "--num_samples", "0", "--preset", "origin", *sizes]
    del words[:2]  # the tiny config
    assert main(words, command="train-all") == 0
    ckpt = content(tmp_path / "best_model.pt")
    vocabulary = Vocabulary.from_dict(ckpt["vocabulary"])
    assert len(vocabulary.ligand_elements) == 10
    config = from_dict(Config, ckpt["config"])
    assert (config.ligand_vae.latent_width, config.diffusion.prediction) == (32, "eps")
