"""What the API answers: checked on the way out, and described at /openapi.json."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["queued", "preparing", "sampling", "scoring", "done", "cancelled", "failed", "interrupted"]
Point = tuple[float, float, float]  # Å


class ApiAnswer(BaseModel):
    """With these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class ApiCommand(ApiAnswer):
    """The command lines of a task."""

    command: str


class Removed(ApiAnswer):
    """A project that is in the trash."""

    removed: str


class ApiJob(ApiAnswer):
    """A task and how far it is, in ligands; in scores while it is `scoring`; in seconds where a budget is a time."""

    id: str
    project: str
    task: str
    fields: dict[str, Any]
    command: str = Field(description="run in the folder of the project")
    state: State
    message: str
    done: int
    total: int
    seconds_left: int | None
    created: str
    molecules: int


class Chain(ApiAnswer):
    """A chain of the protein."""

    name: str
    residues: int


class BoundMolecule(ApiAnswer):
    """A ligand or cofactor of the protein's file."""

    id: str = Field(description="CHAIN:NAMENUMBER, as a site names it")
    name: str
    chain: str
    kind: Literal["ligand", "cofactor"]
    heavy_atoms: int
    center: Point


class ApiProtein(ApiAnswer):
    """The protein of a project."""

    file: str
    name: str = Field(description="of the file that was dropped")
    num_atoms: int
    chains: list[Chain]
    ligands: list[BoundMolecule]
    notes: list[str]


class Reference(ApiAnswer):
    """The reference ligand of a project."""

    file: str
    name: str
    smiles: str
    heavy_atoms: int
    center: Point


class ListedProject(ApiAnswer):
    """A project in the list of all."""

    id: str
    title: str
    modified: str
    num_molecules: int


class ApiProject(ApiAnswer):
    """What is in a project."""

    id: str
    title: str
    created: str
    modified: str
    protein: ApiProtein | None
    reference: Reference | None
    site: dict[str, Any] | None
    jobs: list[ApiJob]


class SitePreview(ApiAnswer):
    """What a site selects."""

    center: Point
    residues: list[str]
    num_atoms: int
    notes: list[str]


class SuggestedSite(ApiAnswer):
    """A pocket of the protein."""

    center: Point
    score: float
    source: str
    residues: list[str]


class ApiColumn(ApiAnswer):
    """A column of the table of molecules."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None
    decimals: int


class ApiRow(ApiAnswer):
    """A molecule. `ok`: passes PoseBusters, null before it has run; `failed`: the checks that it does not pass."""

    id: str = Field(description="JOB.INDEX")
    job: str
    index: int
    smiles: str
    values: dict[str, float | None]
    starred: bool
    note: str
    parent: str | None
    move: str | None
    ok: bool | None
    failed: list[str]


class Page(ApiAnswer):
    """A page of the table of molecules."""

    total: int
    matching: int
    columns: list[ApiColumn]
    rows: list[ApiRow]


class Interaction(ApiAnswer):
    """An interaction with its ends at the ligand and at the protein."""

    kind: str
    type: str = Field(description="as ProLIF names it")
    residue: str
    start: Point = Field(alias="from")
    to: Point


class Relative(ApiAnswer):
    """A ligand of an optimisation; one that is not `shown` was not chosen and is in no table."""

    id: str
    parent: str | None
    parents: list[str]
    move: str
    round: int
    smiles: str
    shown: bool
    score: float | None
