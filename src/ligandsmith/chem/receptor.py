"""A protein as Vina's rigid receptor: AutoDock types and polar hydrogens for every heavy atom, as PDBQT.

Vina's function knows a receptor atom by its place, its element, whether it accepts and whether a polar hydrogen (HD) is
bonded to it; carbons next to a heteroatom it finds itself. So one HD in a bond's reach of each donor says all there is
to say, and its direction does not matter. Standard residues are typed by atom name (neutral histidine, charged lysine,
arginine, aspartate and glutamate), everything else by element and distances. No residue is refused and nothing is
downloaded; chains may have gaps and residues may lack atoms.
"""

from collections import defaultdict
from collections.abc import Sequence

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.residues import parent_name

Places = NDArray[np.float64]
HYDROGEN_BOND, METAL_BOND = 3.5, 2.8  # Å between heavy atoms
N_H, O_H = 1.01, 0.96  # Å
HYDROXYL_CO = 1.33  # Å; a carbonyl is shorter
NITRILE_CN = 1.22  # Å
AMINE_CN = 1.42  # Å; both bonds of a nitrogen with two neighbours longer: single bonds, so a hydrogen is there
OXYGEN = 8
LONGEST_BOND = 2.4  # Å
COVALENT = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 15: 1.07, 16: 1.05, 17: 1.02, 34: 1.20, 35: 1.20, 53: 1.39}

BACKBONE_TYPES = {"N": "N", "O": "OA", "OXT": "OA", "OT1": "OA", "OT2": "OA"}
# atoms that accept without a hydrogen, atoms with one that do not accept, atoms that do both
SIDE_CHAIN_TYPES: dict[str, dict[str, str]] = {
    "ARG": {"NE": "N", "NH1": "N", "NH2": "N"},
    "ASN": {"OD1": "OA", "ND2": "N"},
    "ASP": {"OD1": "OA", "OD2": "OA"},
    "CYS": {"SG": "SA"},
    "GLN": {"OE1": "OA", "NE2": "N"},
    "GLU": {"OE1": "OA", "OE2": "OA"},
    "HIS": {"ND1": "NA", "NE2": "NA"},
    "LYS": {"NZ": "N"},
    "MET": {"SD": "SA"},
    "SER": {"OG": "OA"},
    "THR": {"OG1": "OA"},
    "TRP": {"NE1": "N"},
    "TYR": {"OH": "OA"},
    **{name: {} for name in ("ALA", "GLY", "ILE", "LEU", "PHE", "PRO", "VAL")},
}
MOST_BONDS_OF_DONOR = {("LYS", "NZ"): 3}  # to heavy atoms; of other nitrogens 2, of oxygens 1
HYDROXYLS = {("SER", "OG"), ("THR", "OG1"), ("TYR", "OH")}  # donate, as does every nitrogen of type N
AROMATIC = {
    "HIS": {"CG", "CD2", "CE1"},
    "PHE": {"CG", "CD1", "CD2", "CE1", "CE2", "CZ"},
    "TYR": {"CG", "CD1", "CD2", "CE1", "CE2", "CZ"},
    "TRP": {"CG", "CD1", "CD2", "CE2", "CE3", "CZ2", "CZ3", "CH2"},
}
# Vina has one kind of metal ion, whatever the name; those it does not know by name are written as zinc
METALS = {12: "Mg", 20: "Ca", 25: "Mn", 26: "Fe", 30: "Zn"}
# nearest in size; selenium of selenomethionine is a sulfur to Vina
PLAIN = {5: "C", 6: "C", 9: "F", 14: "Si", 15: "P", 16: "SA", 17: "Cl", 33: "P", 34: "SA", 35: "Br", 53: "I"}


def receptor_pdbqt(protein: ProteinView) -> str:
    """The receptor as rigid PDBQT text with charges of zero, which Vina's function does not use."""
    bonded = bonded_atoms(protein)
    types, donor = atom_types(protein, bonded)
    atoms = []  # name, residue, place, type
    for i, (kind, place) in enumerate(zip(types, protein.x, strict=True)):
        residue = protein.residues[protein.residue_index[i]]
        where = f"{residue.name[:3]:>3} {residue.chain[:1] or 'A'}{residue.number % 10000:4d}"
        atoms.append((protein.name[i][:4], where, place, kind))
        if donor[i]:
            length = N_H if protein.element[i] == 7 else O_H
            atoms.append(("H", where, place + length * _outward(place, protein.x[bonded[i]]), "HD"))
    return "".join(_line(serial, *atom) for serial, atom in enumerate(atoms, 1))


def _line(serial: int, name: str, where: str, place: Places, kind: str) -> str:
    x, y, z = place
    label = name if len(name) == 4 else f" {name:<3}"
    return f"ATOM  {serial % 100000:5d} {label} {where}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00     0.000 {kind:<2}\n"


def _outward(place: Places, neighbours: Places) -> Places:
    """Unit vector away from the neighbours [N, 3]; for none, or in their middle, some direction."""
    away = place - neighbours.mean(0) if len(neighbours) else np.zeros(3)
    length = float(np.linalg.norm(away))
    return away / length if length > 0.1 else np.array([0.0, 0.0, 1.0])


def atom_types(protein: ProteinView, bonded: Sequence[Sequence[int]] | None = None) -> tuple[list[str], list[bool]]:
    """AutoDock type of each heavy atom, and whether a polar hydrogen is bonded to it; `bonded`: of `bonded_atoms`.

    A modified residue has the types of the amino acid that it is made from, as far as their atoms are the same.
    """
    bonded = bonded_atoms(protein) if bonded is None else bonded
    types, donor = [""] * len(protein.x), [False] * len(protein.x)
    histidines: list[dict[str, int]] = []
    residues: dict[int, dict[str, int]] = defaultdict(dict)  # atoms by name
    for i, number in enumerate(protein.residue_index.tolist()):
        residues[number][protein.name[i]] = i
    for number, atoms in residues.items():
        own = protein.residues[number].name
        name = parent_name(own)
        modified = own != name
        peptide = {"N", "CA", "C"} <= atoms.keys()
        for label, i in atoms.items():
            table, ring = SIDE_CHAIN_TYPES.get(name, {}), AROMATIC.get(name, set())
            if peptide and label in BACKBONE_TYPES:
                types[i], donor[i] = BACKBONE_TYPES[label], label == "N" and name != "PRO"
            elif name and _is_amino_element(protein, i, label) and (not modified or label in table or label in ring):
                kind = table.get(label, "A" if label in ring else "")
                types[i] = kind or PLAIN.get(int(protein.element[i]), "C")
                donor[i] = kind == "N" or (name, label) in HYDROXYLS
            else:
                types[i], donor[i] = _by_distances(protein, i, bonded)
            most = MOST_BONDS_OF_DONOR.get((name, label), 1 if protein.element[i] == OXYGEN else 2)
            if modified and len(bonded[i]) > most:
                types[i], donor[i] = types[i].replace("NA", "N"), False
        free = [label for label in ("ND1", "NE2") if label in atoms and len(bonded[atoms[label]]) < 3]
        if name == "HIS" and len(free) == 2:
            histidines.append(atoms)
    _protonate(histidines, protein, types, donor)
    return types, donor


def _is_amino_element(protein: ProteinView, i: int, label: str) -> bool:
    """Whether the element is the one the atom's name begins with, as in every standard residue."""
    return gemmi.Element(int(protein.element[i])).name == label[:1]


def bonded_atoms(protein: ProteinView) -> list[list[int]]:
    """Atoms bonded to each atom by distance; a metal has none, its ligands do not count as bonds."""
    radius = np.array([COVALENT.get(int(z), 0.0) for z in protein.element])
    bonded: list[list[int]] = [[] for _ in radius]
    pairs = cKDTree(protein.x).query_pairs(LONGEST_BOND, output_type="ndarray")
    first, second = pairs.T
    distance = np.linalg.norm(protein.x[first] - protein.x[second], axis=1)
    real = (radius[first] > 0) & (radius[second] > 0) & (distance < 1.15 * (radius[first] + radius[second]))
    for i, j in pairs[real].tolist():
        bonded[i].append(j)
        bonded[j].append(i)
    return bonded


def _by_distances(protein: ProteinView, i: int, bonded: Sequence[Sequence[int]]) -> tuple[str, bool]:
    """Type and donor of an atom of a cofactor, an ion or a modified residue."""
    z, near = int(protein.element[i]), bonded[i]
    lengths = [float(np.linalg.norm(protein.x[i] - protein.x[j])) for j in near]
    if z == OXYGEN:
        to_carbon = len(near) == 1 and protein.element[near[0]] == 6
        to_thiol = len(near) == 1 and protein.element[near[0]] == 16 and len(bonded[near[0]]) <= 2
        return "OA", not near or to_thiol or (to_carbon and lengths[0] > HYDROXYL_CO)
    if z == 7:
        if len(near) >= 3:
            return "N", False
        if len(near) == 2:
            return ("N", True) if min(lengths) > AMINE_CN else ("NA", False)
        return ("NA", False) if lengths and lengths[0] < NITRILE_CN else ("N", True)
    return METALS.get(z) or PLAIN.get(z) or "Zn", False


def _protonate(histidines: Sequence[dict[str, int]], protein: ProteinView, types: list[str], donor: list[bool]) -> None:
    """One hydrogen for each histidine: on the nitrogen with more acceptors in reach, else on NE2; never at a metal."""
    if not histidines:
        return
    tree = cKDTree(protein.x)

    def liking(i: int) -> int:
        score = 0
        for j in tree.query_ball_point(protein.x[i], HYDROGEN_BOND):
            metal = types[j] in METALS.values() and protein.element[j] not in PLAIN
            if metal:
                score -= 10 if np.linalg.norm(protein.x[i] - protein.x[j]) < METAL_BOND else 0
            elif protein.residue_index[i] != protein.residue_index[j]:
                score += (types[j] == "OA" and not donor[j]) - (types[j] == "N" and donor[j])
        return score

    for atoms in histidines:
        chosen = atoms["ND1"] if liking(atoms["ND1"]) > liking(atoms["NE2"]) else atoms["NE2"]
        types[chosen], donor[chosen] = "N", True
