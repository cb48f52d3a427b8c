"""A small configuration and real complexes, cut small."""

from dataclasses import replace

import pytest
import torch

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config, DenoiserConfig, LigandVAEConfig, PocketConfig, PocketVAEConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY

SIZES = {"width": 32, "edge_width": 16, "channels": 4}


@pytest.fixture(scope="session")
def config() -> Config:
    return Config(
        ligand_vae=LigandVAEConfig(decoder_layers=2, **SIZES),
        pocket_vae=PocketVAEConfig(layers=2, latent_width=6, neighbors=12, **SIZES),
        denoiser=DenoiserConfig(self_layers=2, cross_layers=2, cross_neighbors=12, anchors=4, **SIZES),
        pocket=PocketConfig(radius=5.0, calpha_radius=6.0, max_atoms=90),
    )


@pytest.fixture(scope="session")
def records(config: Config) -> list[Complex]:
    """Three complexes of different sizes and a ligand without a pocket, in their frames."""
    data = ComplexDataset(None, "train")
    found = [to_frame(data[i], config.pocket) for i in (3, 4, 9)]
    return [*found, to_frame(replace(data[8], pocket=None), config.pocket)]


@pytest.fixture(scope="session")
def batch(records: list[Complex]) -> ComplexBatch:
    """All four, padded; the last row has no pocket."""
    return collate(records, VOCABULARY)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.full((4,), 0.25)
