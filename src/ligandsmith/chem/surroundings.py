"""The protein around a ligand, as relaxation sees it. Never imports torch."""

import numpy as np
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.relax import CUTOFF, Surroundings
from ligandsmith.chem.residues import residue_hydrogens
from ligandsmith.records import Pocket
from ligandsmith.structure.protein import Residue
from ligandsmith.structure.vocabulary import ATOM_NAMES, OTHER_ATOM, OTHER_RESIDUE, RESIDUES, Kind

HYDROGEN, CARBON, NITROGEN, OXYGEN = 1, 6, 7, 8
HYDROGEN_REACH = CUTOFF + 2.0  # Å, of residues whose hydrogens may be within the cutoff


class ProteinSurroundings:
    """The atoms of a protein around one ligand or another, with the hydrogens on carbon, whose places are known.

    Every O accepts hydrogen bonds, and those N that may have a lone pair: of histidine's ring and of het groups.
    """

    def __init__(self, protein: ProteinView) -> None:
        self.protein = protein
        het = np.array([residue.het for residue in protein.residues])[protein.residue_index]
        histidine = np.array([residue.name == "HIS" for residue in protein.residues])[protein.residue_index]
        lone_pair = het | (histidine & (np.array(protein.name) != "N"))
        accepts = (protein.element == OXYGEN) | ((protein.element == NITROGEN) & lone_pair)
        self.heavy = Surroundings(protein.x, protein.element, accepts)

    def of(self, mol: Chem.Mol) -> Surroundings:
        """All heavy atoms, and the hydrogens near the molecule."""
        heavy = self.heavy
        place = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((0, 3))
        near = self.protein.residues_near(place[np.isfinite(place).all(1)], HYDROGEN_REACH)
        hydrogens = [x[on == CARBON] for x, on in (residue_hydrogens(self.protein, i) for i in near)]
        x = np.concatenate([heavy.x, *hydrogens])
        more = np.zeros(len(x) - len(heavy.x), dtype=np.int64)
        return Surroundings(
            x, np.concatenate([heavy.element, more + HYDROGEN]), np.concatenate([heavy.accepts, more.astype(bool)])
        )


def protein_of(pocket: Pocket) -> ProteinView:
    """The atoms as those of a protein file; an atom without a name of the twenty amino acids has a number."""
    standard = pocket.residue < OTHER_RESIDUE
    names = tuple(ATOM_NAMES[name] if known and name < OTHER_ATOM else f"{number}"
                  for number, (name, known) in enumerate(zip(pocket.atom_name, standard, strict=True)))  # fmt: skip
    of_residue = np.zeros(int(pocket.residue_index.max()) + 1, dtype=np.int64)
    of_residue[pocket.residue_index] = pocket.residue
    residues = tuple(Residue("A", number, "", RESIDUES[kind] if kind < OTHER_RESIDUE else "UNK", Kind.POLYMER)
                     for number, kind in enumerate(of_residue.tolist(), 1))  # fmt: skip
    return ProteinView(
        pocket.name, residues, pocket.residue_index.astype(np.int64), names, pocket.element.astype(np.int64),
        pocket.x.astype(np.float64),
    )  # fmt: skip
