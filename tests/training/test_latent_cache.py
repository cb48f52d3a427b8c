"""Stored pocket latents are those of the frozen VAE, and are never taken for another's."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from ligandsmith.batches import collate, collate_pockets
from ligandsmith.config import Config, PocketConfig, PocketVAEConfig
from ligandsmith.data.collate import FramedDataset
from ligandsmith.data.dataset import Split
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.options import DataOptions
from ligandsmith.structure.pocket import frame_origin, kept_atoms, mark_pocket
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training import latent_cache
from ligandsmith.training.latent_cache import cached_pocket_latents
from ligandsmith.training.loaders import open_records
from ligandsmith.training.losses import encoded_pocket

OPTIONS = DataOptions(limit=3)


@pytest.fixture(scope="module")
def vae() -> PocketVAE:
    torch.manual_seed(0)
    config = PocketVAEConfig(width=32, edge_width=16, layers=1, heads=2, channels=4, neighbors=8)
    return PocketVAE(config, VOCABULARY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu")


def test_latents_are_those_of_each_pocket_alone(vae: PocketVAE, fabric: Fabric, tmp_path: Path) -> None:
    latents = cached_pocket_latents(vae, OPTIONS, VOCABULARY, tmp_path, fabric)
    assert len(latents) == 6  # of the training and of the validation split
    records, _ = open_records(OPTIONS, Split.TRAIN, "pockets")
    for i in range(3):
        pocket = records[i].pocket
        assert pocket is not None
        batch = collate_pockets([replace(pocket, x=pocket.x - pocket.x.mean(0))], VOCABULARY)
        assert batch is not None
        alone = vae.encode(batch).mean_h[0].numpy()
        np.testing.assert_allclose(latents[records[i].id].astype(np.float32), alone, rtol=2e-3, atol=2e-3)


def test_they_are_computed_once_for_each_vae_and_each_choice_of_records(
    vae: PocketVAE, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_pocket_latents(vae, OPTIONS, VOCABULARY, tmp_path, fabric)
    cached_pocket_latents(vae, replace(OPTIONS, limit=1), VOCABULARY, tmp_path, fabric)
    other = PocketVAE(vae.config, VOCABULARY)
    cached_pocket_latents(other, OPTIONS, VOCABULARY, tmp_path, fabric)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(latent_cache, "_encode", None)
    again = cached_pocket_latents(vae, OPTIONS, VOCABULARY, tmp_path, fabric)
    assert again.keys() == first.keys()
    assert all(np.array_equal(again[id], first[id]) for id in first)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_stored_latents_are_those_that_training_and_generation_encode(
    vae: PocketVAE, fabric: Fabric, tmp_path: Path, split: Split
) -> None:
    """A pocket is encoded with its surroundings and cut afterwards, whoever does it, and whenever."""
    config, anchors = PocketConfig(radius=5.0, calpha_radius=7.0, min_training_radius=4.0), 4
    records, _ = open_records(OPTIONS, split, "complexes")
    latents = cached_pocket_latents(vae, OPTIONS, VOCABULARY, tmp_path, fabric)
    framed = partial(FramedDataset, records, config, 0 if split == Split.TRAIN else None, surroundings=True)
    fresh = [framed()[i] for i in range(3)]
    stored = [framed(pocket_latents=latents)[i] for i in range(3)]
    a, b = (encoded_pocket(vae, collate(found, VOCABULARY), anchors) for found in (fresh, stored))
    assert all(r.pocket is not None and r.pocket.kept is None for r in stored)
    assert torch.equal(a.mask, b.mask)
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.tokens, b.tokens)
    assert torch.allclose(a.h[a.mask], b.h[b.mask], atol=3e-3)
    alone = collate([replace(r, pocket=kept_atoms(r.pocket)) for r in fresh], VOCABULARY)
    cut_first = encoded_pocket(vae, alone, anchors)
    assert not torch.allclose(cut_first.h[a.mask], a.h[a.mask], atol=3e-3)


def test_generation_encodes_as_training_does(vae: PocketVAE) -> None:
    record = open_records(OPTIONS, Split.VALIDATION, "complexes")[0][0]
    assert record.pocket is not None
    torch.manual_seed(0)
    config = replace(Config(), pocket_vae=vae.config)
    vaes = build_vaes(config, VOCABULARY)
    content = {
        "kind": "denoiser", "config": asdict(config), "vocabulary": VOCABULARY.to_dict(),
        "diffusion_state": DiffusionModel(config).state_dict(),
        "vae_state": {f"{name}.{k}": v for name, vae in vaes.items() for k, v in vae.state_dict().items()},
    }  # fmt: skip
    generator = LigandGenerator(content, "hash")
    marked = mark_pocket(record.pocket, record.ligand.x, config.pocket)
    found, origin = generator.encode(marked)
    framed = FramedDataset([record], config.pocket, None, surroundings=True)[0]
    expected = encoded_pocket(vaes["protein"].eval(), collate([framed], VOCABULARY), config.denoiser.anchors)
    assert np.allclose(origin, frame_origin(marked), atol=1e-4)
    assert torch.allclose(found.x, expected.x, atol=1e-4)
    assert torch.allclose(found.h, expected.h, atol=1e-4)
    assert int(found.mask.sum()) == int(marked.kept.sum()) < record.pocket.num_atoms
