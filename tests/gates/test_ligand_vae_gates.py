"""G1 to G3: the shipped ligand VAE on held-out crystal ligands (validation split, scaffolds unseen in training)."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ligandsmith.batches import LigandBatch, collate_ligands
from ligandsmith.checkpoints.files import load_vae
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.report_card import ReportCard, ligand_report_card

pytestmark = pytest.mark.gate
WEIGHTS = Path(__file__).parents[2] / "src/ligandsmith/weights/ligand_vae_tiny.pt"
SHOWN = ("molecules", "element", "charge", "bond_recall", "false_bonds", "exact_graph", "rmsd_out", "bond_error_out")


@pytest.fixture(scope="module")
def vae() -> LigandVAE:
    loaded = load_vae(WEIGHTS, "ligand")
    model = LigandVAE(loaded.config, loaded.vocabulary)
    model.load_state_dict(loaded.state)
    return model.eval()


@pytest.fixture(scope="module")
def held_out() -> list[LigandBatch]:
    """Every ligand of the validation split: crystal ligands alone, and those of the complexes."""
    ligands = [ComplexDataset(None, "validation", kind)[i].ligand for kind in ("ligands", "complexes")
               for i in range(len(ComplexDataset(None, "validation", kind)))]  # fmt: skip
    ligands.sort(key=lambda m: m.num_atoms)
    return [collate_ligands(ligands[i : i + 20], VOCABULARY) for i in range(0, len(ligands), 20)]


def shown(card: ReportCard) -> dict[str, float | int | str]:
    return {k: v for k, v in asdict(card).items() if k in SHOWN}


def test_g1_reconstruction(vae: LigandVAE, held_out: list[LigandBatch], record) -> None:
    """Ligand VAE, posterior mean, held-out real ligands"""
    card = ligand_report_card(vae, held_out)
    record("G1", "element, charge ≥ .995, bonds ≥ .99, false ≤ .005, exact ≥ .90, RMSD ≤ 0.1 Å", shown(card))
    assert card.element >= 0.995
    assert card.charge >= 0.995
    assert card.bond_recall >= 0.99
    assert card.false_bonds <= 0.005
    assert card.exact_graph >= 0.90
    assert card.rmsd_out <= 0.1


def test_g1_guard_random_decoder_fails(vae: LigandVAE, held_out: list[LigandBatch], record) -> None:
    """The same with a decoder of random weights: must fail"""
    torch.manual_seed(0)
    card = ligand_report_card(LigandVAE(vae.config, vae.vocabulary), held_out[:4])
    record("G1 guard", "exact graph = 0", shown(card))
    assert card.exact_graph == 0


def test_g1b_denoises(vae: LigandVAE, held_out: list[LigandBatch], record) -> None:
    """Ligand VAE with 0.1 Å per axis on z_x"""
    card, clean = ligand_report_card(vae, held_out, noise_x=0.1), ligand_report_card(vae, held_out)
    measured = {"RMSD in": card.rmsd_in, "RMSD out": card.rmsd_out, "bond error in": card.bond_error_in,
                "bond error out": card.bond_error_out, "clean bond error": clean.bond_error_out}  # fmt: skip
    record("G1b", "RMSD out < in, bond error ≤ 0.12 Å (0.08 fully trained), clean ≤ 0.03 Å", measured)
    assert card.rmsd_out < card.rmsd_in
    assert card.bond_error_out <= 0.12
    assert clean.bond_error_out <= 0.03


def test_g2_robust(vae: LigandVAE, held_out: list[LigandBatch], record) -> None:
    """Ligand VAE with 0.1 Å on z_x and 0.25 s.d. on z_h"""
    card = ligand_report_card(vae, held_out, noise_x=0.1, noise_h=0.25)
    record("G2", "element ≥ .99, bonds ≥ .97", shown(card))
    assert card.element >= 0.99
    assert card.bond_recall >= 0.97


def test_g3_latent(vae: LigandVAE, held_out: list[LigandBatch], record) -> None:
    """Information in the latents"""
    card = ligand_report_card(vae, held_out)
    record("G3", "≥ 4 active dimensions, 2 < KL < 12 nats/atom", {"active": card.active_dimensions, "KL": card.kl})
    assert card.active_dimensions >= 4
    assert 2 < card.kl < 12
