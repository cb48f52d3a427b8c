"""Files of adapters: small, for one base only, and as good as the merged weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ligandsmith
from ligandsmith.checkpoints.adapter import Adapter, base_state, load_adapter, save_adapter, with_adapter
from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import fingerprint, load_checkpoint, save_checkpoint
from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.config import Config, from_dict
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.errors import LigandsmithError
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.lora import SCALE, adapters, add_adapters
from tiny_runs import ROOT


def made_adapter(name: str, rank: int, spread: float = 0.01) -> Adapter:
    """An adapter of shipped weights with random numbers."""
    content = load_checkpoint(Path(name), ("denoiser",))
    model = DiffusionModel(from_dict(Config, content["config"]))
    torch.manual_seed(0)
    add_adapters(model.denoiser, rank)
    found = adapters(model)
    for layer in found.values():
        nn.init.normal_(layer.b, std=spread)
    pairs = {name: (layer.a.detach(), layer.b.detach()) for name, layer in found.items()}
    shifts = {"size.net.2.bias": torch.linspace(-1, 1, 76)}
    return Adapter(fingerprint(base_state(content)), pairs, SCALE, shifts, {"rank": str(rank)})


def test_a_file_holds_the_adapter_in_less_than_a_megabyte(tmp_path: Path) -> None:
    adapter = made_adapter("small", 8).rounded()
    save_adapter(tmp_path / "a.safetensors", adapter)
    assert (tmp_path / "a.safetensors").stat().st_size < 1_000_000
    again = load_adapter(tmp_path / "a.safetensors")
    assert (again.base, again.scale, again.about["rank"]) == (adapter.base, adapter.scale, "8")
    assert again.pairs.keys() == adapter.pairs.keys()
    for name, (a, b) in adapter.pairs.items():
        assert torch.equal(again.pairs[name][0], a)
        assert torch.equal(again.pairs[name][1], b)
    assert torch.equal(again.shifts["size.net.2.bias"], adapter.shifts["size.net.2.bias"])


def test_it_fits_weights_whose_layers_had_other_names(tmp_path: Path) -> None:
    save_adapter(tmp_path / "a.safetensors", adapter := made_adapter("small", 2).rounded())
    name = "denoiser.self_blocks.0.triangle.sides"  # triangle_sides in the file of `small`
    a, b = adapter.pairs[name]
    plain, adapted = (ligandsmith.load("small", adapter=p).model.state_dict()[f"{name}.weight"]
                      for p in (None, tmp_path / "a.safetensors"))  # fmt: skip
    assert (adapted - plain - SCALE * b.float() @ a.float()).abs().max() < 1e-6


def test_a_larger_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match=r"1\.3 MB, at most 1"):
        save_adapter(tmp_path / "a.safetensors", made_adapter("small", 16))
    assert not list(tmp_path.iterdir())


def test_ligands_with_an_adapter_are_those_of_merged_weights(tmp_path: Path) -> None:
    save_adapter(tmp_path / "a.safetensors", made_adapter("tiny", 4))
    content = load_checkpoint(Path("tiny"), ("denoiser",))
    save_checkpoint(tmp_path / "merged.pt", with_adapter(content, tmp_path / "a.safetensors"))
    pocket = ComplexDataset(None, "validation")[3].pocket
    assert pocket is not None

    def positions(generator: ligandsmith.load) -> torch.Tensor:  # type: ignore[valid-type]
        ligand = generator.generate(pocket, 1, num_atoms="8", steps=3, candidates=1, relax=False)[0]  # type: ignore[attr-defined]
        assert ligand.mol is not None, ligand.reason
        return torch.tensor(ligand.mol.GetConformer().GetPositions())

    adapted = ligandsmith.load("tiny", adapter=tmp_path / "a.safetensors")
    merged, plain = ligandsmith.load(tmp_path / "merged.pt"), ligandsmith.load("tiny")
    assert torch.equal(positions(adapted), positions(merged))
    assert not torch.equal(positions(adapted), positions(plain))
    assert adapted.checkpoint_hash.startswith(f"{plain.checkpoint_hash}+")


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path / "a.safetensors", made_adapter("tiny", 2))
    with pytest.raises(LigandsmithError, match="made for a denoiser with the fingerprint") as caught:
        ligandsmith.load("small", adapter=tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no adapter")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    adapter = made_adapter("tiny", 2)
    save_adapter(tmp_path / "wild.safetensors", Adapter(
        adapter.base, adapter.pairs, adapter.scale, {"size.net.2.bias": torch.full((76,), torch.nan)}
    ))  # fmt: skip
    for name, said in (
        ("text", "not a readable adapter"), ("other.safetensors", "not an adapter"), ("absent", "no such adapter"),
        ("wild.safetensors", "not finite"),
    ):  # fmt: skip
        with pytest.raises(LigandsmithError, match=said) as caught:
            load_adapter(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_an_adapter_that_names_an_unknown_layer_is_refused(tmp_path: Path) -> None:
    adapter = made_adapter("tiny", 2)
    pairs = {"denoiser.no_such_layer": (torch.zeros(2, 4), torch.zeros(4, 2))}
    save_adapter(tmp_path / "a.safetensors", Adapter(adapter.base, pairs, SCALE))
    with pytest.raises(LigandsmithError, match="does not fit"):
        with_adapter(slim(load_checkpoint(Path("tiny"), ("denoiser",))), tmp_path / "a.safetensors")


SITE = ROOT / "examples/complexes/7sza"
PROTEIN, LIGAND = str(SITE / "protein.pdb.gz"), str(SITE / "ligand.sdf")


def test_every_command_that_makes_ligands_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_adapter(tmp_path / "a.safetensors", made_adapter("small", 2))
    own = {"generate": ["--ligand", LIGAND], "optimise": ["--ligand", LIGAND], "analogues": [LIGAND]}
    (tmp_path / "pockets.csv").write_text(f"pocket,protein,ligand\na,{PROTEIN},{LIGAND}\n")
    adapter = ["--checkpoint", "tiny", "--adapter", str(tmp_path / "a.safetensors"), "--device", "cpu"]
    requests = [[command, *words, "--protein", PROTEIN] for command, words in own.items()]
    for words in [*requests, ["generate", "--manifest", str(tmp_path / "pockets.csv")]]:
        assert main([*words, *adapter, "--out", str(tmp_path / "out")]) == FAILED
        message = capsys.readouterr().err
        assert "made for a denoiser with the fingerprint" in message
        assert message.count("\n") == 1


def test_workers_load_it(tmp_path: Path) -> None:
    save_adapter(tmp_path / "a.safetensors", made_adapter("tiny", 2))
    (tmp_path / "pockets.csv").write_text(f"pocket,protein,ligand\na,{PROTEIN},{LIGAND}\n")
    words = ["generate", "--checkpoint", "tiny", "--adapter", str(tmp_path / "a.safetensors"), "--device", "cpu"]
    words += ["--manifest", str(tmp_path / "pockets.csv"), "--num", "1", "--num_atoms", "6", "--steps", "2"]
    assert main([*words, "--candidates", "1", "--out", str(tmp_path / "run")]) == OK
    identity = json.loads((tmp_path / "run/a/samples.json").read_text())["identity"]
    assert identity["checkpoint"] == ligandsmith.load("tiny", adapter=tmp_path / "a.safetensors").checkpoint_hash
