"""The pocket VAE: invariant latents, side-chain directions that turn with the pocket, and the masking task."""

from dataclasses import replace

import pytest
import torch
from networks import double_precision, doubled, pocket_config, rotation, wake
from torch import Tensor

from ligandsmith.batches import ComplexBatch, PocketBatch, collate_pockets
from ligandsmith.diffusion import rng
from ligandsmith.models.pocket_vae import GLYCINE, PocketVAE, residue_means
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import BACKBONE_NAMES, CALPHA, VOCABULARY

SEEDS = rng.make_seeds(2, torch.arange(4))
SHIFT = torch.tensor([3.0, -2.0, 8.0], dtype=torch.float64)


def make(backbone: str = "eqattn") -> PocketVAE:
    torch.manual_seed(0)
    vae = wake(PocketVAE(pocket_config(backbone), VOCABULARY))
    assert isinstance(vae, PocketVAE)
    return vae


@pytest.fixture
def pocket(batch: ComplexBatch) -> PocketBatch:
    """Three pockets and an empty row."""
    assert batch.pocket is not None
    return batch.pocket


def deviation(vae: PocketVAE, pocket: PocketBatch, q: Tensor) -> float:
    """Of latents from unchanged ones, of classes likewise, of offsets from turned ones, under rotation and shift."""
    q = q.to(pocket.x.dtype)
    turned = replace(pocket, x=pocket.x @ q + SHIFT.to(pocket.x.dtype))
    with torch.no_grad():
        z, z_turned = vae.encode(pocket).mean_h, vae.encode(turned).mean_h
        a, b = vae.decode(z, pocket), vae.decode(z, turned)
    pairs = ((z, z_turned), (a.residue, b.residue), (a.offset @ q, b.offset))
    return max(float((x - y)[pocket.mask].abs().max()) for x, y in pairs)


def test_latents_stay_and_directions_turn_with_the_pocket(
    pocket: PocketBatch, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = make(backbone)
    assert deviation(vae, pocket, rotation()) < 1e-4
    with double_precision(monkeypatch):
        assert deviation(vae.double(), doubled(pocket), rotation()) < 1e-9


def test_a_mirrored_pocket_is_another_pocket(pocket: PocketBatch) -> None:
    assert deviation(make(), pocket, rotation(reflected=True)) > 3e-4


def test_batch_mates_and_padding_do_not_matter(records: list[Complex], pocket: PocketBatch, backbone: str) -> None:
    vae = make(backbone)
    posterior = vae.encode(pocket)
    prediction = vae.decode(posterior.mean_h, pocket)
    for i, record in enumerate(records[:3]):
        one = collate_pockets([record.pocket], VOCABULARY)
        assert one is not None
        m = one.mask.shape[1]
        alone = vae.encode(one)
        assert torch.allclose(alone.mean_h[0], posterior.mean_h[i, :m], atol=1e-5)
        assert torch.allclose(alone.logvar_h[0], posterior.logvar_h[i, :m], atol=1e-5)
        assert torch.allclose(vae.decode(alone.mean_h, one).offset[0], prediction.offset[i, :m], atol=1e-5)


def test_an_empty_row_gives_finite_latents_and_gradients(pocket: PocketBatch, backbone: str) -> None:
    vae = make(backbone)
    posterior = vae.encode(pocket)
    assert not posterior.mean_h[3].any()
    vae.decode(posterior.mean_h, pocket).offset.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in vae.parameters() if p.grad is not None)


def test_neighbours_are_the_nearest_other_atoms(pocket: PocketBatch) -> None:
    vae = make()
    edges = vae.edges(pocket)
    assert edges.index is not None
    m = int(pocket.mask[0].sum())
    distance = torch.cdist(pocket.x[0, :m].double(), pocket.x[0, :m].double()) + 1e9 * torch.eye(m)
    expected = distance.topk(vae.config.neighbors, largest=False).values.sort().values
    found = edges.distance[0, :m].masked_fill(~edges.mask[0, :m], torch.inf).sort().values[:, : vae.config.neighbors]
    assert torch.allclose(found.double(), expected, atol=1e-3)
    assert (edges.mask.sum(-1)[pocket.mask] == vae.config.neighbors).all()
    assert not edges.mask[~pocket.mask].any()


def test_a_masked_residue_keeps_its_backbone_only(pocket: PocketBatch) -> None:
    vae = make()
    seen, masked, offset = vae.mask_side_chains(pocket, SEEDS)
    backbone = torch.tensor([name in BACKBONE_NAMES for name in VOCABULARY.atom_names])[pocket.atom_name]
    lost = seen.residue == vae.unknown
    assert 0 < int(masked.sum()) < 0.5 * int((pocket.mask & (pocket.atom_name == CALPHA)).sum())
    assert not (seen.mask & lost & ~backbone).any()
    assert torch.equal(seen.mask | (lost & ~backbone), pocket.mask)
    assert (pocket.residue[masked] != GLYCINE).all()
    assert (pocket.atom_name[masked] == CALPHA).all()
    row, atom = (int(v) for v in masked.nonzero()[0])
    side = (pocket.residue_index[row] == pocket.residue_index[row, atom]) & pocket.mask[row] & ~backbone[row]
    centroid = pocket.x[row][side].mean(0)
    assert torch.allclose(offset[row, atom], centroid - pocket.x[row, atom], atol=1e-4)


def test_which_residues_are_masked_depends_on_the_key_only(records: list[Complex], pocket: PocketBatch) -> None:
    vae = make()
    together, *_ = vae.mask_side_chains(pocket, SEEDS)
    one = collate_pockets([records[1].pocket], VOCABULARY)
    assert one is not None
    alone, *_ = vae.mask_side_chains(one, SEEDS[1:2])
    assert torch.equal(alone.residue[0], together.residue[1, : one.mask.shape[1]])
    other, *_ = vae.mask_side_chains(pocket, SEEDS + 1)
    assert not torch.equal(other.residue, together.residue)


def test_residue_means_are_per_residue() -> None:
    x = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [4, 0, 0], [9, 9, 9]]])
    index = torch.tensor([[0, 0, 1, 1]])
    mean, number = residue_means(x, index, torch.tensor([[True, True, True, False]]))
    assert mean[0, :, 0].tolist() == [1, 1, 4, 4]
    assert number.tolist() == [[2, 2, 1, 1]]
