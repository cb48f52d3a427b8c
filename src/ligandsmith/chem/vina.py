"""The published terms of AutoDock Vina's scoring function and their gradient, in torch.

Two Gaussians, repulsion, hydrophobic and hydrogen-bond terms of the distance between two surfaces, summed over pairs of
ligand and protein heavy atoms within 8 Å (Trott and Olson 2010, doi 10.1002/jcc.21334). Atom types are numbers from 0
to 1, so that a ligand that is still being generated can have the types that its estimate makes likely.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from ligandsmith.chem.receptor import METALS, atom_types, bonded_atoms
from ligandsmith.chem.surroundings import protein_of
from ligandsmith.records import Pocket

GAUSS1, GAUSS2, REPULSION, HYDROPHOBIC, HYDROGEN_BOND = -0.035579, -0.005156, 0.840245, -0.035069, -0.587439
TORSION = 0.05846  # of the divisor, for each rotatable bond
INTERACTION_CUTOFF = 8.0  # Å between centres
RADII = {  # Å, of Vina's atom types
    6: 1.9, 7: 1.8, 8: 1.7, 9: 1.5, 14: 2.2, 15: 2.1, 16: 2.0, 17: 1.8, 34: 2.0, 35: 2.0, 53: 2.2,
}  # fmt: skip
METAL_RADIUS = 1.2  # Å
OTHER_RADIUS = 1.9  # Å, of elements that Vina does not know
HALOGENS = (9, 17, 35, 53)
CARBON = 6
# Nitrogens of a ligand that accept no hydrogen bond, as meeko types them.
NO_ACCEPTOR = Chem.MolFromSmarts("[$([#7X3v3][a]),$([#7X3v3][#6X3v4]),$([#7X3v3][NX2]=[*]),$([#7+1])]")
# Single bonds that do not turn: secondary amides, amidines, and what leads to a triple bond.
RIGID = [Chem.MolFromSmarts(s) for s in ("[NX3;!$([NX3]([!#1])([!#1])-[CX3]=[O,N,S])]-[CX3]=[O,N,S]",
         "[*]-[*]#[*]")]  # fmt: skip


class VinaTypes(NamedTuple):
    """What Vina's function knows of atoms: each [..., N]."""

    radius: Tensor  # Å
    hydrophobic: Tensor  # 0 to 1
    donor: Tensor
    acceptor: Tensor


class VinaReceptor(NamedTuple):
    """Heavy atoms of a protein around a site."""

    x: Tensor  # [M, 3] Å
    types: VinaTypes  # [M]

    def near(self, x: NDArray[np.float64]) -> "VinaReceptor":
        """The atoms that a ligand at x [N, 3] Å feels, also where its atoms move by 2 Å."""
        distance = torch.cdist(torch.as_tensor(x, dtype=self.x.dtype, device=self.x.device), self.x).amin(0)
        kept = distance < INTERACTION_CUTOFF + 2.0
        return VinaReceptor(self.x[kept], VinaTypes(*(values[kept] for values in self.types)))


def receptor_of(pocket: Pocket, origin: NDArray[np.float32], device: torch.device) -> VinaReceptor:
    """The atoms of a pocket and what surrounds it, in the frame with this origin [3] Å."""
    protein = protein_of(pocket)
    bonded = bonded_atoms(protein)
    kinds, donor = (np.array(values) for values in atom_types(protein, bonded))
    carbon, metal = np.isin(kinds, ("C", "A")), np.isin(kinds, tuple(METALS.values()))
    plain = np.array([all(protein.element[j] == CARBON for j in near) for near in bonded])
    radius = np.array([RADII.get(int(z), OTHER_RADIUS) for z in protein.element])
    values = (
        np.where(metal, METAL_RADIUS, radius), (carbon & plain) | np.isin(protein.element, HALOGENS), donor | metal,
        np.isin(kinds, ("OA", "NA")),
    )  # fmt: skip
    types = VinaTypes(*(torch.as_tensor(value, dtype=torch.float32, device=device) for value in values))
    return VinaReceptor(torch.as_tensor(pocket.x - origin, dtype=torch.float32, device=device), types)


def ligand_types(mol: Chem.Mol) -> VinaTypes:
    """Types [N] of a molecule's heavy atoms, hydrogens implicit or explicit."""
    quiet = {match[0] for match in mol.GetSubstructMatches(NO_ACCEPTOR)}
    rows = []
    for atom in mol.GetAtoms():
        z, hydrogens = atom.GetAtomicNum(), atom.GetTotalNumHs(includeNeighbors=True)
        plain = all(n.GetAtomicNum() in (1, 6) for n in atom.GetNeighbors())
        hydrophobic = (z == 6 and plain) or z in HALOGENS
        donor = z in (7, 8) and hydrogens > 0
        acceptor = z == 8 or (z == 7 and atom.GetIdx() not in quiet)
        rows.append((RADII.get(z, OTHER_RADIUS), hydrophobic, donor, acceptor))
    return VinaTypes(*torch.tensor(rows, dtype=torch.float32).T)


def interaction_energy(x: Tensor, types: VinaTypes, receptor: VinaReceptor) -> tuple[Tensor, Tensor]:
    """Energy of each atom [..., N] in kcal/mol, before the divisor for torsions, and its gradient [..., N, 3]."""
    y, other = receptor
    away = x.unsqueeze(-2) - y
    distance = away.square().sum(-1).clamp(min=1e-4).sqrt()
    s = distance - types.radius.unsqueeze(-1) - other.radius
    both = types.hydrophobic.unsqueeze(-1) * other.hydrophobic
    bond = types.donor.unsqueeze(-1) * other.acceptor + types.acceptor.unsqueeze(-1) * other.donor
    bond = bond.clamp(max=1)
    first, second = GAUSS1 * (-(s / 0.5).square()).exp(), GAUSS2 * (-((s - 3) / 2).square()).exp()
    inside = s.clamp(max=0)
    energy = (
        first + second + REPULSION * inside.square()
        + HYDROPHOBIC * both * (1.5 - s).clamp(0, 1) + HYDROGEN_BOND * bond * (-s / 0.7).clamp(0, 1)
    )  # fmt: skip
    slope = (
        -8 * s * first - (s - 3) / 2 * second + 2 * REPULSION * inside
        - HYDROPHOBIC * both * ((s > 0.5) & (s < 1.5)) - HYDROGEN_BOND / 0.7 * bond * ((s > -0.7) & (s < 0))
    )  # fmt: skip
    near = distance < INTERACTION_CUTOFF
    pull = (slope * near / distance).unsqueeze(-1) * away
    return (energy * near).sum(-1), pull.sum(-2)


def torsions(mol: Chem.Mol) -> float:
    """Rotatable bonds as Vina counts them: half a bond for each end with another heavy atom, of bonds that meeko turns.

    A bond turns if it is single, in no ring, no amide or amidine (tertiary ones turn), not next to a nitrile, and moves
    more than carbon-bound hydrogens.
    """
    rigid = {tuple(sorted(pair)) for pattern in RIGID for pair in (m[:2] for m in mol.GetSubstructMatches(pattern))}
    count = 0.0
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        turns = bond.GetBondType() == Chem.BondType.SINGLE and not bond.IsInRing()
        if turns and tuple(sorted(a.GetIdx() for a in ends)) not in rigid and all(map(_moves, ends)):
            count += 0.5 * sum(_heavy_degree(a) > 1 for a in ends)
    return count


def _heavy_degree(atom: Chem.Atom) -> int:
    return sum(n.GetAtomicNum() > 1 for n in atom.GetNeighbors())


def _moves(atom: Chem.Atom) -> bool:
    """Whether a turn about one of its bonds moves another heavy atom or a polar hydrogen."""
    return _heavy_degree(atom) > 1 or (atom.GetAtomicNum() != 6 and atom.GetTotalNumHs(includeNeighbors=True) > 0)


def vina_score(mol: Chem.Mol, receptor: VinaReceptor) -> float:
    """Vina's score of a pose, kcal/mol: its interaction energy, divided by 1 + 0.05846 for each rotatable bond."""
    x = torch.as_tensor(mol.GetConformer().GetPositions(), dtype=torch.float32)
    energy, _ = interaction_energy(x, ligand_types(mol), receptor)
    return float(energy.sum()) / (1 + TORSION * torsions(mol))
