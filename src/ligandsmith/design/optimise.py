"""Optimisation of ligands in their pocket: rounds of proposals, sampling, scoring and selection.

What a round proposes is decided by the rounds before it and the seed alone. Each round is a file, written whole or not
at all, so that the same command continues an interrupted run and gives the same ligands.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.design import hits
from ligandsmith.design.history import ROUNDS, START, Round, Row, read_round, write_round
from ligandsmith.design.moves import FRAGMENT_MOVES, FRESH, SIMPLE_MOVES, Limits, Parent, Proposal, propose
from ligandsmith.design.plan import Plan
from ligandsmith.design.results import RUN_FILE, Result, write_optimisation
from ligandsmith.design.rounds import RoundSampler, Sampled, generator_of, run_tasks, tasks_of
from ligandsmith.design.scoring import ANSWERS
from ligandsmith.design.selection import apart, best_of_each, draw_move, draw_parents, move_counts, parents_of, ranked
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import changes, earlier_record, held_alone, refuse_other, write_json
from ligandsmith.generation.generator import size_range
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE, identity_of
from ligandsmith.parallel.signals import handled_signals

ROUND_TRIES = 8  # of a move and parents that allow each other; then a fresh ligand
ALIKE_RESULTS = 0.65  # Tanimoto similarity; above, only the better of two is in the result
FIRST_CHECKED = 4  # times the wanted number: ligands that PoseBusters may look at for the result, at most
RESULT_FILES = (RUN_FILE, "history.csv", LIGANDS_FILE, SAMPLES_FILE, ROUNDS, ANSWERS)


class Optimiser:
    """Runs a plan in a folder."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out
        self.generator = generator_of(plan.checkpoint, plan.device, plan.adapter)
        self.identity = self._identity()
        self.limits = self._limits()
        digest = hashlib.sha256(repr(self.identity).encode()).hexdigest()[:16]
        self.sampler = RoundSampler(digest, plan.checkpoint, plan.device, plan.pocket, plan.options, plan.adapter)
        self.rows: list[Row] = []
        self.seconds: list[float] = []  # of each round

    def _identity(self) -> dict[str, Any]:
        """What decides the ligands, as plain values. Raises LigandsmithError."""
        plan, scoring = self.plan, self.plan.scoring
        return {
            **identity_of(self.generator, plan.options, plan.pocket),
            "objectives": [asdict(o) for o in plan.objectives],
            "scorers": [[s.name, s.text] for s in scoring.scorers],
            "similarity": scoring.similarity and list(scoring.similarity),
            "starts": hashlib.sha256("".join(map(Chem.MolToMolBlock, plan.starts)).encode()).hexdigest()[:16],
            "site": scoring.site.key()[:16],
            "pareto": plan.pareto,
            "moves": list(self.moves),
        }

    def _limits(self) -> Limits:
        """The range of sizes: as asked for, else around the hits, else any."""
        plan = self.plan
        asked = size_range(plan.options)
        sizes = [mol.GetNumAtoms() for mol in plan.starts]
        low, high = asked or (
            (min(sizes) - hits.SIZE_SLACK, max(sizes) + hits.SIZE_SLACK) if sizes else (MIN_ATOMS, MAX_ATOMS)
        )
        return Limits(max(low, MIN_ATOMS), min(high, MAX_ATOMS), plan.keep)

    @property
    def moves(self) -> tuple[str, ...]:
        """Those that the weights, and the start, allow."""
        fragments = FRAGMENT_MOVES if self.generator.config.denoiser.fragments else ()
        every = (*SIMPLE_MOVES, *fragments)
        return tuple(move for move in every if not self.plan.moves or move.split()[0] in self.plan.moves)

    def run(self, overwrite: bool = False) -> Result:
        """Go on until the budget is spent; what there is is in the folder after each round."""
        record = earlier_record(self.out / RUN_FILE)
        theirs = record.get("identity") if record else None
        with held_alone(self.out), handled_signals(_interrupt):
            changed = changes(theirs if isinstance(theirs, dict) else None, self.identity)
            refuse_other(self.out, RESULT_FILES, changed, overwrite, what="an optimisation")
            if changed != []:
                write_json(self.out / RUN_FILE, {"identity": self.identity})  # what is in the folder is ours from here
            result = self._start()
            while not self.plan.budget.spent(self._sampled(), sum(self.seconds)):
                result = self._round()
            shutil.rmtree(self.out / ROUNDS / "unfinished", ignore_errors=True)
        return result

    def _sampled(self) -> int:
        return len(self.rows) - len(self.plan.starts)

    def _start(self) -> Result:
        """Round 0, the ligands at the start, and the rounds of an earlier run."""
        number = 0
        while (earlier := read_round(self.out, number)) is not None:
            if [row.index for row in earlier.rows] != list(range(len(self.rows), len(self.rows) + len(earlier.rows))):
                raise LigandsmithError(f"{self.out / ROUNDS}: round {number} does not go on where the last one ends")
            self._add(earlier)
            number += 1
        if number == 0:
            began = time.perf_counter()
            rows = [Row(i, 0, START, ()) for i in range(len(self.plan.starts))]
            for row, mol in zip(rows, self.plan.starts, strict=True):
                row.placed(mol)
            self.plan.scoring.score_starts(rows)
            self._keep(0, Round(rows, time.perf_counter() - began, {}))
        return self._written()

    def _round(self) -> Result:
        began = time.perf_counter()
        number = len(self.seconds)
        pool = parents_of(self.rows, self.plan.objectives, self.plan.pareto)
        proposals = self._proposals(number, pool)
        unfinished = self.out / ROUNDS / "unfinished" / f"{number:04d}"
        unfinished.mkdir(parents=True, exist_ok=True)
        made = run_tasks(self.sampler, tasks_of(unfinished, proposals), self.plan.workers, self.plan.engine)
        rows = [_row(number, proposal, made[proposal.index]) for proposal in proposals]
        self.plan.scoring.score(rows)
        level = np.median([row.score for row in pool if row.score is not None] or [-np.inf])
        known = {row.flat_smiles for row in self.rows}
        for row in rows:
            row.won = row.score is not None and bool(row.score > level) and row.flat_smiles not in known
        checked = self._checked(rows)
        self._keep(number, Round(rows, time.perf_counter() - began, checked))
        shutil.rmtree(unfinished, ignore_errors=True)
        return self._written()

    def _proposals(self, number: int, pool: Sequence[Row]) -> list[Proposal]:
        counts = move_counts(self.rows, self.moves if pool else (FRESH,))
        first, size = len(self.rows), self.plan.budget.next_round(self._sampled())
        new = [self._begins_fresh(number) and i % 2 == 1 for i in range(size)]
        fresh = {FRESH: (1.0, 1.0)}
        return [self._proposal(first + i, pool, fresh if new[i] else counts) for i in range(size)]

    def _begins_fresh(self, number: int) -> bool:
        """Whether every second ligand of a round is a fresh one: of the first, where a hit may be a poor start."""
        return number == 1 and FRESH in self.moves and self.plan.scoring.similarity is None

    def _proposal(self, index: int, pool: Sequence[Row], counts: dict[str, tuple[float, float]]) -> Proposal:
        rng = np.random.default_rng([self.plan.options.seed, index])
        for _ in range(ROUND_TRIES):
            move = draw_move(counts, rng)
            parents = [Parent(row.index, row.mol) for row in draw_parents(pool, rng) if row.mol is not None]
            if (proposal := propose(move, index, parents, self.limits, rng)) is not None:
                return proposal
        proposal = propose(FRESH, index, (), self.limits, rng)
        if proposal is None:
            raise LigandsmithError(
                f"--num_atoms: the fragment to keep has {self.limits.kept} heavy atoms, so ligands need more than "
                f"{self.limits.high}"
            )
        return proposal

    def _checked(self, new: Sequence[Row]) -> dict[int, bool]:
        """PoseBusters for the ligands that may be in the result, best first, until there are enough that pass; what it
        says of those of earlier rounds."""
        rows = [*self.rows, *new]
        before = {row.index for row in self.rows if row.valid is None}
        best = ranked(best_of_each(rows), self.plan.objectives, self.plan.pareto)
        best = best[: FIRST_CHECKED * self.plan.num]
        while True:
            chosen = apart([row for row in best if row.valid is not False], self.plan.num, ALIKE_RESULTS)
            unknown = [row for row in chosen if row.valid is None]
            if not unknown:
                return {row.index: row.valid for row in self.rows if row.index in before and row.valid is not None}
            self.plan.scoring.check(unknown)

    def _keep(self, number: int, done: Round) -> None:
        write_round(self.out, number, done)
        kept = read_round(self.out, number)  # as a run that goes on would
        assert kept is not None
        self._add(kept)

    def _add(self, done: Round) -> None:
        self.rows += done.rows
        self.seconds.append(done.seconds)
        for index, valid in done.checked.items():
            if 0 <= index < len(self.rows):
                self.rows[index].valid = valid

    def _written(self) -> Result:
        made = [row for row in best_of_each(self.rows) if row.valid and row.move != START]
        best = ranked(made, self.plan.objectives, self.plan.pareto)
        chosen = apart(best, self.plan.num, ALIKE_RESULTS)
        result = Result(tuple(self.rows), tuple(chosen), tuple(self.seconds))
        write_optimisation(self.out, result, self.plan, self.identity)
        return result


def _row(number: int, proposal: Proposal, made: Sampled) -> Row:
    row = Row(proposal.index, number, proposal.move, proposal.parents, block=made.block)
    if row.mol is not None:
        row.smiles = Chem.MolToSmiles(row.mol)
    if made.reason:
        row.failed(made.reason, made.detail)
    return row


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt("interrupted; what is finished is kept, the same command continues")
