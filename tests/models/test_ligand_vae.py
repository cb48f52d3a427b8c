"""The ligand VAE: what its latents may depend on, and the symmetries of its decoder."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from networks import Skewed, double_precision, doubled, ligand_config, rotation, wake, without_chirality
from rdkit import Chem
from torch import Tensor

from ligandsmith.batches import ComplexBatch, LigandBatch, collate_ligands
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.fragments import draw_fragment
from ligandsmith.models.ligand_vae import DECODER_MAX_MOVE, LigandVAE
from ligandsmith.predictions import LigandPrediction
from ligandsmith.records import Complex, Ligand
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand
from ligandsmith.structure.vocabulary import VOCABULARY

SHIFT = torch.tensor([4.0, -7.0, 2.5], dtype=torch.float64)


def make(backbone: str = "eqattn", seed: int = 0) -> LigandVAE:
    torch.manual_seed(seed)
    vae = wake(LigandVAE(ligand_config(backbone), VOCABULARY))
    assert isinstance(vae, LigandVAE)
    return vae


def latents(ligand: LigandBatch, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(*ligand.mask.shape, 3 + width, generator=generator).to(ligand.x.dtype)
    return ligand.x + 0.1 * noise[..., :3], noise[..., 3:]


def logits(p: LigandPrediction) -> list[Tensor]:
    pair = p.mask.unsqueeze(1) & p.mask.unsqueeze(2)
    return [p.element[p.mask], p.charge[p.mask], p.aromatic[p.mask], p.num_h[p.mask], p.bonds[pair]]


def worst(a: LigandPrediction, b: LigandPrediction, moved: Tensor) -> float:
    """Largest difference of the classes' logits, and of b's coordinates from `moved`, those expected from a's."""
    pairs = zip([*logits(a), moved[a.mask]], [*logits(b), b.x[b.mask]], strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)


def deviation(vae: LigandVAE, ligand: LigandBatch, q: Tensor) -> float:
    """How far decoding of rotated and shifted latents is from the rotated and shifted decoding."""
    q, shift = q.to(ligand.x.dtype), SHIFT.to(ligand.x.dtype)
    z_x, z_h = latents(ligand)
    with torch.no_grad():
        plain, turned = vae.decode(z_x, z_h, ligand.mask), vae.decode(z_x @ q + shift, z_h, ligand.mask)
    return worst(plain, turned, plain.x @ q + shift)


def test_decoding_turns_and_shifts_with_the_latents(
    batch: ComplexBatch, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = make(backbone)
    assert deviation(vae, batch.ligand, rotation()) < 1e-4
    with double_precision(monkeypatch):
        assert deviation(vae.double(), doubled(batch.ligand), rotation()) < 1e-9


def test_a_broken_block_is_caught(batch: ComplexBatch) -> None:
    vae = make()
    vae.decoder[1] = Skewed(vae.decoder[1])
    assert deviation(vae, batch.ligand, rotation()) > 1e-2


def test_a_mirror_image_is_another_molecule_unless_chirality_is_off(batch: ComplexBatch) -> None:
    vae = make()
    assert deviation(vae, batch.ligand, rotation(reflected=True)) > 3e-4
    without_chirality(vae)
    assert deviation(vae, batch.ligand, rotation(reflected=True)) < 1e-4


def test_decoding_moves_atoms_but_not_far(batch: ComplexBatch) -> None:
    vae = make()
    z_x, z_h = latents(batch.ligand)
    with torch.no_grad():
        moves = (vae.decode(z_x, z_h, batch.ligand.mask).x - z_x).norm(dim=-1)[batch.ligand.mask]
    assert float(moves.max()) < DECODER_MAX_MOVE * len(vae.decoder)
    assert float(moves.max()) > 0.01


def test_the_order_of_the_atoms_does_not_matter(batch: ComplexBatch, backbone: str) -> None:
    vae, ligand = make(backbone), batch.ligand
    n = ligand.mask.shape[1]
    p = torch.randperm(n, generator=torch.Generator().manual_seed(3))
    shuffled = {f.name: getattr(ligand, f.name) for f in fields(ligand)}
    shuffled = {k: v if v is None or k == "properties" else v[:, p] for k, v in shuffled.items()}
    shuffled["bonds"] = shuffled["bonds"][:, :, p]
    z_x, z_h = latents(ligand)
    with torch.no_grad():
        plain, other = vae.encode(ligand), vae.encode(LigandBatch(**shuffled))
        assert torch.allclose(other.mean_h, plain.mean_h[:, p], atol=1e-5)
        plain, other = vae.decode(z_x, z_h, ligand.mask), vae.decode(z_x[:, p], z_h[:, p], ligand.mask[:, p])
    assert torch.allclose(other.x, plain.x[:, p], atol=1e-5)
    assert torch.allclose(other.bonds, plain.bonds[:, p][:, :, p], atol=1e-5)


def test_batch_mates_and_padding_do_not_matter(records: list[Complex], batch: ComplexBatch, backbone: str) -> None:
    vae = make(backbone)
    z_x, z_h = latents(batch.ligand)
    together, posterior = vae.decode(z_x, z_h, batch.ligand.mask), vae.encode(batch.ligand)
    for i, record in enumerate(records):
        n = record.ligand.num_atoms
        one = collate_ligands([record.ligand], VOCABULARY)
        alone = vae.decode(z_x[i : i + 1, :n], z_h[i : i + 1, :n], one.mask)
        assert torch.allclose(alone.x[0], together.x[i, :n], atol=1e-5)
        assert torch.allclose(alone.bonds[0], together.bonds[i, :n, :n], atol=1e-5)
        assert torch.allclose(alone.element[0], together.element[i, :n], atol=1e-5)
        assert torch.allclose(vae.encode(one).mean_h[0], posterior.mean_h[i, :n], atol=1e-5)


def test_bond_logits_are_symmetric(batch: ComplexBatch, backbone: str) -> None:
    bonds = make(backbone).decode(*latents(batch.ligand), batch.ligand.mask).bonds
    assert torch.allclose(bonds, bonds.transpose(1, 2), atol=1e-5)


def test_a_latent_depends_on_what_is_within_two_bonds(batch: ComplexBatch, backbone: str) -> None:
    vae, ligand = make(backbone), batch.ligand
    changed = ligand.element.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 3
    with torch.no_grad():
        before, after = vae.encode(ligand), vae.encode(replace(ligand, element=changed))
    bonded = (ligand.bonds[0] > 0).float() + torch.eye(ligand.mask.shape[1])
    reached = (bonded @ bonded)[0] > 0
    moved = (before.mean_h - after.mean_h).abs().amax(-1)[0]
    assert float(moved[~reached].max()) == 0
    assert float(moved[reached].min()) > 1e-6
    assert 3 <= int(reached.sum()) < int(ligand.mask[0].sum())


def test_latents_of_chemistry_do_not_see_coordinates(batch: ComplexBatch) -> None:
    vae = make()
    far = replace(batch.ligand, x=batch.ligand.x * 2 + 1)
    assert torch.equal(vae.encode(far).mean_h, vae.encode(batch.ligand).mean_h)
    assert torch.equal(vae.encode(far).mean_x, far.x)


def test_the_decoder_reads_the_noise_level(batch: ComplexBatch) -> None:
    vae = make()
    z_x, z_h = latents(batch.ligand)
    usual = vae.decode(z_x, z_h, batch.ligand.mask)
    named = vae.decode(z_x, z_h, batch.ligand.mask, torch.full((4,), vae.config.sigma_x))
    other = vae.decode(z_x, z_h, batch.ligand.mask, torch.full((4,), 0.2))
    assert torch.equal(usual.x, named.x)
    assert not torch.allclose(usual.x, other.x, atol=1e-4)


def test_a_fragment_is_encoded_like_the_molecule_it_is() -> None:
    """A piece of each ligand, cut at its bonds, against the same piece as a record of its own."""
    vae = make()
    data = ComplexDataset(None, "train")
    drawn = ((m := data[i].ligand, draw_fragment(m, np.random.default_rng(i))) for i in range(30))
    whole, fixed = zip(*((m, part) for m, part in drawn if part is not None), strict=True)
    assert len(whole) > 5
    pieces = []
    for ligand, part in zip(whole, fixed, strict=True):
        mol = mol_from_ligand(ligand)
        cut = [b.GetIdx() for b in mol.GetBonds() if part[b.GetBeginAtomIdx()] != part[b.GetEndAtomIdx()]]
        apart = Chem.FragmentOnBonds(mol, cut, addDummies=False)
        kept = Chem.RWMol(apart)
        for i in sorted(np.flatnonzero(~part).tolist(), reverse=True):
            kept.RemoveAtom(i)
        piece = kept.GetMol()
        for atom in piece.GetAtoms():
            atom.SetNoImplicit(False)
        Chem.SanitizeMol(piece)
        found = ligand_from_mol(piece, "piece", piece.GetConformer().GetPositions(), whole=False)
        assert isinstance(found, Ligand), found
        pieces.append(found)
    together = collate_ligands([replace(m, fixed=f) for m, f in zip(whole, fixed, strict=True)], VOCABULARY)
    with torch.no_grad():
        latent = vae.encode_fragment(together)
        for row, (part, piece) in enumerate(zip(fixed, pieces, strict=True)):
            alone = vae.encode(collate_ligands([piece], VOCABULARY)).mean_h[0]
            assert torch.allclose(latent[row, : len(part)][torch.from_numpy(part)], alone, atol=1e-4)
