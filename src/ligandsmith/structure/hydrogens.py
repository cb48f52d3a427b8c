"""Hydrogens and missing side-chain atoms by PDB2PQR (Jurrus et al. 2018), states by PROPKA (Olsson et al. 2011).

Residues go there under running numbers and come back under these, so that no insertion code, long chain name or
repeated label can be lost on the way.
"""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import gemmi

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import json_content, temporary_folder
from ligandsmith.structure.pdb2pqr_worker import INPUT, OUTPUT, PKA

PDB2PQR_SECONDS = 1800.0  # for one protein; 5,000 heavy atoms take some ten
MOST_RESIDUES, MOST_CHAINS = 9999, 61  # that the columns of a PDB file hold, besides the chain of the surroundings
CHAIN_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class FilledAtom(NamedTuple):
    """An atom of a protein that is prepared."""

    name: str
    element: int  # atomic number
    x: Sequence[float]  # [3] Å


class BareResidue(NamedTuple):
    """Heavy atoms of a residue as PDB2PQR gets them."""

    name: str  # of an amino acid, as a force field has it where the state is given (HID), or HOH
    segment: tuple[str, int] | None  # its chain, or part of one; None: only surroundings
    atoms: Sequence[FilledAtom]


class TitratableGroup(NamedTuple):
    """A group with a pKa, of a residue by its place in what was given."""

    residue: int
    group: str  # a residue name, N+ or C-, or the name of an atom of a ligand
    pka: float


class Protonated(NamedTuple):
    """The answer: for each residue that was given its atoms, with hydrogens unless it is only surroundings."""

    residues: tuple[tuple[FilledAtom, ...], ...]
    groups: tuple[TitratableGroup, ...]


def protonated(residues: Sequence[BareResidue], ph: float, place: str, seconds: float = PDB2PQR_SECONDS) -> Protonated:
    """Fill in side chains and hydrogens at a pH. `place` names the protein in messages.

    Raises LigandsmithError if the programs are not installed, fail, or take longer than `seconds`.
    """
    absent = [name for name in ("pdb2pqr", "propka") if find_spec(name) is None]
    if absent:
        raise LigandsmithError(f"{' and '.join(absent)} not installed: pip install 'ligandsmith[protonate]'")
    segments = {r.segment for r in residues if r.segment is not None}
    if len(residues) > MOST_RESIDUES or len(segments) > MOST_CHAINS:
        raise LigandsmithError(
            f"{place}: {len(residues)} residues in {len(segments)} chains; at most {MOST_RESIDUES} in {MOST_CHAINS} "
            "can be prepared; choose chains with --chains"
        )
    with temporary_folder() as folder:
        _structure_of(residues).write_pdb(str(folder / INPUT))
        _run(folder, ph, place, seconds)
        return _answer(folder, len(residues))


def _structure_of(residues: Sequence[BareResidue]) -> gemmi.Structure:
    """Residues under running numbers; the surroundings are HETATM in a last chain."""
    model = gemmi.Model(1)
    segments = list(dict.fromkeys(r.segment for r in residues if r.segment is not None))
    numbers = {segment: number for number, segment in enumerate([*segments, None])}
    ordered = sorted(range(len(residues)), key=lambda i: numbers[residues[i].segment])
    for index in ordered:
        bare = residues[index]
        name = CHAIN_NAMES[numbers[bare.segment]]
        if not len(model) or model[-1].name != name:
            model.add_chain(gemmi.Chain(name))
        residue = gemmi.Residue()
        residue.name, residue.seqid = bare.name, gemmi.SeqId(index + 1, " ")
        residue.het_flag = "H" if bare.segment is None else "A"
        for atom in bare.atoms:
            residue.add_atom(pdb_atom(atom))
        model[-1].add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(model)
    return structure


def pdb_atom(atom: FilledAtom, b_iso: float = 0.0) -> gemmi.Atom:
    """An atom of full occupancy."""
    made = gemmi.Atom()
    made.name, made.element, made.pos = atom.name, gemmi.Element(atom.element), gemmi.Position(*atom.x)
    made.occ, made.b_iso = 1.0, b_iso
    return made


def _run(folder: Path, ph: float, place: str, seconds: float) -> None:
    command = [sys.executable, "-m", "ligandsmith.structure.pdb2pqr_worker", str(folder), f"{ph:g}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise LigandsmithError(
            f"{place}: PDB2PQR took more than {seconds:g} s and was ended; give fewer chains with --chains"
        ) from None
    if done.returncode or not (folder / OUTPUT).is_file():
        raise LigandsmithError(f"{place}: PDB2PQR cannot protonate it ({_cause(done.stderr, done.returncode)})")


def _cause(log: str, status: int) -> str:
    """The line of a traceback that says most, without the file names of a temporary folder."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.split(": ", 1)[1] for line in lines if ": " in line and line.split(": ")[0].endswith("Error")]
    return (errors or lines or [f"exit status {status}"])[-1][:200]


def _answer(folder: Path, count: int) -> Protonated:
    filled: list[tuple[FilledAtom, ...]] = [()] * count
    for chain in gemmi.read_pdb(str(folder / OUTPUT))[0]:
        for residue in chain:
            filled[int(str(residue.seqid)) - 1] = tuple(
                FilledAtom(a.name, a.element.atomic_number, (a.pos.x, a.pos.y, a.pos.z)) for a in residue
            )
    groups = [TitratableGroup(row["residue"] - 1, row["group"], row["pka"]) for row in json_content(folder / PKA)]
    return Protonated(tuple(filled), tuple(groups))
