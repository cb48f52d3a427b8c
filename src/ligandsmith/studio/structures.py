"""Files that are dropped: told apart by what is in them, read once to be sure, then kept under a name of our own."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import gemmi
from rdkit import Chem, rdBase

from ligandsmith.chem.sdf import complete_records, write_sdf
from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.files import atomic_write, file_text
from ligandsmith.structure.ligands import ligand_blocks, mol_from_block, read_ligand, with_line_feeds
from ligandsmith.structure.protein import MMCIF, read_protein, read_structure
from ligandsmith.studio.jobs import folder_name
from ligandsmith.studio.projects import Conflict, Project, Projects

PDB, CIF, SDF, MOL2 = "pdb", "cif", "sdf", "mol2"
ATOM_LINE = re.compile(r"^(?:ATOM  |HETATM)", flags=re.MULTILINE)
MOL_END = re.compile(r"^M  END", flags=re.MULTILINE)
LONGEST_FILE_NAME = 80


class Upload(NamedTuple):
    """A file as it was dropped. `name` is only shown."""

    name: str
    data: bytes


@contextmanager
def _as_file(upload: Upload, folder: Path, ending: str) -> Iterator[Path]:
    """The content as a file with a name of ours; errors within the block name the file as the user knows it."""
    with tempfile.TemporaryDirectory(prefix=".upload-", dir=folder) as place:
        path = Path(place) / f"upload{ending}"
        path.write_bytes(upload.data)
        try:
            yield path
        except LigandsmithError as error:
            raise LigandsmithError(str(error).replace(str(path), shown_name(upload.name))) from None
        except OSError as error:
            raise LigandsmithError(f"{shown_name(upload.name)}: {error}") from None


def shown_name(name: str) -> str:
    """A file's name for messages: its last part, of printable letters."""
    last = re.split(r"[/\\]", name)[-1]
    return shortened("".join(c for c in last if c.isprintable()), LONGEST_FILE_NAME) or "the file"


def kind_of(upload: Upload, folder: Path) -> str:
    """What kind of file it is. Raises LigandsmithError for any other."""
    if upload.name.lower().removesuffix(".gz").endswith(".pdbqt"):
        raise LigandsmithError(f"{shown_name(upload.name)}: PDBQT lacks elements and bonds; give PDB, mmCIF or SDF")
    with _as_file(upload, folder, "") as path:
        text = with_line_feeds(file_text(path, errors="replace"))
    if MMCIF.match(text):
        return CIF
    if "@<TRIPOS>MOLECULE" in text:
        return MOL2
    if MOL_END.search(text):
        return SDF
    if ATOM_LINE.search(text):
        return PDB
    raise LigandsmithError(
        f"{shown_name(upload.name)}: neither a PDB or mmCIF file of a protein nor an SDF or MOL2 file of a ligand"
    )


def add_structures(projects: Projects, id: str, uploads: Sequence[Upload], keep_protein: bool = False) -> Project:
    """Take proteins and reference ligands into a project; all of them or, where one cannot be used, none.

    A new protein takes the place of the one before, and the site goes with it. Raises LigandsmithError, Conflict for
    another protein with `keep_protein`.
    """
    with projects.lock:
        project = projects.get(id)
        kinds = [kind_of(upload, project.folder) for upload in uploads]
        for names, what in (((PDB, CIF), "protein"), ((SDF, MOL2), "reference ligand")):
            if sum(kind in names for kind in kinds) > 1:
                raise LigandsmithError(f"these are two files of a {what}; a project has one: drop them one by one")
        if keep_protein and project.protein and set(kinds) & {PDB, CIF}:
            raise Conflict("this project has molecules that were made for its protein; start a new project")
        contents = [_checked(upload, kind, project) for upload, kind in zip(uploads, kinds, strict=True)]
        for upload, kind, content in zip(uploads, kinds, contents, strict=True):
            project = _kept(project, upload, kind, content)
        return projects.save(project)


def _checked(upload: Upload, kind: str, project: Project) -> bytes:
    """What is kept of a file that can be used. Raises LigandsmithError."""
    with _as_file(upload, project.folder, f".{kind}") as path, rdBase.BlockLogs():
        if kind in (PDB, CIF):
            read_protein(path)
            return upload.data
        mol = read_ligand(path)
        if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
            raise LigandsmithError(f"{path}: the ligand has no 3D coordinates; give it in its place in the protein")
        if kind == SDF:
            return (
                complete_records(f"{with_line_feeds(file_text(path, errors='replace')).rstrip()}\n$$$$\n")[0]
            ).encode()
        return _as_sdf([mol], path)


def _as_sdf(mols: Sequence[Chem.Mol], path: Path) -> bytes:
    written = path.with_name("converted.sdf")
    write_sdf(written, [(mol, {}) for mol in mols])
    return written.read_bytes()


def _kept(project: Project, upload: Upload, kind: str, content: bytes) -> Project:
    """Write a file that was checked; the project with its name."""
    name = shown_name(upload.name)
    if kind in (PDB, CIF):
        packed = ".gz" if content[:2] == b"\x1f\x8b" else ""
        file = f"protein.{kind}{packed}"
        _write(project.folder / file, content)
        if project.protein not in ("", file):
            (project.folder / project.protein).unlink(missing_ok=True)
        kept = project.site if (project.site or {}).get("ligand") else None
        return replace(project, protein=file, protein_name=name, site=kept)
    _write(project.folder / "ligand.sdf", content)
    site = project.site or ({"ligand": True} if project.protein else None)
    return replace(project, ligand="ligand.sdf", ligand_name=name, site=site)


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as part:
        part.write_bytes(content)


def molecules_to_score(project: Project, upload: Upload) -> bytes:
    """Molecules of another method as SDF. Raises LigandsmithError where none can be used."""
    kind = kind_of(upload, project.folder)
    if kind not in (SDF, MOL2):
        raise LigandsmithError(f"{shown_name(upload.name)}: a protein, not molecules; give an SDF or MOL2 file")
    with _as_file(upload, project.folder, f".{kind}") as path:
        blocks = ligand_blocks(path)
        if kind == MOL2:
            return _as_sdf([mol_from_block(block, path, k, "") for k, block in enumerate(blocks, 1)], path)
        if not blocks:
            raise LigandsmithError(f"{path}: no molecule in it")
        return "".join(f"{block.rstrip()}\n$$$$\n" if block.strip() else "" for block in blocks).encode()


def write_import(project: Project, number: int, content: bytes) -> None:
    """Put molecules into the folder of a job that scores them."""
    folder = project.folder / "jobs" / folder_name(number, "import")
    folder.mkdir(parents=True)
    _write(folder / "ligands.sdf", content)


def protein_text(project: Project, format: str = "") -> str:
    """The protein's file, unpacked; with `format` pdb, an mmCIF file as PDB. Raises LigandsmithError."""
    path = project.protein_path
    if format == PDB and path.name.removesuffix(".gz").endswith(CIF):
        structure = read_structure(path)
        structure.shorten_chain_names()  # the format has one letter
        return str(structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, end_record=True)))
    return file_text(path, errors="replace")
