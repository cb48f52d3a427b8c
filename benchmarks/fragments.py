"""Completing fragments of the ligands of validation complexes, one JSON line.

Of each ligand a part between bonds outside of rings is given, drawn as in training; the whole has the reference's size.
`python -m benchmarks fragments --checkpoint small --pockets 12 --num 4`
"""

import argparse

import numpy as np
import torch
from rdkit import Chem, rdBase

from benchmarks.measure import cpu_seconds, report
from ligandsmith.chem.fragment import CHANGED
from ligandsmith.chem.plausibility import PLAUSIBLE, PocketAtoms, find_defects
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.fragments import draw_fragment
from ligandsmith.generation.generator import load
from ligandsmith.records import Ligand
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.pocket import mark_pocket


def part(ligand: Ligand, seed: int) -> Chem.Mol | None:
    """The given part of a ligand, with hydrogens at the cuts; None where nothing can be cut."""
    fixed = draw_fragment(ligand, np.random.default_rng(seed))
    if fixed is None:
        return None
    mol = Chem.RWMol(mol_from_ligand(ligand))
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(atom.GetIsAromatic() and atom.GetAtomicNum() != 6)
    for i in sorted(np.flatnonzero(~fixed).tolist(), reverse=True):
        mol.RemoveAtom(i)
    piece = mol.GetMol()  # an aromatic ring that cannot do without what was cut off is refused, below
    for atom in piece.GetAtoms():
        if not atom.GetNoImplicit():
            atom.SetNumExplicitHs(0)
    with rdBase.BlockLogs():
        problem = Chem.SanitizeMol(piece, catchErrors=True)
    return piece if problem == Chem.SanitizeFlags.SANITIZE_NONE else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--pockets", type=int, default=12)
    parser.add_argument("--num", type=int, default=4, help="ligands per fragment")
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, generator = ComplexDataset(None, "validation"), load(args.checkpoint)
    made, shares, scores, moved = [], [], [], []
    began = cpu_seconds()
    for i in range(len(data)):
        record = data[i]
        fragment = part(record.ligand, i)
        if fragment is None or record.pocket is None:
            continue
        pocket = mark_pocket(record.pocket, record.ligand.x, generator.config.pocket)
        n = fragment.GetNumAtoms()
        shares.append(n / record.ligand.num_atoms)
        ligands = generator.generate(
            pocket, args.num, args.seed, num_atoms=str(record.ligand.num_atoms), fix=fragment,
            candidates=args.candidates,
        )  # fmt: skip
        site = PocketAtoms.of(pocket.x, pocket.element)
        place = fragment.GetConformer().GetPositions().astype(np.float32)
        for ligand in ligands:
            made.append(ligand)
            scores.append(find_defects(ligand, site).score)
            if ligand.mol is not None:
                moved.append(float(np.abs(ligand.mol.GetConformer().GetPositions()[:n] - place).max()))
        if len(shares) == args.pockets:
            break
    count = len(made)
    report(
        benchmark="fragments", checkpoint=args.checkpoint, pockets=len(shares), requested=count,
        given=float(np.mean(shares)), built=sum(a.mol is not None for a in made) / count,
        fragment_changed=sum(a.reason == CHANGED for a in made) / count,
        valid_connected=sum(a.connected for a in made) / count,
        raw_valid_connected=sum(a.raw_valid and a.connected for a in made) / count,
        plausible=float((np.array(scores) <= PLAUSIBLE).mean()), fragment_moved=max(moved),
        distinct=len({Chem.MolToSmiles(a.mol) for a in made if a.mol is not None}) / count,
        core_s_per_100=(cpu_seconds() - began) * 100 / count,
    )  # fmt: skip


if __name__ == "__main__":
    main()
