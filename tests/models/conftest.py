"""Real complexes of the shipped data set, cut small."""

from dataclasses import replace

import pytest

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import PocketConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY

CUT = PocketConfig(radius=5.0, calpha_radius=6.0, max_atoms=90)


@pytest.fixture(scope="session")
def records() -> list[Complex]:
    """Three complexes of different sizes and a ligand without a pocket, in their frames."""
    data = ComplexDataset(None, "train")
    found = [to_frame(data[i], CUT) for i in (3, 4, 9)]
    return [*found, to_frame(replace(data[8], pocket=None), CUT)]


@pytest.fixture(scope="session")
def batch(records: list[Complex]) -> ComplexBatch:
    """All four, padded; the last row has no pocket."""
    return collate(records, VOCABULARY)


@pytest.fixture(params=["eqattn", "egnn"])
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)
