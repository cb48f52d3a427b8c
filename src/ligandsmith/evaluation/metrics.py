"""The registry of metrics of generated ligands. A metric is one entry in METRICS. Never imports torch."""

from dataclasses import dataclass
from typing import Literal

from rdkit import Chem
from rdkit.Chem import QED, rdMolDescriptors

from ligandsmith.chem.protein import count_clashes
from ligandsmith.evaluation import alerts, shape
from ligandsmith.evaluation import columns as c
from ligandsmith.evaluation.input import EvaluationInput, Population
from ligandsmith.evaluation.statistics import Value
from ligandsmith.evaluation.tools.clashes import count_posecheck_clashes

Better = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """What is measured, in which unit, which direction is better, on which population, and how.

    The function gives one value for each sample, None where it has none, or raises NotRun. Values outside the
    population are ignored: 'requested' is every molecule asked for, 'valid' what RDKit sanitises, 'connected' the valid
    molecules of one fragment, 'size-matched' those of the reference's size (± 2 heavy atoms).
    """

    name: str
    meaning: str
    unit: str
    better: Better
    population: Population
    function: c.Column

    def values(self, data: EvaluationInput) -> list[Value]:
        """One value for each sample of the population, None for the others; raises NotRun."""
        members = data.members(self.population)
        return [v if member else None for v, member in zip(self.function(data), members, strict=True)]


SHARE, KCAL, COUNT = "fraction", "kcal/mol", "count"
_qed, _sa = c.per_molecule(QED.qed), c.per_molecule(lambda mol: (10 - c.sa_score(mol)) / 9)
_dock = c.from_tool("vina", "vina_dock")
_pb = c.pose_checks()
_alerts, _clashes = c.per_molecule(alerts.alerts), c.against("protein", count_clashes)


def _from_tool(tool: str, name: str, meaning: str, unit: str, better: Better) -> Metric:
    """A value that a slow tool gives under the name of the metric, on connected molecules."""
    return Metric(name, meaning, unit, better, "connected", c.from_tool(tool, name))


def _share(name: str, meaning: str, population: Population, function: c.Column) -> Metric:
    """A share of molecules, of which more is better."""
    return Metric(name, meaning, SHARE, "higher", population, function)


# fmt: off
_ALL = (
    _share("valid", "RDKit sanitises the molecule", "requested", c.valid),
    _share("connected", "a valid molecule is one fragment", "valid", c.connected),
    _share("valid_connected", "valid and one fragment", "requested", c.connected),
    _share("unique", "first of its canonical SMILES (no stereo) in its pocket", "connected", c.unique),
    _share("novel", "not among the known molecules (no stereo)", "connected", c.novel),
    Metric("diversity", "1 - mean Tanimoto similarity to the others of the pocket (Morgan, radius 2, 2048 bits)", "",
           "higher", "connected", c.diversity),
    Metric("qed", "quantitative estimate of drug-likeness", "", "higher", "connected", _qed),
    Metric("sa", "synthetic accessibility (Ertl and Schuffenhauer), 1 easy to 10 hard", "", "lower", "connected",
           c.per_molecule(c.sa_score)),
    Metric("sa_normalised", "(10 - sa) / 9", "", "higher", "connected", _sa),
    Metric("logp", "Crippen logP", "", "none", "connected", c.per_molecule(c.logp)),
    Metric("lipinski", "rules of five kept: weight <= 500, logP <= 5, donors <= 5, acceptors <= 10", "of 4", "higher",
           "connected", c.per_molecule(c.lipinski)),
    Metric("heavy_atoms", "heavy atoms", "atoms", "none", "valid", c.per_molecule(Chem.Mol.GetNumHeavyAtoms)),
    Metric("heavy_atoms_over_reference", "heavy atoms more than the reference ligand", "atoms", "none", "valid",
           c.against("reference", lambda mol, ref: mol.GetNumHeavyAtoms() - ref.GetNumHeavyAtoms())),
    Metric("rings", "rings (SSSR)", "rings", "none", "valid", c.per_molecule(rdMolDescriptors.CalcNumRings)),
    Metric("small_ring_share", "share of the rings that have 3 or 4 atoms; molecules without rings have none", SHARE,
           "none", "connected", c.per_molecule(alerts.small_ring_share)),
    Metric("fused_rings", "rings in the largest system of rings that share bonds", "rings", "none", "connected",
           c.per_molecule(alerts.fused_rings)),
    Metric("largest_ring", "atoms in the largest ring", "atoms", "none", "connected",
           c.per_molecule(alerts.largest_ring)),
    _share("stereo_defined", "every possible stereocentre and double bond is assigned", "connected",
           c.per_molecule(alerts.stereo_defined)),
    Metric("pains", "PAINS alerts", COUNT, "lower", "connected", c.per_molecule(alerts.pains)),
    Metric("alerts", "BRENK alerts: reactive, unstable or toxic groups", COUNT, "lower", "connected", _alerts),
    _share("no_alerts", "no BRENK alert", "connected", c.is_zero(_alerts)),
    Metric("clashes", "ligand-protein heavy atom pairs closer than 0.75 of their van der Waals radii", "pairs", "lower",
           "valid", _clashes),
    _share("clash_free", "no such pair", "valid", c.is_zero(_clashes)),
    Metric("posecheck_clashes", "ligand-protein atom pairs, hydrogens included, 0.5 Å closer than their van der Waals "
           "radii (PoseCheck)", "pairs", "lower", "valid",
           c.against("protein", count_posecheck_clashes)),
    _share("pb_valid", "passes every PoseBusters check", "valid", _pb),
    _share("pb_valid_of_requested", "valid and passes every PoseBusters check", "requested", c.or_zero(_pb)),
    _share("pb_molecule", "passes the PoseBusters checks of the molecule alone", "valid",
           c.pose_checks(lambda name: not c.in_pocket(name))),
    _share("pb_pocket", "passes the PoseBusters checks of the pose in the pocket", "valid", c.pose_checks(c.in_pocket)),
    _from_tool("strain", "strain_uff", "UFF energy of the pose above that of a relaxed conformer (PoseCheck)", KCAL,
               "lower"),
    _from_tool("strain", "strain_mmff", "the same in MMFF94s", KCAL, "lower"),
    _from_tool("interactions", "hb_donors", "residues to which the ligand donates a hydrogen bond", COUNT, "none"),
    _from_tool("interactions", "hb_acceptors", "residues from which the ligand accepts a hydrogen bond", COUNT, "none"),
    _from_tool("interactions", "hydrophobic", "residues in hydrophobic contact", COUNT, "none"),
    _from_tool("interactions", "pi", "pi stackings and cation-pi interactions, by residue", COUNT, "none"),
    _from_tool("interactions", "ionic", "salt bridges and bonds to metals, by residue", COUNT, "none"),
    _from_tool("interactions", "interaction_recovery",
               "share of the reference ligand's interactions (residue and type)", SHARE, "higher"),
    Metric("shape_similarity", "1 - shape Tanimoto distance to the reference ligand, in place", "", "higher",
           "connected", c.against("reference", shape.shape_similarity)),
    Metric("centroid_distance", "between the centres of the molecule and the reference ligand", "Å", "lower",
           "connected", c.against("reference", shape.centroid_distance)),
    _from_tool("vina", "vina_score", "AutoDock Vina score of the pose as it is", KCAL, "lower"),
    _from_tool("vina", "vina_min", "after local minimisation in Vina's score", KCAL, "lower"),
    Metric("vina_dock", "best score of docking anew", KCAL, "lower", "connected", _dock),
    _from_tool("vina", "dock_rmsd", "heavy-atom RMSD between the pose and the docked one", "Å", "lower"),
    Metric("vina_dock_per_atom", "docking score per heavy atom", KCAL, "lower", "connected", c.per_heavy_atom(_dock)),
    Metric("vina_score_size_matched", "Vina score, molecules within 2 heavy atoms of the reference's size", KCAL,
           "lower", "size-matched", c.from_tool("vina", "vina_score")),
    Metric("vina_dock_size_matched", "docking score, molecules within 2 heavy atoms of the reference's size", KCAL,
           "lower", "size-matched", _dock),
    _share("high_affinity", "docks at least as well as the reference ligand", "connected",
           c.at_most_reference("vina", "vina_dock")),
    _share("success", "vina_dock < -8.18, qed > 0.25 and sa_normalised > 0.59", "requested", c.success(_qed, _sa)),
    Metric("seconds", "wall time of the generation per requested molecule", "s", "lower", "requested", c.seconds),
)
# fmt: on
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
