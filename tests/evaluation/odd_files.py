"""Files of one small protein as many programs write it, and the atoms that each of them means."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import gemmi
import numpy as np
from rdkit import Chem

from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7off"
REACH = 9.0  # Å from the ligand: the residues of the small protein
FAR = 70.0  # Å
MMCIF = [
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_asym_id",
    "pdbx_PDB_model_num",
]


@dataclass(frozen=True)
class Atom:
    """An atom of a file, and with `means` what it stands for: residue name, atom name, chain, number, insertion."""

    name: str
    residue: str
    chain: str
    number: int
    element: str
    x: tuple[float, float, float]
    insertion: str = ""
    record: str = "ATOM"
    altloc: str = ""
    occupancy: float = 1.0
    segment: str = ""


Atoms = list[Atom]


@dataclass(frozen=True)
class OddFile:
    """Name and content of a file, and the atoms that a reader must see of it."""

    name: str
    content: str | bytes
    atoms: Atoms
    renamed: tuple[str, ...] = ()  # what the reader must say that it renamed


@cache
def ligand() -> Chem.Mol:
    """The bound ligand, heavy atoms."""
    return Chem.RemoveHs(Chem.MolFromMolFile(str(SITE / "ligand.sdf")))


@cache
def small_protein() -> tuple[Atom, ...]:
    """Whole residues around the ligand; the first serine is a cysteine here and the first leucine a methionine."""
    text = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
    chain = gemmi.read_pdb_string(text)[0][0]
    points = ligand().GetConformer().GetPositions()
    found: Atoms = []
    for residue in chain:
        x = np.array([atom.pos.tolist() for atom in residue])
        if np.linalg.norm(x[:, None] - points[None], axis=-1).min() <= REACH:
            found += [
                Atom(a.name, residue.name, "A", residue.seqid.num, a.element.name.upper(),
                     (round(a.pos.x, 3), round(a.pos.y, 3), round(a.pos.z, 3)))
                for a in residue
            ]  # fmt: skip
    serine, leucine = (next(a.number for a in found if a.residue == name) for name in ("SER", "LEU"))
    mutations = {serine: ("CYS", {"OG": ("SG", "S")}), leucine: ("MET", {"CD1": ("SD", "S"), "CD2": ("CE", "C")})}
    for i, a in enumerate(found):
        residue, atoms = mutations.get(a.number, (a.residue, {}))
        name, element = atoms.get(a.name, (a.name, a.element))
        found[i] = replace(a, residue=residue, name=name, element=element)
    return tuple(found)


def pdb_line(atom: Atom, serial: str, *, left: bool = False, element: bool = True, number: str = "") -> str:
    """An ATOM record; `left`: the name begins in the first column of its field, whatever the element."""
    name = atom.name if left or len(atom.name) > 3 or len(atom.element) == 2 else f" {atom.name}"
    residue = f"{atom.residue:>3} " if len(atom.residue) < 4 else atom.residue
    place = "".join(f"{value:8.3f}" for value in atom.x)
    return (
        f"{atom.record:<6}{serial:>5} {name:<4}{atom.altloc or ' '}{residue}{atom.chain or ' ':1}"
        f"{number or atom.number:>4}{atom.insertion or ' '}   {place}{atom.occupancy:6.2f} 20.00      "
        f"{atom.segment:<4}{atom.element if element else '':>2}"
    ).rstrip()


def pdb(atoms: Sequence[Atom], *, end: str = "END\n", **how: bool) -> str:
    """A PDB file."""
    lines = (pdb_line(atom, str(serial), **how) for serial, atom in enumerate(atoms, 1))  # type: ignore[arg-type]
    return "\n".join(lines) + "\n" + end


def mmcif(atoms: Sequence[Atom], leave_out: Sequence[str] = (), **values: Callable[[Atom], str]) -> str:
    """An mmCIF file without some columns and with other values in some."""
    columns = [name for name in MMCIF if name not in leave_out]
    order = {key: i for i, key in enumerate(dict.fromkeys((a.chain, a.number, a.insertion) for a in atoms), 1)}
    rows = []
    for serial, atom in enumerate(atoms, 1):
        hetero = atom.record == "HETATM"
        given = {
            "group_PDB": atom.record, "id": str(serial), "type_symbol": atom.element, "label_atom_id": atom.name,
            "label_alt_id": atom.altloc or ".", "label_comp_id": atom.residue, "label_asym_id": atom.chain,
            "label_entity_id": "2" if hetero else "1", "pdbx_PDB_ins_code": atom.insertion or "?",
            "label_seq_id": "." if hetero else str(order[atom.chain, atom.number, atom.insertion]),
            "Cartn_x": f"{atom.x[0]:.3f}", "Cartn_y": f"{atom.x[1]:.3f}", "Cartn_z": f"{atom.x[2]:.3f}",
            "occupancy": f"{atom.occupancy:.2f}", "B_iso_or_equiv": "20.0", "auth_seq_id": str(atom.number),
            "auth_asym_id": atom.chain, "pdbx_PDB_model_num": "1",
        }  # fmt: skip
        given |= {name: value(atom) for name, value in values.items()}
        rows.append(" ".join(f'"{v}"' if "'" in v else v for v in (given[name] for name in columns)))
    return "data_x\nloop_\n" + "".join(f"_atom_site.{name}\n" for name in columns) + "\n".join(rows) + "\n"


def changed(atoms: Sequence[Atom], test: Callable[[Atom], bool] = lambda _: True, **values: object) -> Atoms:
    """The atoms with other values where a test holds; a value may be a function of the atom."""
    return [
        replace(a, **{k: v(a) if callable(v) else v for k, v in values.items()}) if test(a) else a  # type: ignore[arg-type]
        for a in atoms
    ]


def nearest_number(residue: str) -> int:
    """The number of the residue of a name that is nearest to the ligand."""
    points = ligand().GetConformer().GetPositions()
    members = [a for a in small_protein() if a.residue == residue]
    return min(members, key=lambda a: float(np.linalg.norm(points - a.x, axis=1).min())).number


def moved(atoms: Sequence[Atom], by: float, **values: object) -> Atoms:
    """A copy of the atoms along the first axis."""
    return changed(atoms, x=lambda a: (round(a.x[0] + by, 3), a.x[1], a.x[2]), **values)


@cache
def roomy_place() -> np.ndarray:
    """The point near the ligand that is farthest from all atoms, of a few hundred."""
    points = ligand().GetConformer().GetPositions()
    tried = points.mean(0) + np.random.default_rng(0).uniform(-8, 8, (500, 3))
    atoms = np.array([*(a.x for a in small_protein()), *points])
    close = tried[np.linalg.norm(tried[:, None] - points[None], axis=-1).min(1) < 6]
    return np.asarray(close[np.linalg.norm(close[:, None] - atoms[None], axis=-1).min(1).argmax()])


def group(name: str, elements: str, *, chain: str = "A", number: int, record: str = "HETATM", by: float = 0) -> Atoms:
    """A molecule of atoms 1.4 Å apart in the site, `by` Å from where most room is; names are those of the elements."""
    low = roomy_place() - 1.4
    symbols = elements.split()
    return [
        Atom(symbol if len(symbols) == 1 else f"{symbol}{i}", name, chain, number, symbol,
             (round(float(low[0]) + 1.4 * i, 3), round(float(low[1]) + by, 3), round(float(low[2]), 3)), record=record)
        for i, symbol in enumerate(symbols, 1)
    ]  # fmt: skip


def bound(record: str = "HETATM", chain: str = "A", number: int = 901, name: str = "LIG") -> Atoms:
    """The ligand as the protein file has it."""
    places = ligand().GetConformer().GetPositions().round(3).tolist()
    return [
        Atom(f"{atom.GetSymbol().upper()}{i}", name, chain, number, atom.GetSymbol().upper(), (x, y, z), record=record)
        for i, (atom, (x, y, z)) in enumerate(zip(ligand().GetAtoms(), places, strict=True), 1)
    ]


def phosphorylated(residue: str, name: str, oxygen: str) -> Atoms:
    """The small protein with a phosphate on that residue of a name that has most room for it."""
    plain = list(small_protein())
    best: tuple[float, int, dict[str, np.ndarray]] = (0.0, 0, {})
    for number in {a.number for a in plain if a.residue == residue}:
        own = {a.name: np.array(a.x) for a in plain if a.number == number}
        others = np.array([*(a.x for a in plain if a.number != number), *ligand().GetConformer().GetPositions()])
        places = phosphate(own, oxygen)
        room = min(float(np.linalg.norm(others - x, axis=1).min()) for x in places.values())
        best = max(best, (room, number, places), key=lambda found: found[0])
    _, number, places = best
    extra = [
        Atom(
            label, residue, "A", number, label[0], (round(float(x[0]), 3), round(float(x[1]), 3), round(float(x[2]), 3))
        )
        for label, x in places.items()
    ]
    last = max(i for i, a in enumerate(plain) if a.number == number)
    return changed([*plain[: last + 1], *extra, *plain[last + 1 :]], lambda a: a.number == number, residue=name)


def phosphate(own: dict[str, np.ndarray], oxygen: str) -> dict[str, np.ndarray]:
    """Places of a phosphate's atoms on an oxygen of a residue, pointing away from its alpha carbon."""
    axis = (own[oxygen] - own["CA"]) / np.linalg.norm(own[oxygen] - own["CA"])
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(axis, side)
    phosphorus = own[oxygen] + 1.61 * axis
    ends = [phosphorus + 1.51 * (axis / 3 + 0.943 * (np.cos(t) * side + np.sin(t) * up)) for t in (0.0, 2.094, 4.189)]
    return {"P": phosphorus, **{f"O{k}P": end for k, end in enumerate(ends, 1)}}


def hybrid36(number: int, width: int) -> str:
    """A number of a PDB file beyond the digits of its field."""
    if number < 10**width:
        return str(number)
    rest, text = number - 10**width + 10 * 36 ** (width - 1), ""
    while rest:
        rest, digit = divmod(rest, 36)
        text = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + text
    return text


def names_of_programs() -> Iterator[OddFile]:
    """Names of residues, atoms and waters."""
    plain = list(small_protein())
    amber = {"HIS": "HIE", "CYS": "CYX", "ASP": "ASH", "GLU": "GLH", "LYS": "LYN", "ARG": "ARN", "TYR": "TYM"}
    there = {a.residue for a in plain}
    yield OddFile(
        "amber.pdb", pdb(changed(plain, residue=lambda a: amber.get(a.residue, a.residue)), element=False), plain,
        tuple(f"{new}→{old}" for old, new in amber.items() if old in there),
    )  # fmt: skip
    blank = changed(plain, chain="")
    charmm = changed(blank, lambda a: (a.residue, a.name) == ("ILE", "CD1"), name="CD")
    charmm = changed(charmm, residue=lambda a: {"HIS": "HSD"}.get(a.residue, a.residue), segment="PROA")
    yield OddFile("charmm.pdb", pdb(charmm, element=False), blank, ("CD→CD1",) if "ILE" in there else ())
    last = plain[-1].number
    ends = changed(blank, lambda a: a.number == last and a.name == "O", name="O1")
    yield OddFile("gromacs.pdb", pdb(ends, element=False), blank, ("O1→O",))
    maestro = changed(plain, residue=lambda a: {"HIS": "HIP", "CYS": "CYM"}.get(a.residue, a.residue))
    yield OddFile("maestro.pdb", pdb(maestro, left=True), plain)
    yield OddFile("left.pdb", pdb(plain, left=True, element=False), plain)
    yield OddFile("hetatm.pdb", pdb(changed(plain, record="HETATM")), plain)
    selenium = changed(plain, lambda a: (a.residue, a.name) == ("MET", "SD"), name="SE", element="SE")
    mse = changed(selenium, lambda a: a.residue == "MET", residue="MSE", record="HETATM")
    yield OddFile("mse.pdb", pdb(mse), selenium, ("MSE→MET",))
    waters = [
        atom for k, name in enumerate(["HOH", "SOL", "TIP3", "TIP4", "SPC", "OPC", "T3P", "WAT", "DOD", "HHO"])
        for atom in (*group(name, "O", chain="W", number=950 + k, by=3.0 * k),
                     *changed(group(name, "H", chain="W", number=950 + k, by=3.0 * k + 1), name="HW1"))
    ]  # fmt: skip
    yield OddFile("waters.pdb", pdb([*plain, *waters]), plain)
    deuterium = [replace(a, name=f"D{a.name[1:]}", element="D", x=(a.x[0] + 1, *a.x[1:])) for a in plain]
    yield OddFile("deuterium.pdb", pdb([*plain, *(d for d in deuterium if len(d.name) > 1)]), plain)


def other_molecules() -> Iterator[OddFile]:
    """Ions, buffers, modified residues, and the ligand itself."""
    plain = list(small_protein())
    zinc = [*plain, *group("ZN", "ZN", number=801), *group("MG", "MG", number=802, by=4)]
    yield OddFile("ions.pdb", pdb([*zinc, *group("CL", "CL", number=803, by=8)]), zinc)
    sodium = [*plain, *group("SOD", "NA", number=801)]
    salt = [replace(a, name="SOD", element="") if a.residue == "SOD" else a for a in sodium]
    chloride = [replace(a, name="CLA", element="") for a in group("CLA", "CL", number=803, by=8)]
    yield OddFile("charmm_ions.pdb", pdb([*salt, *chloride]), changed(sodium, lambda a: a.residue == "SOD", name="SOD"))
    buffers = [*group("GOL", "C O C O C O", number=804), *group("SO4", "S O O O O", number=805, by=4)]
    yield OddFile("buffers.pdb", pdb([*plain, *buffers]), plain)
    for residue, name, oxygen in (("SER", "SEP", "OG"), ("TYR", "PTR", "OH"), ("THR", "TPO", "OG1")):
        if any(a.residue == residue for a in plain):
            atoms = phosphorylated(residue, name, oxygen)
            yield OddFile(f"{name}.pdb", pdb(changed(atoms, lambda a, n=name: a.residue == n, record="HETATM")), atoms)
    yield OddFile("copy.pdb", pdb([*plain, *bound()]), plain)
    yield OddFile("atom_copy.pdb", pdb([*plain, *bound("ATOM")]), plain)
    yield OddFile("joined.pdb", pdb(plain) + pdb(bound()), plain)


def conformers() -> Iterator[OddFile]:
    """Alternate locations, occupancies and models."""
    plain = list(small_protein())
    number = nearest_number("SER")
    side = [a for a in plain if a.number == number and a.name not in ("N", "CA", "C", "O")]
    rest = [a for a in plain if a not in side]
    away = moved(side, 1.5)

    def both(first: float, second: float, **values: object) -> str:
        a, b = changed(side, altloc="A", occupancy=first), changed(away, altloc="B", occupancy=second, **values)
        return pdb(sorted([*rest, *a, *b], key=lambda atom: atom.number))

    yield OddFile("second_conformer.pdb", both(0.3, 0.7), [*rest, *away])
    yield OddFile("tied_conformers.pdb", both(0.5, 0.5), plain)
    whole = [a for a in plain if a.number == number]
    other = changed(moved(whole, 0.8), residue="CYS", name=lambda a: "SG" if a.name == "OG" else a.name)
    other = changed(other, lambda a: a.name == "SG", element="S")
    kept = [a for a in plain if a.number != number]
    two = [*changed(whole, altloc="A", occupancy=0.4), *changed(other, altloc="B", occupancy=0.6)]
    yield OddFile("two_residues.pdb", pdb(sorted([*kept, *two], key=lambda atom: atom.number)), [*kept, *other])
    unseen = changed(plain, lambda a: a in side, occupancy=0.0)
    yield OddFile("zero_occupancy.pdb", pdb(unseen), rest)
    yield OddFile("all_zero.pdb", pdb(changed(plain, occupancy=0.0)), plain)
    shifted = moved(plain, 5.0)
    models = f"MODEL        1\n{pdb(plain, end='ENDMDL')}\nMODEL        2\n{pdb(shifted, end='ENDMDL')}\nEND\n"
    yield OddFile("models.pdb", models, plain)
    yield OddFile("frames.pdb", pdb(plain) + pdb(shifted), plain)


def labels() -> Iterator[OddFile]:
    """Chains, numbers and serials."""
    plain = list(small_protein())
    low = min(a.number for a in plain)
    inserted = changed(
        plain, number=lambda a: 400 + (a.number - low) // 5, insertion=lambda a: " ABCD"[(a.number - low) % 5].strip()
    )
    yield OddFile("insertion.pdb", pdb(inserted), inserted)
    negative = changed(plain, number=lambda a: a.number - low - 5)
    yield OddFile("negative.pdb", pdb(negative), negative)
    beyond = changed(plain, number=lambda a: a.number + 9_600)
    lines = [pdb_line(a, hybrid36(99_990 + i, 5), number=hybrid36(a.number, 4)) for i, a in enumerate(beyond)]
    yield OddFile("hybrid36.pdb", "\n".join([*lines, "END", ""]), beyond)
    yield OddFile("pushed.pdb", "\n".join(pdb_line(a, str(100_000 + i)) for i, a in enumerate(plain)) + "\n", plain)
    yield OddFile("stars.pdb", "\n".join(pdb_line(a, "*****") for a in plain) + "\n", plain)
    yield OddFile("windows.pdb", pdb(plain).replace("\n", "\r\n"), plain)
    yield OddFile("plain.pdb.gz", gzip.compress(pdb(plain).encode()), plain)
    segments = [*changed(plain, segment="PROA"), *moved(plain, FAR, segment="PROB")]
    yield OddFile("segments.pdb", pdb(segments), changed(plain, chain="PROA"))
    yield OddFile("two_copies.pdb", pdb([*plain, *moved(plain, FAR)]), changed(plain, chain="A-1"))
    for chain in ("A1", "Axp", "protein_chain_1"):
        named = changed(plain, chain=chain)
        yield OddFile(f"chain_{chain}.cif", mmcif(named), named)
    yield OddFile("assembly.cif.gz", gzip.compress(mmcif([*plain, *moved(plain, FAR, chain="A-2")]).encode()), plain)


def predictions() -> Iterator[OddFile]:
    """Predicted structures, whose ligands are called LIG or UNL and often have no number."""
    plain = list(small_protein())
    complex_ = [*plain, *bound(chain="B", number=1)]
    far = [*group("LIG", "C C C C C C O", chain="C", number=1, by=-20)]
    yield OddFile(
        "chai1.cif", mmcif(complex_, auth_seq_id=lambda a: "." if a.record == "HETATM" else str(a.number)), plain
    )
    unset = {"label_seq_id": lambda a: ".", "auth_seq_id": lambda a: "?" if a.record == "HETATM" else str(a.number)}
    yield OddFile("boltz.cif", mmcif(complex_, ("pdbx_PDB_ins_code", "label_alt_id"), **unset), plain)
    counted = {n: k for k, n in enumerate(dict.fromkeys(a.number for a in plain), 1)}
    numbered = changed(plain, number=lambda a: counted[a.number])
    lean = ("auth_seq_id", "auth_asym_id", "label_entity_id", "occupancy", "B_iso_or_equiv", "pdbx_PDB_model_num")
    yield OddFile("openfold3.cif", mmcif(complex_, lean), numbered)
    bare = ("group_PDB", "id", "type_symbol", "label_alt_id", *lean)
    yield OddFile("bare.cif", mmcif(complex_, bare), numbered)
    rfaa = [*plain, *changed(bound("HETATM", "B", 1), residue="LG1")]
    yield OddFile("rfaa.pdb", pdb(rfaa, element=True), plain)
    one_chain = [*plain, *changed(bound(number=1), residue="UNL"), *changed(far, chain="A", residue="UNL")]
    beside = changed(far, chain="A-2", residue="UNL")
    yield OddFile(
        "one_chain.cif",
        mmcif(one_chain, auth_seq_id=lambda a: "1" if a.record == "HETATM" else str(a.number)),
        [*plain, *beside],
    )


def odd_files() -> dict[str, OddFile]:
    """All of them, by name."""
    plain = OddFile("plain.pdb", pdb(small_protein()), list(small_protein()))
    parts = (names_of_programs(), other_molecules(), conformers(), labels(), predictions())
    return {file.name: file for file in (plain, *(file for part in parts for file in part))}
