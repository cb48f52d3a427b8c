"""Neighbours of a ligand in latent space, in its place: the ligand is noised a little and sampled again.

How far is found for each analogue: more noise where the last one was too similar, less where it was not similar enough
or no molecule. Every second try, the first one too, noises a part of the ligand alone, and the rest stays as it is. An
analogue that is not within the range after all tries is a failure with the last reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs

from ligandsmith.design.history import morgan_fingerprint
from ligandsmith.design.moves import Limits, Parent, Proposal, propose
from ligandsmith.design.rounds import sampled
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.shape import shape_similarity
from ligandsmith.files import write_csv
from ligandsmith.generation.generator import LigandGenerator, SamplingSite
from ligandsmith.generation.output import LIGANDS_FILE, generate_to_folder
from ligandsmith.generation.sampler import NOTHING_KEPT, Keeping
from ligandsmith.options import GenerationOptions
from ligandsmith.records import GeneratedLigand, Ligand, Pocket, Rejection
from ligandsmith.structure.ligands import ligand_from_mol

FIRST_TIME, FACTOR = 0.22, 1.15  # of the noising, and by how much it changes from try to try
LONGEST = 0.8
ANALOGUES_AT_ONCE = 32
ANALOGUES_FILE = "analogues.csv"
ANALOGUES_APART = 1_000_000_000  # between the numbers of an analogue's tries, for their random seeds


@dataclass
class Analogues:
    """Makes analogues of a ligand as a `LigandGenerator` makes ligands."""

    generator: LigandGenerator
    hit: Chem.Mol  # heavy atoms, those of the fragment to keep first
    similarity: tuple[float, float]
    tries: int

    def __post_init__(self) -> None:
        ligand = ligand_from_mol(self.hit, "the ligand")
        if isinstance(ligand, Rejection):
            raise LigandsmithError(f"the ligand: {ligand.reason}: {ligand.detail}")
        self.ligand: Ligand = ligand
        self.print = morgan_fingerprint(self.hit)
        self.checkpoint_hash, self.sampling_request = self.generator.checkpoint_hash, self.generator.sampling_request

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the analogues besides what decides ligands."""
        return {
            "analogue_of": Chem.MolToMolBlock(self.hit), "similarity": list(self.similarity), "tries": self.tries,
        }  # fmt: skip

    def batches(
        self, pocket: Pocket, options: GenerationOptions, start: int = 0, keeping: Keeping = NOTHING_KEPT
    ) -> Iterator[list[GeneratedLigand]]:
        """Analogues number `start` and following, a batch at a time."""
        del keeping
        site = self.generator.site(pocket, options)
        known: set[str] = set()
        for begin in range(0, options.num, ANALOGUES_AT_ONCE):
            made = self._batch(site, options, range(begin, min(begin + ANALOGUES_AT_ONCE, options.num)), known)
            if begin + len(made) > start:
                yield [ligand for ligand in made if ligand.index >= start]

    def _batch(
        self, site: SamplingSite, options: GenerationOptions, numbers: range, known: set[str]
    ) -> list[GeneratedLigand]:
        done: dict[int, GeneratedLigand] = {}
        failed: dict[int, GeneratedLigand] = {}
        times = dict.fromkeys(numbers, FIRST_TIME)
        for attempt in range(self.tries):
            left = [number for number in numbers if number not in done]
            if not left:
                break
            proposals = [self._proposal(number, attempt, times[number], (site, options)) for number in left]
            for number, ligand in zip(left, sampled(self.generator, site, options.seed, proposals), strict=True):
                kept = replace(ligand, index=number, candidates=attempt + 1)
                refused, factor = self._refused(kept, known)
                times[number] = min(times[number] * factor, LONGEST)
                if refused is None:
                    done[number] = kept
                    known.add(_flat(kept.mol))
                else:
                    failed[number] = refused
        return [done.get(number) or failed[number] for number in numbers]

    def _proposal(
        self, number: int, attempt: int, time: float, where: tuple[SamplingSite, GenerationOptions]
    ) -> Proposal:
        site, options = where
        index, size = number + attempt * ANALOGUES_APART, self.ligand.num_atoms
        if attempt % 2 == 0 and self.generator.config.denoiser.fragments:
            limits, rng = Limits(size, size, site.task.fragment), np.random.default_rng([options.seed, index])
            if (inpainted := propose("inpaint", index, [Parent(0, self.hit)], limits, rng)) is not None:
                return inpainted
        return Proposal(index, "noise", (0,), size, site.task.fragment, self.ligand, time)

    def _refused(self, ligand: GeneratedLigand, known: set[str]) -> tuple[GeneratedLigand | None, float]:
        """The failure that an analogue is, None if it is as wanted, and the factor of the next time of noising."""
        if ligand.mol is None:
            return ligand, 1 / FACTOR
        if not ligand.connected:
            return _failure(ligand, "several pieces", Chem.MolToSmiles(ligand.mol)), 1 / FACTOR
        value = DataStructs.TanimotoSimilarity(self.print, morgan_fingerprint(ligand.mol))
        low, high = self.similarity
        if not low <= value <= high:
            text = f"{value:.2f} is not within {low:g} to {high:g}"
            return _failure(ligand, "similarity", text), FACTOR if value > high else 1 / FACTOR
        if _flat(ligand.mol) in known:
            return _failure(ligand, "repeated", "the same molecule as another one"), FACTOR
        return None, 1.0


def _flat(mol: Chem.Mol | None) -> str:
    return "" if mol is None else str(Chem.MolToSmiles(mol, isomericSmiles=False))


def _failure(ligand: GeneratedLigand, reason: str, detail: str) -> GeneratedLigand:
    return replace(
        ligand, mol=None, raw_valid=False, repaired=False, connected=False, changed=(), reason=reason, detail=detail
    )


def analogues_to_folder(
    made: Analogues, pocket: Pocket, options: GenerationOptions, out: Path, notes: dict[str, Any], overwrite: bool
) -> dict[str, Any]:
    """Write ligands.sdf and samples.json as `generate` does, and a table with the similarities; returns the record.

    An interrupted run goes on with the same command. Raises LigandsmithError.
    """
    one = replace(options, candidates=1, num_atoms=str(made.ligand.num_atoms))
    record = generate_to_folder(made, pocket, one, out, notes, overwrite)
    rows = [_row(mol, made) for mol in Chem.SDMolSupplier(str(out / LIGANDS_FILE)) if mol is not None] \
        if record["molecules"] else []  # fmt: skip
    if rows:
        write_csv(out / ANALOGUES_FILE, rows)
    return record


def _row(mol: Chem.Mol, made: Analogues) -> dict[str, Any]:
    return {
        "index": mol.GetProp("index"), "smiles": Chem.MolToSmiles(mol),
        "similarity": round(DataStructs.TanimotoSimilarity(made.print, morgan_fingerprint(mol)), 4),
        "shape_similarity": round(shape_similarity(mol, made.hit), 4),
    }  # fmt: skip
