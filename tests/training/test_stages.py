"""What a stage refuses: other frozen VAEs on resuming, VAEs that do not fit together."""

from pathlib import Path

import pytest
import torch

from ligandsmith.checkpoints.files import fingerprint, load_vae
from ligandsmith.cli.main import FAILED
from ligandsmith.errors import LigandsmithError
from tiny_runs import Tiny


def test_a_denoiser_is_resumed_with_its_own_vaes_only(
    tiny: Tiny, vae_paths: list[str], denoiser_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny.run("train-vae", tmp_path, "--model_type", "ligand", "--seed", "5", "--max_steps", "1") == 0
    other = tmp_path / "best_ligand_vae.pt"
    resume = ("--resume", str(denoiser_dir / "checkpoints/denoiser_last.pt"))
    capsys.readouterr()
    for paths in (["--ligand_vae_path", str(other), *vae_paths[2:]], vae_paths[:2]):
        assert tiny.run("train-denoiser", tmp_path / "run", *paths, *resume) == FAILED
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("error: the run to resume froze the VAEs")
        assert fingerprint(load_vae(Path(paths[1]), "ligand").state) in line
        assert fingerprint(load_vae(Path(vae_paths[1]), "ligand").state) in line


def test_two_vaes_must_share_their_vocabulary(
    tiny: Tiny, vae_paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(vae_paths[1], weights_only=True)
    content["vocabulary"]["charges"] = [0, 1, -1]
    torch.save(content, tmp_path / "other.pt")
    paths = ("--ligand_vae_path", str(tmp_path / "other.pt"), *vae_paths[2:])
    assert tiny.run("train-denoiser", tmp_path / "run", *paths) == FAILED
    assert "different vocabularies (charges)" in capsys.readouterr().err


def test_the_averaged_weights_of_a_vae_are_used_also_from_within_a_denoiser(
    vae_paths: list[str], denoiser_dir: Path
) -> None:
    alone, inside = (load_vae(path, "ligand").state for path in (Path(vae_paths[1]), denoiser_dir / "best_denoiser.pt"))
    trained = torch.load(vae_paths[1], weights_only=True)["vae_state"]
    assert fingerprint(alone) == fingerprint(inside) != fingerprint(trained)
    with pytest.raises(LigandsmithError, match="expected protein_vae"):
        load_vae(Path(vae_paths[1]), "protein")
