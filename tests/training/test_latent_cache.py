"""Stored pocket latents are those of the frozen VAE, and are never taken for another's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from ligandsmith.config import PocketVAEConfig
from ligandsmith.data.collate import collate_pockets
from ligandsmith.data.dataset import Split
from ligandsmith.data.vocabulary import VOCABULARY
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.training import latent_cache
from ligandsmith.training.latent_cache import cached_pocket_latents
from ligandsmith.training.loaders import DataOptions, open_records

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
