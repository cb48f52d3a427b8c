"""What the pages send, checked in type and size before anything looks at it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ligandsmith.config import MAX_SITE_RADIUS
from ligandsmith.studio.projects import LONGEST_TITLE

FARTHEST_CENTER = 1e5  # Å
Coordinate = Annotated[float, Field(ge=-FARTHEST_CENTER, le=FARTHEST_CENTER, allow_inf_nan=False)]
Label = Annotated[str, Field(min_length=1, max_length=60)]


class Strict(BaseModel):
    """Without fields that nobody reads."""

    model_config = ConfigDict(extra="forbid")


class NewProject(Strict):
    """A project to make."""

    title: str = Field("", max_length=LONGEST_TITLE)
    example: str | None = Field(None, max_length=20)


class ChosenSite(Strict):
    """Exactly one of het, ligand, residues and center. `radius` (Å) goes with center."""

    het: Label | None = None
    ligand: bool | None = None
    residues: Annotated[list[Label], Field(max_length=200)] | None = None
    center: Annotated[list[Coordinate], Field(min_length=3, max_length=3)] | None = None
    radius: Annotated[float, Field(gt=0, le=MAX_SITE_RADIUS)] | None = None


class NewJob(Strict):
    """A task and its fields: the flags of the commands, with underscores."""

    task: str = Field(max_length=40)
    fields: dict[str, Any] = Field(default_factory=dict)


class Annotation(Strict):
    """What is to change of a molecule's star and note; what is not given stays."""

    starred: bool | None = None
    note: str | None = None


class Smiles(Strict):
    """A molecule to draw."""

    smiles: str = Field(max_length=1000)


def invalid_line(errors: Any) -> str:
    """What is wrong with a request, of the first error alone."""
    first = errors[0] if errors else {"loc": (), "msg": "cannot be read"}
    place = ".".join(map(str, first["loc"][1:]))  # without the part of the request: body, query, path
    text = f"{str(first['msg'])[:1].lower()}{str(first['msg'])[1:]}"
    return f"{place}: {text}" if place else text
