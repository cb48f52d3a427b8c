"""What fine-tuning changed: ligands sampled before and after, beside the own ones, as numbers and as a short table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from ligandsmith.chem.plausibility import PLAUSIBLE, PocketAtoms, find_defects
from ligandsmith.chem.sdf import write_sdf
from ligandsmith.data.splitting import scaffold_of
from ligandsmith.evaluation.columns import FINGERPRINT_BITS, FINGERPRINT_RADIUS
from ligandsmith.finetuning.records import OwnRecords, RecordList
from ligandsmith.finetuning.sizes import pocket_of_ligand
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.options import GenerationOptions
from ligandsmith.records import PROPERTIES, Complex, GeneratedLigand
from ligandsmith.structure.ligands import ligand_properties

MOST_POCKETS_SAMPLED = 8
SIMILAR = 0.5  # Tanimoto similarity (Morgan, radius 2)


class Series:
    """Own molecules to compare with: fingerprints, scaffolds and canonical SMILES without stereo."""

    def __init__(self, smiles: Sequence[str]) -> None:
        self.generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
        with rdBase.BlockLogs():
            mols = [mol for text in smiles if (mol := Chem.MolFromSmiles(text)) is not None]
        self.mols = mols
        self.prints = [self.generator.GetFingerprint(mol) for mol in mols]
        self.scaffolds = {_scaffold(mol) for mol in mols} - {""}
        self.smiles = {Chem.MolToSmiles(mol, isomericSmiles=False) for mol in mols}

    def nearest(self, mol: Chem.Mol) -> float:
        """Tanimoto similarity to the nearest molecule of the series."""
        return max(DataStructs.BulkTanimotoSimilarity(self.generator.GetFingerprint(mol), self.prints))

    def has_scaffold_of(self, mol: Chem.Mol) -> bool:
        """Whether a molecule has the Murcko scaffold of one of the series; one without rings has none."""
        return _scaffold(mol) in self.scaffolds

    def contains(self, mol: Chem.Mol) -> bool:
        """Whether a molecule is one of the series; stereo is ignored."""
        return Chem.MolToSmiles(mol, isomericSmiles=False) in self.smiles


def _scaffold(mol: Chem.Mol) -> str:
    return scaffold_of(Chem.MolToSmiles(mol)) if mol.GetRingInfo().NumRings() else ""


def sampled_ligands(
    generator: LigandGenerator, sites: Sequence[Complex], number: int, seed: int
) -> list[tuple[Complex, GeneratedLigand]]:
    """`number` ligands, spread over the pockets of complexes, cut around their ligands."""
    sites, made = sites[: min(MOST_POCKETS_SAMPLED, number)], []
    for place, site in enumerate(sites):
        count = number // len(sites) + (place < number % len(sites))
        pocket, options = pocket_of_ligand(generator, site), GenerationOptions(num=count, seed=seed)
        made += [(site, ligand) for batch in generator.batches(pocket, options) for ligand in batch]
    return made


def sample_numbers(made: Sequence[tuple[Complex, GeneratedLigand]], train: Series, held_out: Series) -> dict[str, Any]:
    """Yield, properties and similarity of sampled ligands. Shares are of the requested ligands."""
    found = [(site, ligand, ligand.mol) for site, ligand in made if ligand.mol is not None and ligand.connected]
    atoms: dict[str, PocketAtoms] = {}
    for site, _, _ in found:
        assert site.pocket is not None
        if site.id not in atoms:
            atoms[site.id] = PocketAtoms.of(site.pocket.x, site.pocket.element)
    mols = [mol for _, _, mol in found]
    sound = [find_defects(ligand, atoms[site.id]).score <= PLAUSIBLE for site, ligand, _ in found]
    nearest = {"train": [train.nearest(m) for m in mols], "held_out": [held_out.nearest(m) for m in mols]}
    scaffold = [train.has_scaffold_of(m) for m in mols]

    def share(flags: Sequence[bool]) -> float:
        return sum(flags) / len(made)

    return {
        "requested": len(made), "valid": share([ligand.mol is not None for _, ligand in made]),
        "connected": len(mols) / len(made), "no_defects": share(sound),
        "unique": len({Chem.MolToSmiles(m, isomericSmiles=False) for m in mols}) / len(made),
        **{f"nearest_{part}": fmean(values) if values else 0.0 for part, values in nearest.items()},
        **{f"similar_{part}": share([v >= SIMILAR for v in values]) for part, values in nearest.items()},
        "scaffold": share(scaffold),
        "in_series": share([s or v >= SIMILAR for s, v in zip(scaffold, nearest["train"], strict=True)]),
        "copies": share([train.contains(m) for m in mols]),
        **property_means(mols),
    }  # fmt: skip


def compared_samples(
    generator: LigandGenerator, sites: Sequence[Complex], own: OwnRecords, request: tuple[int, int], sdf: Path
) -> dict[str, Any]:
    """Sample ligands (number, seed), write them to an SDF file, and compare them with the own ones."""
    made = sampled_ligands(generator, sites, *request)
    write_sdf(sdf, [(ligand.mol, {"pocket": site.id}) for site, ligand in made if ligand.mol is not None])
    return sample_numbers(made, *(Series([r.smiles for r in part]) for part in (own.train, own.held_out)))


def property_means(mols: Sequence[Chem.Mol]) -> dict[str, float]:
    """Means of QED, SA (normalised), logP and the number of heavy atoms; empty without molecules."""
    if not mols:
        return {}
    values = dict(zip(PROPERTIES, np.mean([ligand_properties(m) for m in mols], 0).tolist(), strict=True))
    return values | {"heavy_atoms": fmean(m.GetNumHeavyAtoms() for m in mols)}


ROWS = {  # of the printed table
    "loss_held_out": "loss on held-out own records", "loss_others": "loss on other validation records",
    "valid": "valid", "connected": "valid and connected", "no_defects": "no defect", "unique": "unique",
    "nearest_train": "similarity to the nearest own ligand", "nearest_held_out": "... to the nearest held-out one",
    "in_series": "own scaffold, or similarity of 0.5 or more", "similar_held_out": "similarity to held-out 0.5 or more",
    "copies": "copies of own ligands", "qed": "QED", "sa": "SA", "logp": "logP", "heavy_atoms": "heavy atoms",
}  # fmt: skip


def report_lines(before: Mapping[str, Any], after: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The table: one row for each number that is there before and after, with that of the own ligands."""
    lines = [f"{'':42s} {'before':>8s} {'after':>8s} {'own':>8s}"]
    for key, text in ROWS.items():
        if key in before and key in after:
            mine = f"{own[key]:8.2f}" if key in own else ""
            digits = 4 if key.startswith("loss") else 2
            lines.append(f"{text:42s} {before[key]:8.{digits}f} {after[key]:8.{digits}f} {mine}".rstrip())
    return lines


def own_numbers(train: RecordList, held_out: RecordList) -> dict[str, float]:
    """Properties of the own ligands."""
    return property_means(Series([r.smiles for r in (*train, *held_out)]).mols)
