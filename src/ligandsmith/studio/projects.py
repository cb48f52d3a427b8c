"""Projects: a folder each, whose name is made here. What a user writes (a title, a file name) never becomes a path."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from threading import RLock
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import json_content, write_json

PROJECT_FILE, NOTES_FILE, TRASH = "project.json", "notes.json", ".trash"
FORMAT = 1
PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
LONGEST_TITLE, LONGEST_NAME = 120, 40
EXAMPLES = {"3ln1": "3LN1, cyclooxygenase-2", "7off": "7OFF, KEAP1", "7sza": "7SZA, TP53RK"}


class NoSuchThing(LigandsmithError):
    """A project, job or molecule that is not there."""


class Conflict(LigandsmithError):
    """A request that does not fit to what is being done at the moment."""


@dataclass(frozen=True)
class Project:
    """What project.json says. `protein` and `ligand` are names of files in the folder, empty where there are none."""

    id: str
    folder: Path
    title: str
    created: str
    protein: str = ""
    protein_name: str = ""  # of the file that was given
    ligand: str = ""
    ligand_name: str = ""
    site: Mapping[str, Any] | None = None

    @property
    def protein_path(self) -> Path:
        """The protein's file. Raises LigandsmithError without one."""
        if not self.protein:
            raise LigandsmithError("this project has no protein yet; drop a PDB or mmCIF file")
        return self.folder / self.protein

    @property
    def ligand_path(self) -> Path:
        """The reference ligand's file. Raises LigandsmithError without one."""
        if not self.ligand:
            raise LigandsmithError("this project has no reference ligand; drop its SDF or MOL2 file")
        return self.folder / self.ligand

    @property
    def site_ligand(self) -> Path | None:
        """The reference ligand's file where the site is the one around it."""
        return self.ligand_path if self.ligand and (self.site or {}).get("ligand") else None


class Projects:
    """All projects below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = RLock()  # held while a project changes

    def all(self) -> list[Project]:
        """Those that can be read, last changed first."""
        folders = (path.parent for path in self.root.glob(f"*/{PROJECT_FILE}"))
        found = [self._read(folder) for folder in folders if PROJECT_ID.fullmatch(folder.name)]
        return sorted((p for p in found if p is not None), key=modified, reverse=True)

    def get(self, id: str) -> Project:
        """A project by its id. Raises NoSuchThing."""
        known = PROJECT_ID.fullmatch(id) and (self.root / id / PROJECT_FILE).is_file()
        project = self._read(self.root / id) if known else None
        if project is None:
            raise NoSuchThing("there is no such project; it may have been removed")
        return project

    def create(self, title: str, example: str = "") -> Project:
        """A new project, empty or with an example complex. Raises LigandsmithError."""
        if example and example not in EXAMPLES:
            raise LigandsmithError(f"there is no example of this name; there are: {', '.join(EXAMPLES)}")
        title = " ".join((title or EXAMPLES.get(example, "")).split())[:LONGEST_TITLE] or "New project"
        with self.lock:
            folder = self._new_folder(title)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            project = Project(folder.name, folder, title, now)
            if example:
                with as_file(files("ligandsmith.studio") / "examples" / example) as source:
                    for name in ("protein.pdb.gz", "ligand.sdf"):
                        shutil.copyfile(source / name, folder / name)
                project = replace(
                    project, protein="protein.pdb.gz", protein_name=f"{example}.pdb.gz", ligand="ligand.sdf",
                    ligand_name=f"{example}_ligand.sdf", site={"ligand": True},
                )  # fmt: skip
            return self.save(project)

    def save(self, project: Project) -> Project:
        """Write project.json."""
        content = {name: value for name, value in asdict(project).items() if name not in ("id", "folder")}
        write_json(project.folder / PROJECT_FILE, {"format": FORMAT, **content})
        return project

    def remove(self, id: str) -> None:
        """Move a project to the folder .trash, where it can be taken from by hand. Raises NoSuchThing."""
        with self.lock:
            folder = self.get(id).folder
            trash = self.root / TRASH
            trash.mkdir(exist_ok=True)
            folder.rename(next(path for k in range(10**6) if not (path := trash / f"{id}.{k}").exists()))

    def _new_folder(self, title: str) -> Path:
        """A folder named after the letters and digits of a title."""
        base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST_NAME].strip("-") or "project"
        for number in range(1, 10**6):
            folder = self.root / (base if number == 1 else f"{base}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise LigandsmithError(f"{self.root}: too many projects of this title; choose another one")

    def _read(self, folder: Path) -> Project | None:
        try:
            content = json_content(folder / PROJECT_FILE)
            texts = ("title", "created", "protein", "protein_name", "ligand", "ligand_name")
            values = {name: str(content.get(name) or "") for name in texts}
            site = content.get("site")
        except (OSError, ValueError, AttributeError):
            return None
        for name in ("protein", "ligand"):  # a stranger's folder may name a file elsewhere
            if values[name] and Path(values[name]).name != values[name]:
                return None
        return Project(folder.name, folder, **values, site=site if isinstance(site, dict) else None)


def modified(project: Project) -> float:
    """When a project was last changed, seconds since 1970."""
    paths = [project.folder / PROJECT_FILE, project.folder / NOTES_FILE, project.folder / "jobs"]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def when(seconds: float) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
