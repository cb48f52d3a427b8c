"""Flags for what every ligand contains, must be and must not be."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ligandsmith.cli.arguments import add_path, atom_numbers, checked, non_negative, number_or_any, numbers, with_flags
from ligandsmith.config import MAX_ATOMS, MIN_ATOMS, SamplingConfig, Setting, setting_of
from ligandsmith.options import GenerationOptions

SLACK = 3  # heavy atoms more or less than the reference, where a part of it is replaced
PARTS = ("fix", "replace", "hop", "decorate")
ATOMS_OF_PARTS = ("grow_from", "atoms", "smarts")
CONSTRAINTS = (
    "wanted",
    "covalent",
    "warhead",
    "require",
    "like",
    "steer",
    "toward",
    "exclude",
    "forbid",
    "require_smarts",
    "charge",
    "chiral_centers_max",
    "no_alerts",
    "rings",
)


UNSET: dict[str, Any] = {"default": argparse.SUPPRESS}


def add_parts(parser: argparse.ArgumentParser) -> None:
    """The flags of what every ligand contains."""
    parts = parser.add_argument_group(
        "fragments", "What every ligand contains, exactly as given; in the protein's coordinates."
    )
    text = "fragment; with dummy atoms, it grows there only; several files are linked, or merged where they overlap"
    parts.add_argument("--fix", type=Path, nargs="+", action="extend", metavar="SDF", help=text, **UNSET)
    text = "atoms of the fragment that get new bonds, by number in the file, e.g. 3,7-9 (default: all with hydrogens)"
    parts.add_argument("--grow_from", type=atom_numbers, metavar="N,N", help=text, **UNSET)
    add_path(parts, "--replace", "ligand of which --atoms or --smarts are replaced; the rest stays", "SDF", **UNSET)
    text = "with --replace: numbers of the atoms in the file, e.g. 5-12"
    parts.add_argument("--atoms", type=atom_numbers, metavar="N-N", help=text, **UNSET)
    parts.add_argument("--smarts", metavar="SMARTS", help="with --replace: the atoms of its first match", **UNSET)
    add_path(parts, "--hop", "ligand whose substituents stay and whose scaffold (Murcko) is replaced", "SDF", **UNSET)
    add_path(parts, "--decorate", "ligand whose scaffold stays and gets other substituents", "SDF", **UNSET)
    text = "residue that every ligand is bonded to, as in A:CYS145; needs --warhead"
    parts.add_argument("--covalent", metavar="RESIDUE", help=text, **UNSET)
    text = "acrylamide, nitrile, ... (18 are known), or a file of the bonded form with a dummy atom for the residue's"
    parts.add_argument("--warhead", metavar="NAME|SDF", help=text, **UNSET)


def add_constraints(parser: argparse.ArgumentParser) -> None:
    """All flags of `generate`."""
    add_parts(parser)
    add_demands(parser)
    choice = parser.add_argument_group("choice")
    text = "what decides between plausible candidates, e.g. 'vina_min, qed:0.5, -logp'; see docs/settings.md"
    choice.add_argument("--objective", dest="wanted", metavar="NAME[:WEIGHT],...", help=text, **UNSET)


def add_demands(parser: argparse.ArgumentParser) -> None:
    """The flags of what every ligand must be and must not be."""
    demands = parser.add_argument_group("constraints", "A ligand that breaks one is a failure.")
    text = (
        "interaction with a residue or one of its atoms: hbond, pi, salt, contact or metal, as in 'hbond A:SER508' or "
        "'hbond A:GLU81:O'; repeatable"
    )
    demands.add_argument("--require", action="append", metavar="'KIND RESIDUE'", help=text, **UNSET)
    add_path(demands, "--like", "reference ligand, all interactions of which are required", "SDF", **UNSET)
    text = "no heavy atom in this sphere (Å), or in those of a CSV file (x, y, z, radius); repeatable"
    demands.add_argument("--exclude", action="append", metavar="X,Y,Z,R|CSV", help=text, **UNSET)
    text = "draw the ligand to this place (Å), as far as it reaches"
    demands.add_argument("--toward", type=numbers, metavar="X,Y,Z", help=text, **UNSET)
    text = "no match of this pattern, or of those of a file, one a line; repeatable"
    demands.add_argument("--forbid", action="append", metavar="SMARTS|FILE", help=text, **UNSET)
    text = "a match of this pattern, or of each of those of a file; repeatable"
    demands.add_argument("--require_smarts", action="append", metavar="SMARTS|FILE", help=text, **UNSET)
    text = "formal charge: a number or a range like -1,0"
    demands.add_argument("--charge", type=_charges, metavar="N|N,N", help=text, **UNSET)
    text = "largest number of chiral centres"
    demands.add_argument("--chiral_centers_max", type=non_negative, metavar="N", help=text, **UNSET)
    text = "no structural alert (BRENK: reactive, unstable, toxic groups)"
    demands.add_argument("--no-alerts", dest="no_alerts", action="store_true", help=text, **UNSET)
    text = "known: only ring systems of the 14,949 shipped crystal ligands"
    demands.add_argument("--rings", choices=["known"], help=text, **UNSET)
    text = "vina: move atoms along the gradient of Vina's function while a ligand is sampled (default: none)"
    demands.add_argument("--steer", choices=["none", "vina"], help=text, **UNSET)
    for name in ("qed", "sa", "logp", "usual_qed", "usual_sa"):
        field = SamplingConfig.__dataclass_fields__[name]
        limits, default = setting_of(field), "any" if field.default is None else field.default
        flag = demands.add_argument(f"--{name}", type=number_or_any(limits), metavar="X", **UNSET)
        flag.help = f"{limits.help} ({limits.allowed()}, or any; default: {default})"


def require_fitting_parts(args: argparse.Namespace) -> None:
    """Raise ArgumentTypeError for flags that contradict each other."""
    given = [name for name in PARTS if hasattr(args, name)]
    in_rows = [name for name in PARTS + ATOMS_OF_PARTS if hasattr(args, name)]
    if in_rows and args.manifest is not None:
        raise argparse.ArgumentTypeError(
            f"--{in_rows[0]}: a fragment lies in one pocket; with --manifest, give it in the column {in_rows[0]}"
        )
    if len(given) > 1:
        raise argparse.ArgumentTypeError(f"argument --{given[1]}: not allowed with argument --{given[0]}")
    if hasattr(args, "like") and args.manifest is not None:
        raise argparse.ArgumentTypeError(
            "--like: a reference ligand lies in one pocket; with --manifest, give it in the column like"
        )
    if hasattr(args, "covalent") != hasattr(args, "warhead"):
        raise argparse.ArgumentTypeError("--covalent names the residue and --warhead what is bonded to it; give both")
    if hasattr(args, "grow_from") and (not hasattr(args, "fix") or len(args.fix) > 1):
        raise argparse.ArgumentTypeError("--grow_from names atoms of the fragment; give one file with --fix")
    chosen = [name for name in ("atoms", "smarts") if hasattr(args, name)]
    if chosen and not hasattr(args, "replace"):
        raise argparse.ArgumentTypeError(f"--{chosen[0]} names the part of --replace; give it, too")
    if hasattr(args, "replace") and len(chosen) != 1:
        raise argparse.ArgumentTypeError("--replace: give --atoms or --smarts, the part that is replaced")


def requested(args: argparse.Namespace) -> GenerationOptions:
    """What the flags, or the cells of a row of a manifest beside them, ask for. Raises LigandsmithError."""
    return replace(with_flags(GenerationOptions(), args), **constrained(args))


def constrained(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of GenerationOptions that no flag sets by itself."""
    if not any(hasattr(args, name) for name in PARTS + CONSTRAINTS):
        return {}
    from rdkit import Chem

    from ligandsmith.design import parts
    from ligandsmith.structure.ligands import read_ligand

    changes: dict[str, Any] = {}
    other_scaffold = ""
    if hasattr(args, "fix"):
        changes["fix"] = args.fix[0] if len(args.fix) == 1 else parts.joined(args.fix)
    source = next((getattr(args, name) for name in PARTS[1:] if hasattr(args, name)), None)
    if source is not None:
        reference = read_ligand(source)
        if hasattr(args, "replace"):
            numbers = args.atoms if hasattr(args, "atoms") else parts.chosen_atoms(reference, args.smarts)
            changes["fix"] = parts.without_atoms(reference, numbers)
        elif hasattr(args, "hop"):
            changes["fix"], other_scaffold = parts.substituents(reference), parts.murcko(reference)
        else:
            changes["fix"] = parts.scaffold(reference)
        if not hasattr(args, "num_atoms"):
            changes["num_atoms"] = _sizes(reference.GetNumHeavyAtoms(), changes["fix"].num_atoms)
    like = read_ligand(args.like) if hasattr(args, "like") else None
    if like is not None and "fix" not in changes and not hasattr(args, "num_atoms"):
        changes["num_atoms"] = _sizes(like.GetNumHeavyAtoms(), 0)
    return changes | _demands(args, other_scaffold, "" if like is None else Chem.MolToMolBlock(like))


def _sizes(heavy: int, fixed: int) -> str:
    """The reference's size, three atoms more or fewer."""
    low = max(heavy - SLACK, fixed + 1, MIN_ATOMS)
    return f"{low}-{max(low, min(heavy + SLACK, MAX_ATOMS))}"


def _demands(args: argparse.Namespace, other_scaffold: str, like: str) -> dict[str, Any]:
    from ligandsmith.design.constraints import Constraints, read_patterns, read_spheres
    from ligandsmith.design.objectives import parse_objectives
    from ligandsmith.design.steering import SteeringConfig

    def every(name: str, read: Any) -> tuple[Any, ...]:
        return tuple(value for text in getattr(args, name, ()) for value in read(text))

    wanted = getattr(args, "wanted", None)
    constraints = Constraints(
        exclude=every("exclude", read_spheres), forbid=every("forbid", read_patterns),
        require_smarts=every("require_smarts", read_patterns), charge=getattr(args, "charge", None),
        chiral_centers_max=getattr(args, "chiral_centers_max", None), alerts=not getattr(args, "no_alerts", False),
        known_rings=hasattr(args, "rings"), other_scaffold=other_scaffold,
        toward=getattr(args, "toward", None),
        steering=SteeringConfig() if getattr(args, "steer", "none") == "vina" else None,
        objectives=() if wanted is None else parse_objectives(wanted),
        require=tuple(getattr(args, "require", ())),
        covalent=getattr(args, "covalent", ""),
        warhead=getattr(args, "warhead", ""),
        like=like,
    )  # fmt: skip
    return {} if constraints == Constraints() else {"constraints": constraints}


def _charges(text: str) -> tuple[int, int]:
    read = checked(int, Setting("", -20, 20))
    values = [read(part) for part in text.split(",")]
    if not 1 <= len(values) <= 2 or values[0] > values[-1]:
        raise argparse.ArgumentTypeError(f"'{text}' is no charge or range like -1,0")
    return values[0], values[-1]
