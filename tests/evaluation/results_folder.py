"""A results folder as `ligandsmith evaluate` writes it, from the real complexes and variants of their ligands."""

import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import QED, rdMolDescriptors
from rdkit.Contrib.SA_Score import sascorer
from scipy.spatial import cKDTree

from ligandsmith.chem.protein import ProteinView, count_clashes, load_protein
from ligandsmith.chem.sdf import read_sdf, write_sdf

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
POCKETS = ("3ln1", "7off", "7sza")
SWAPS = {6: (7,), 7: (6, 8), 8: (7, 16), 9: (17, 1), 17: (9, 35), 16: (8,)}
CHECKS = (
    "bond_lengths",
    "bond_angles",
    "internal_steric_clash",
    "aromatic_ring_flatness",
    "minimum_distance_to_protein",
)
UNITS = {"valid": "fraction", "connected": "fraction", "valid_connected": "fraction", "unique": "fraction",
         "pb_valid": "fraction", "pb_valid_of_requested": "fraction", "qed": "", "sa": "", "logp": "",
         "heavy_atoms": "atoms", "clashes": "pairs", "vina_score": "kcal/mol", "strain": "kcal/mol"}  # fmt: skip
BETTER = {"sa": "lower", "clashes": "lower", "vina_score": "lower", "strain": "lower", "logp": "none",
          "heavy_atoms": "none"}  # fmt: skip
HOSTILE = "<img src=x onerror=document.title='owned'></script><script>document.title='owned'</script>"
TITLES = ("", "ligand", "ligand", "Ångström-Δ 配体", HOSTILE, "a|b `c` *d*")


@dataclass(frozen=True)
class Made:
    """One requested molecule of the fixture."""

    pocket: str
    index: int
    title: str
    mol: Chem.Mol | None
    row: dict[str, Any]


@cache
def reference(pocket: str) -> Chem.Mol:
    mol = read_sdf(COMPLEXES / pocket / "ligand.sdf")[0].mol
    assert mol is not None
    return Chem.RemoveHs(mol)


@cache
def protein(pocket: str) -> ProteinView:
    return load_protein(COMPLEXES / pocket / "protein.pdb.gz", reference(pocket))


def variant(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol | None:
    """Elements of one to three atoms exchanged and the atoms shaken, or None where RDKit refuses the result."""
    edited = Chem.RWMol(mol)
    for _ in range(int(rng.integers(1, 4))):
        atom = edited.GetAtomWithIdx(int(rng.integers(edited.GetNumAtoms())))
        bare = atom.GetAtomicNum() == 6 and not atom.GetTotalNumHs()
        if atom.GetAtomicNum() in SWAPS and not atom.GetFormalCharge() and not bare:
            atom.SetAtomicNum(int(rng.choice([z for z in SWAPS[atom.GetAtomicNum()] if z > 1])))
            atom.SetNumExplicitHs(0)
    conformer = edited.GetConformer()
    shake = float(rng.choice([0.03, 0.06, 0.12]))
    conformer.SetPositions(conformer.GetPositions() + rng.normal(0, shake, (edited.GetNumAtoms(), 3)))
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(edited, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return None
    made = edited.GetMol()
    made.SetDoubleProp("shake", shake)
    return made


def make(pocket: str, index: int, seen: set[str]) -> Made:
    rng = np.random.default_rng([POCKETS.index(pocket), index])
    mol = variant(reference(pocket), rng)
    title = TITLES[index % len(TITLES)]
    row: dict[str, Any] = {"pocket": pocket, "index": index, "title": title}
    if mol is None:
        row |= {"reason": "valence", "detail": "an atom has too many bonds", "smiles": "", "valid": 0.0}
        return Made(pocket, index, title, None, row | {"valid_connected": 0.0, "pb_valid_of_requested": 0.0})
    smiles = Chem.MolToSmiles(mol)
    clashes = count_clashes(mol, protein(pocket))
    shake = mol.GetDoubleProp("shake")
    checks = {name: bool(rng.random() > 2.5 * shake) for name in CHECKS} | {"minimum_distance_to_protein": clashes == 0}
    ok = float(all(checks.values()))
    row |= {
        "reason": "", "detail": "", "smiles": smiles, "valid": 1.0, "connected": 1.0, "valid_connected": 1.0,
        "unique": float(smiles not in seen), "qed": QED.qed(mol), "sa": sascorer.calculateScore(mol),
        "logp": rdMolDescriptors.CalcCrippenDescriptors(mol)[0], "heavy_atoms": float(mol.GetNumHeavyAtoms()),
        "clashes": float(clashes), "vina_score": -9 + 20 * shake + rng.normal(0, 0.6) + 1.5 * clashes,
        "strain": 40 + 900 * shake + rng.normal(0, 8), "pb_valid": ok, "pb_valid_of_requested": ok,
        **{f"pb_{name}": answer for name, answer in checks.items()},
    }  # fmt: skip
    if index % 9 == 5:
        row["vina_score"], row["pb_bond_angles"] = None, None
    seen.add(smiles)
    return Made(pocket, index, title, mol, row)


def contacts(mol: Chem.Mol, pocket: str) -> list[dict[str, Any]]:
    """Polar contacts within 3.4 Å and carbon contacts within 3.9 Å, with the names of ProLIF."""
    target = protein(pocket)
    tree = cKDTree(target.x)
    found = []
    for atom, place in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        polar = atom.GetAtomicNum() in (7, 8)
        for near in tree.query_ball_point(place, 3.4 if polar else 3.9):
            element = int(target.element[near])
            if polar != (element in (7, 8)):
                continue
            residue = target.residues[target.residue_index[near]]
            kind = ("HBAcceptor" if atom.GetAtomicNum() == 8 else "HBDonor") if polar else "Hydrophobic"
            ends = {"ligand_xyz": [float(v) for v in place], "protein_xyz": target.x[near].tolist()}
            found.append({"type": kind, "residue": f"{residue.name}{residue.number}.{residue.chain}", **ends})
    return sorted(found, key=lambda contact: contact["type"])[:20]


def write_results(folder: Path, per_pocket: int = 12, pockets: Sequence[str] = POCKETS) -> list[Made]:
    """The whole folder; returns what was made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for pocket in pockets:
        seen: set[str] = set()
        made += [make(pocket, index, seen) for index in range(per_pocket)]
    write_table(folder / "per_molecule.csv", [m.row for m in made])
    write_sdf(folder / "molecules.sdf", ((titled(m.mol, m.title), {"pocket": m.pocket, "index": m.index})
                                         for m in made if m.mol is not None))  # fmt: skip
    write_sdf(folder / "references.sdf", ((reference(p), {"pocket": p}) for p in pockets))
    (folder / "pockets").mkdir(exist_ok=True)
    for pocket in pockets:
        around = protein(pocket).crop(reference(pocket).GetConformer().GetPositions(), 6.0)
        (folder / "pockets" / f"{pocket}.pdb").write_text(Chem.MolToPDBBlock(around))
    interactions = {f"{m.pocket}/{m.index}": contacts(m.mol, m.pocket) for m in made if m.mol is not None}
    interactions |= {f"{pocket}/reference": contacts(reference(pocket), pocket) for pocket in pockets}
    (folder / "interactions.json").write_text(json.dumps(interactions))
    (folder / "summary.json").write_text(json.dumps(summary(made)))
    return made


def titled(mol: Chem.Mol, title: str) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.SetProp("_Name", title)
    return copy


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    fixed = ["pocket", "index", "title", "reason", "detail", "smiles"]
    names = [*fixed, *UNITS, *(f"pb_{name}" for name in CHECKS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def summary(made: list[Made]) -> dict[str, Any]:
    rows = [m.row for m in made]
    pockets = list(dict.fromkeys(m.pocket for m in made))
    valid = [row for row in rows if not row["reason"]]
    metrics = {name: entry(name, [row.get(name) for row in rows], len(valid)) for name in UNITS}
    metrics["novel"] = entry("novel", [], len(valid)) | {"status": "not run: no known molecules given"}
    checks = {name: entry(name, [row.get(f"pb_{name}") for row in valid], 0) | {"undecided": 0} for name in CHECKS}
    inputs = [
        {"pocket": p, "ligands": f"samples/{p}/ligands.sdf", "protein": f"{p}.pdb", "reference": f"{p}.sdf",
         "requested": sum(m.pocket == p for m in made)} for p in pockets
    ]  # fmt: skip
    return {
        "format": 2,
        "protocol": {"name": "crossdocked", "version": "1", "columns": ["vina_score", "qed", "sa", "strain"],
                     "differences": ["SA is given here as 1 to 10."]},
        "command": "ligandsmith evaluate samples --protocol crossdocked --out results",
        "versions": {"ligandsmith": "0.1.0", "rdkit": "2026.9.1", "vina": "1.2.7"},
        "created": "2026-11-24T23:05:00+00:00",
        "seconds": 83.2,
        "inputs": inputs,
        "generation": {p: {"seed": 7, "checkpoint": "weights/tiny.pt (sha256 9f2c…)", "steps": 50} for p in pockets},
        "requested": len(rows),
        "failures": {"valence": len(rows) - len(valid)} if len(rows) > len(valid) else {},
        "funnel": funnel(rows, valid),
        "metrics": metrics,
        "reference": {"qed": 0.62, "sa": 2.6, "logp": 2.9, "heavy_atoms": 24.3, "clashes": 0.0, "vina_score": -8.1,
                      "strain": 61.0, "connected": 1.0},
        "posebusters": {"status": "ok", "suite": "dock", "checks": checks},
        "distributions": {
            "status": "ok",
            "bond_length": {"C-C": {"jsd": 0.31, "n": 412}, "C:N": {"jsd": 0.22, "n": 90}},
            "angle": {"CCC": {"jsd": 0.18, "n": 300}},
            "torsion": {"CCCC": {"jsd": 0.35, "n": 120}},
        },
        "published": [
            {"method": "TargetDiff", "source": "FuncBind, Table 1", "vina_score": -5.47, "qed": 0.48},
            {"method": "MolCRAFT", "source": "FuncBind, Table 1", "vina_score": -6.59, "qed": 0.50},
        ],
        "pockets": {
            p: {name: mean([m.row.get(name) for m in made if m.pocket == p]) for name in UNITS} for p in pockets
        },
    }  # fmt: skip


def funnel(rows: list[dict[str, Any]], valid: list[dict[str, Any]]) -> list[dict[str, Any]]:
    unique = [row for row in valid if row["unique"]]
    good = [row for row in unique if row["pb_valid"]]
    return [
        {"stage": "requested", "n": len(rows), "lost": {}},
        {"stage": "built", "n": len(valid), "lost": {"valence": len(rows) - len(valid)}},
        {"stage": "valid", "n": len(valid), "lost": {}},
        {"stage": "connected", "n": len(valid), "lost": {}},
        {"stage": "unique", "n": len(unique), "lost": {"same as an earlier one": len(valid) - len(unique)}},
        {"stage": "posebusters", "n": len(good), "lost": {"fails a check": len(unique) - len(good)}},
    ]


def mean(values: Sequence[Any]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return statistics.fmean(known) if known else None


def entry(name: str, values: Sequence[Any], size: int) -> dict[str, Any]:
    known = [float(v) for v in values if v is not None]
    middle = mean(known)
    error = 1.96 * statistics.pstdev(known) / len(known) ** 0.5 if known else 0.0
    bounds = (None, None) if middle is None else (middle - error, middle + error)
    return {
        "mean": middle, "median": statistics.median(known) if known else None, "low": bounds[0], "high": bounds[1],
        "n": len(known), "population": "valid", "population_size": max(size, len(known)), "failures": 0,
        "unit": UNITS.get(name, ""), "better": BETTER.get(name, "higher"), "meaning": f"what {name} means",
        "status": "ok",
    }  # fmt: skip
