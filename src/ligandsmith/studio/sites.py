"""The site: what there is to choose from in a protein, and what a choice selects."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.structure.ligands import heavy_positions, read_ligand
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.protein import Protein, Residue, read_protein
from ligandsmith.structure.vocabulary import Kind
from ligandsmith.studio.projects import Project, Projects
from ligandsmith.studio.tables import Version, version

MOST_RESIDUES = 200
SMALLEST_LIGAND = 5  # heavy atoms of what is offered as a place


def short_label(residue: Residue) -> str:
    """CHAIN:NAMENUMBER, as pages and interactions name residues: `A:SER508`."""
    return f"{residue.chain}:{residue.name}{residue.place}"


@lru_cache(maxsize=16)
def _protein(path: Path, _: Version | None) -> Protein:
    return read_protein(path)


def project_protein(project: Project) -> Protein:
    """The protein of a project. Raises LigandsmithError."""
    return _protein(project.protein_path, version(project.protein_path))


def protein_summary(project: Project) -> dict[str, Any] | None:
    """Chains, molecules and notes of the protein, as the API has it; None without one."""
    if not project.protein:
        return None
    protein = project_protein(project)
    chains = Counter(residue.chain for residue in protein.residues if residue.kind is Kind.POLYMER)
    hets = [i for i in protein.hets if protein.residues[i].kind is Kind.LIGAND or is_cofactor(protein.residues[i])]
    ligands = [_het(protein, i) for i in hets if not protein.residues[i].is_additive]
    return {
        "file": project.protein, "name": project.protein_name, "num_atoms": protein.num_atoms,
        "chains": [{"name": name, "residues": count} for name, count in chains.items()],
        "ligands": [ligand for ligand in ligands if ligand["heavy_atoms"] >= SMALLEST_LIGAND],
        "notes": [protein.description(project.protein_name or project.protein)],
    }  # fmt: skip


def is_cofactor(residue: Residue) -> bool:
    """Whether a residue is a cofactor of more than one atom."""
    return residue.kind is Kind.COFACTOR


def _het(protein: Protein, index: int) -> dict[str, Any]:
    residue, rows = protein.residues[index], protein.residue_of == index
    kind = "cofactor" if is_cofactor(residue) else "ligand"
    return {
        "id": short_label(residue), "name": residue.name, "chain": residue.chain, "kind": kind,
        "heavy_atoms": int(rows.sum()), "center": _point(protein.x[rows].mean(0)),
    }  # fmt: skip


def reference_summary(project: Project) -> dict[str, Any] | None:
    """The reference ligand, as the API has it; None without one."""
    if not project.ligand:
        return None
    return dict(_reference(project.ligand_path, version(project.ligand_path))) | {"name": project.ligand_name}


@lru_cache(maxsize=16)
def _reference(path: Path, _: Version | None) -> Mapping[str, Any]:
    mol = read_ligand(path)
    heavy = Chem.RemoveHs(mol)
    return {
        "file": path.name, "smiles": Chem.MolToSmiles(heavy), "heavy_atoms": heavy.GetNumHeavyAtoms(),
        "center": _point(np.asarray(heavy_positions(mol)).mean(0)),
    }  # fmt: skip


def checked_site(project: Project, site: Mapping[str, Any]) -> dict[str, Any]:
    """A site as it is kept and as the commands take it: residues and molecules by the labels of the file.

    Raises LigandsmithError for one that does not name exactly one place, or names something that is not there.
    """
    given = [name for name in ("het", "ligand", "residues", "center") if site.get(name)]
    if len(given) != 1:
        raise LigandsmithError("name the site in one way: a ligand of the file, the reference, residues or a point")
    if given == ["ligand"]:
        project.ligand_path  # noqa: B018 (raises)
        return {"ligand": True}
    residues = project_protein(project).residues
    if given == ["het"]:
        return {"het": _labelled(residues, [str(site["het"])])[0].het_label}
    if given == ["residues"]:
        if len(site["residues"]) > MOST_RESIDUES:
            raise LigandsmithError(f"at most {MOST_RESIDUES} residues make a site")
        return {"residues": [_usable(residue.label) for residue in _labelled(residues, site["residues"])]}
    return {"center": [round(float(x), 3) for x in site["center"]]} | (
        {"radius": float(site["radius"])} if site.get("radius") else {}
    )


def _usable(label: str) -> str:
    if label.startswith("-"):
        raise LigandsmithError(f"residue {label}: a chain whose name begins with - cannot be named; choose a point")
    return label


def _labelled(residues: Sequence[Residue], labels: Sequence[str]) -> list[Residue]:
    """The residues of labels in any of their forms. Raises LigandsmithError."""
    names: dict[str, Residue] = {}
    for residue in residues:
        for name in (short_label(residue), *residue.names):
            names.setdefault(name, residue)
    missing = [label for label in labels if label not in names]
    if missing:
        raise LigandsmithError(f"the protein has no residue {shortened(missing[0])}; name it as in A:SER508")
    return [names[label] for label in labels]


def shown_site(project: Project) -> dict[str, Any] | None:
    """The site as the API has it: with the labels that pages use."""
    site = dict(project.site) if project.site else None
    if site and project.protein and ("het" in site or "residues" in site):
        residues = project_protein(project).residues
        for name in ("het", "residues"):
            if name in site:
                labels = [site[name]] if name == "het" else site[name]
                found = [short_label(residue) for residue in _labelled(residues, labels)]
                site[name] = found[0] if name == "het" else found
    return site


@dataclass(frozen=True)
class Preview:
    """What a site selects."""

    center: list[float]
    residues: list[str]
    num_atoms: int
    notes: list[str]


def preview(project: Project, site: Mapping[str, Any]) -> Preview:
    """What a site selects, and what is kept and left out. Raises LigandsmithError."""
    wanted = checked_site(project, site)
    protein, ligand = project_protein(project), project.ligand_path if wanted.get("ligand") else None
    radius = {"radius": wanted["radius"]} if "radius" in wanted else {}
    pocket, report = read_pocket(
        project.protein_path, ligand, wanted.get("residues"), wanted.get("center"), wanted.get("het"), **radius
    )
    if "center" in wanted:
        center = np.array(wanted["center"])
    elif ligand is not None:
        center = np.asarray(heavy_positions(read_ligand(ligand))).mean(0)
    else:
        chosen = _labelled(protein.residues, wanted.get("residues") or [wanted["het"]])
        indices = [i for i, residue in enumerate(protein.residues) if residue in chosen]
        center = protein.x[np.isin(protein.residue_of, indices)].mean(0)
    labels = [label.split(":") for label in pocket.labels]
    names = [f"{chain}:{name}{number}" for chain, name, number in labels]
    return Preview(_point(center), names, report.num_atoms, report.lines())


def _point(x: Any) -> list[float]:
    return [round(float(v), 3) for v in x]


def set_site(projects: Projects, id: str, site: Mapping[str, Any]) -> Project:
    """Choose the site of a project. Raises LigandsmithError."""
    with projects.lock:
        project = projects.get(id)
        return projects.save(replace(project, site=checked_site(project, site)))
