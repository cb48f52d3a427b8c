"""Ligands that begin from others: held parts stay, and nothing depends on what else is in the batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.fragment import read_fragment
from ligandsmith.chem.plausibility import Defects, PocketAtoms
from ligandsmith.diffusion import rng
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.generation.sampler import GROUP, Batch, Candidate, LigandSampler, SamplingTask, Start, _better, _groups
from ligandsmith.records import GeneratedLigand, Ligand
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand
from ligandsmith.structure.pocket import read_pocket
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
SIZES = torch.tensor([9, 12, 12])
SEEDS = rng.make_seeds(4, torch.arange(3))


@pytest.fixture(scope="module")
def generator(denoiser_dir: Path) -> LigandGenerator:
    torch.set_num_threads(1)
    return load(denoiser_dir / "best_denoiser.pt")


@pytest.fixture(scope="module")
def sampler(generator: LigandGenerator) -> LigandSampler:
    return generator.sampler


@pytest.fixture(scope="module")
def task(generator: LigandGenerator) -> SamplingTask:
    pocket, _ = read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")
    latents, origin = generator.encode(pocket)
    kv, around = generator.model.denoiser.project_pocket(latents), PocketAtoms.of(pocket.x, pocket.element)
    return SamplingTask(kv, origin, around, generator.config.sampling, lambda: None)


@pytest.fixture(scope="module")
def starts(task: SamplingTask, sampler: LigandSampler) -> list[Start]:
    """Latents of first candidates; a benzene at the pocket's middle is the sound part of the second one."""
    first = sampler.sample(task, SIZES, SEEDS, [Start()] * 3)
    benzene = Chem.MolFromSmiles("c1ccccc1")
    angle = np.arange(6) * np.pi / 3
    ring = Chem.Conformer(6)
    ring.SetPositions(task.origin.astype(float) + 1.39 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1))
    benzene.AddConformer(ring)
    parts = [None, read_fragment(benzene), None]
    return [Start(candidate.z, part, 0.5) for candidate, part in zip(first, parts, strict=True)]


def same(a: Candidate, b: Candidate) -> bool:
    return a.z.shape == b.z.shape and bool((a.z - b.z).abs().max() < 1e-4)


def test_a_part_is_held_and_its_batch_mates_do_not_notice(
    sampler: LigandSampler, task: SamplingTask, starts: list[Start]
) -> None:
    together = sampler.sample(task, SIZES, SEEDS, starts)
    apart = [sampler.sample(task, SIZES[[i]], SEEDS[[i]], [start])[0] for i, start in enumerate(starts)]
    assert all(same(a, b) for a, b in zip(together, apart, strict=True))
    part = starts[1].fragment
    assert part is not None
    x, _ = sampler.model.stats.restore(together[1].z[None])
    assert np.allclose(x[0, :6].numpy() + task.origin, part.ligand.x, atol=1e-3)
    free, _ = sampler.model.stats.restore(
        sampler.sample(task, SIZES, SEEDS, [Start(s.z, time=0.5) for s in starts])[1].z[None]
    )
    assert not np.allclose(free[0, :6].numpy() + task.origin, part.ligand.x, atol=0.5)


def decoded_again(smiles: str, held: str, sampler: LigandSampler, task: SamplingTask) -> bool:
    """Whether a molecule's own latents are taken for an unsound estimate, where `held` is a fragment."""
    whole = Chem.Mol()
    for number, part in enumerate(smiles.split(".")):
        mol = Chem.AddHs(Chem.MolFromSmiles(part))
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array([8.0 * number, 0, 0]))
        whole = Chem.CombineMols(whole, mol) if number else mol
    ligand = ligand_from_mol(whole, "id", whole=False)
    assert isinstance(ligand, Ligand)
    ligand = replace(ligand, x=(ligand.x + task.origin).astype(np.float32))
    fragment = read_fragment(mol_from_ligand(ligand)) if held else None
    sizes, seeds = torch.tensor([ligand.num_atoms]), SEEDS[:1]
    z = sampler.model.denoiser.layout.stacked(sampler.latents_of([ligand], task.origin), ligand.num_atoms)
    return bool(sampler._unsound(task, Batch.of(sizes, seeds, [Start(fragment=fragment)]), z))


def test_odd_rings_and_pieces_are_seen_in_an_estimate(task: SamplingTask) -> None:
    shipped = load("small").sampler
    ordinary, cage, large = "Cc1ccc2ncccc2c1", "C1CC2CCC1CC2", "C1CCCCCCCCCCC1"
    assert not decoded_again(ordinary, "", shipped, task)
    assert decoded_again(cage, "", shipped, task)
    assert decoded_again(large, "", shipped, task)
    assert not decoded_again(cage, "held", shipped, task)
    assert decoded_again("c1ccccc1.CCCCO", "", shipped, task)


def test_restarts_change_ligands_only_after_their_rings_are_looked_at(
    sampler: LigandSampler, task: SamplingTask
) -> None:
    """Without a time for it nothing is noised again; with one, the same seed gives the same latents."""

    def latents(**changes: float) -> torch.Tensor:
        config = replace(task.config, **changes)
        return torch.cat(
            [c.z for c in sampler.sample(task._replace(config=config), SIZES[1:], SEEDS[1:], [Start()] * 2)]
        )

    assert torch.equal(latents(restarts=0), latents(inspection_time=0.0))
    assert not torch.allclose(latents(restarts=0), latents(restarts=1))
    assert torch.equal(latents(restarts=2), latents(restarts=2))


def candidate(defects: float, wanted: float | None) -> Candidate:
    ligand = GeneratedLigand(0, 1, None, False, False, False)
    return Candidate(ligand, torch.zeros(1, 1), Defects(defects, np.zeros(0, np.bool_)), 0.0, (), wanted)


def test_objectives_decide_between_plausible_candidates_only() -> None:
    assert _better(candidate(0.9, 1.0), candidate(0.1, 2.0)).wanted == 2.0
    assert _better(candidate(0.1, 1.0), candidate(0.9, 2.0)).wanted == 2.0
    assert _better(candidate(0.9, 1.0), candidate(1.5, 9.0)).wanted == 1.0
    assert candidate(0.1, None).accepted
    assert not candidate(0.1, 5.0).accepted  # a later one may be wanted more


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (3, [3]), (4, [2, 2]), (9, [5, 4]), (16, [8, 8]), (17, [5, 4, 4, 4])]
)
def test_two_threads_have_equal_work(count: int, sizes: list[int]) -> None:
    rows = torch.arange(count)
    groups = _groups(rows)
    assert [len(part) for part in groups] == sizes
    assert max(sizes) <= GROUP
    assert torch.equal(torch.cat(list(groups)), rows)
