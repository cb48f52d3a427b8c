"""Exported weights load back identically, hold no code, and damaged folders are one-line errors."""

import json
from pathlib import Path

import pytest
import torch
from rdkit import Chem

from ligandsmith.checkpoints.export import CARD, CONFIG, TENSORS, load_exported
from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.cli.main import FAILED, main
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.structure.pocket import read_pocket
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7off"


def blocks(generator: LigandGenerator) -> list[str]:
    pocket, _ = read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")
    made = generator.generate(pocket, num=3, seed=1, steps=3, num_atoms="8")
    return [m.reason if m.mol is None else Chem.MolToMolBlock(m.mol) for m in made]


def test_an_exported_denoiser_makes_the_same_molecules(denoiser_dir: Path, tmp_path: Path) -> None:
    best = denoiser_dir / "best_denoiser.pt"
    assert main(["export", str(best), "--out", str(tmp_path)]) == 0
    ours, theirs = load(tmp_path), load(best)
    assert ours.fingerprints() == theirs.fingerprints()
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert blocks(ours) == blocks(theirs)
    card = (tmp_path / CARD).read_text()
    assert "denoiser" in card
    assert f"test loss {load_checkpoint(best)['test_loss']:.4f}" in card


def test_a_card_of_ones_own_comes_along(denoiser_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# Mine\n")
    words = ["export", str(denoiser_dir / "best_denoiser.pt"), "--out", str(tmp_path / "out")]
    assert main([*words, "--card", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "out" / CARD).read_text() == "# Mine\n"


def test_a_vae_is_exported_and_is_no_generator(vae_dir: Path, tmp_path: Path) -> None:
    assert main(["export", str(vae_dir / "best_ligand_vae.pt"), "--out", str(tmp_path)]) == 0
    state = load_exported(tmp_path)["vae_state"]
    average = load_checkpoint(vae_dir / "best_ligand_vae.pt")["ema_state"]["values"]
    assert all(torch.equal(value, average[f"vae.{name}"]) for name, value in state.items())
    with pytest.raises(LigandsmithError, match="holds a ligand_vae; expected denoiser or joint"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["no tensors", "no config", "cut tensors", "other json", "other version"])
def test_a_damaged_folder_is_one_line(
    damage: str, denoiser_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(denoiser_dir / "best_denoiser.pt"), "--out", str(tmp_path)])
    if damage == "no tensors":
        (tmp_path / TENSORS).unlink()
    elif damage == "no config":
        (tmp_path / CONFIG).unlink()
    elif damage == "cut tensors":
        (tmp_path / TENSORS).write_bytes((tmp_path / TENSORS).read_bytes()[:1000])
    else:
        (tmp_path / CONFIG).write_text(json.dumps([1] if damage == "other json" else {"format_version": 99}))
    capsys.readouterr()
    words = ["generate", "--checkpoint", str(tmp_path), "--protein", str(SITE / "protein.pdb.gz")]
    assert main([*words, "--ligand", str(SITE / "ligand.sdf"), "--out", str(tmp_path / "out")]) == FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"error: {tmp_path}")
