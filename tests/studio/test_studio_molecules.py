"""The table of molecules: filtered, sorted, starred, exported, and quick with ten thousand of them."""

import csv
import io
import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow.parquet as pq
import pytest
from rdkit import Chem, DataStructs
from studio_client import EXAMPLES, ROOT, Opened, refused, studio_in

from ligandsmith.design.history import morgan_fingerprint
from ligandsmith.files import write_csv
from ligandsmith.studio import properties
from ligandsmith.studio.answers import Page
from ligandsmith.studio.jobs import Job, JobStep

MANY = 10_000
STEPS = (JobStep("sampling", ("generate",)), JobStep("scoring", ("evaluate",)))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with studio_in(tmp_path_factory.mktemp("molecules")) as found:
        yield found


def scored(number: int, smiles: str) -> dict[str, Any]:
    """A row as `evaluate` writes it."""
    return {
        "pocket": "x", "index": number, "title": f"ligand_{number:05d}", "reason": "", "detail": "", "smiles": smiles,
        "valid": 1.0, "connected": 1.0, "qed": (number * 37 % 1000) / 1000, "sa": 2 + number % 50 / 10,
        "logp": "" if number % 4 == 0 else number % 70 / 10, "heavy_atoms": 9.0 + number % 30,
        "vina_min": -(number % 90) / 10, "vina_score": -(number % 80) / 10, "pb_valid": float(number % 3 > 0),
        "seconds": 1.0, "novel": "", "pb_bond_lengths": number % 3 > 0, "pb_internal_energy": True,
    }  # fmt: skip


def record(number: int) -> str:
    block = (EXAMPLES / "7sza" / "ligand.sdf").read_text().partition("M  END")[0].split("\n", 1)[1]
    return f"ligand_{number:05d}\n{block}M  END\n>  <index>\n{number}\n\n$$$$\n"


def job_of(opened: Opened, project: str, rows: list[dict[str, Any]], records: list[int], **more: Any) -> Job:
    """A job that is done, with scores and an SDF."""
    id = project.rsplit("/", 1)[1]
    number = opened.studio.store.next_number()
    job = opened.studio.store.add(Job(number, id, "generate", {}, STEPS, 2, **{"state": "done", **more}))
    folder = opened.studio.projects.root / id / "jobs" / job.name
    folder.mkdir(parents=True)
    if rows:
        write_csv(folder / "per_molecule.csv", rows)
    (folder / "ligands.sdf").write_text("".join(map(record, records)))
    return job


@cache
def smiles_of_ligands() -> list[str]:
    """Of so many different crystal ligands."""
    found: set[str] = set()
    for path in sorted((ROOT / "src/ligandsmith/datasets/crystal").glob("ligands-*.parquet")):
        found.update(pq.read_table(path, columns=["smiles"])["smiles"].to_pylist())
    return sorted(found - {None, ""})[:MANY]


@pytest.fixture(scope="module")
def many(opened: Opened) -> str:
    """A project with ten thousand different molecules of two jobs."""
    smiles = smiles_of_ligands()
    assert len(smiles) == MANY
    project = opened.project("7sza", "Many")
    for start in (0, MANY // 2):
        numbers = range(start, start + MANY // 2)
        job_of(opened, project, [scored(number, smiles[number]) for number in numbers], list(numbers[:3]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(properties, "PROPERTY_SECONDS", 3600.0)  # else each answer finds the clusters of some more
        rows = rows_of(opened, project, size=20_000)["rows"]
    assert all(row["values"]["cluster"] for row in rows)
    return project


def rows_of(opened: Opened, project: str, **query: Any) -> dict[str, Any]:
    if "filter" in query:
        query["filter"] = json.dumps(query["filter"])
    answer = opened.client.get(f"{project}/molecules", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"sort": "qed", "descending": True, "page": 50},
        {"sort": "vina_min", "filter": {"pb_valid": True, "ranges": {"qed": [0.5, None], "sa": [None, 4]}}},
        {"filter": {"smarts": "c1ccccc1"}, "sort": "cluster"},
        {"size": 20_000},
    ],
)
def test_ten_thousand_molecules_are_answered_within_a_second(opened: Opened, many: str, query: dict[str, Any]) -> None:
    began = time.process_time()  # of all threads; other programs may have the cores meanwhile
    found = rows_of(opened, many, **query)
    assert time.process_time() - began < 1
    assert Page.model_validate(found).total == MANY  # as it is documented
    assert len(found["rows"]) == min(found["matching"], query.get("size", 100))


def test_the_first_answer_of_ten_thousand_does_not_wait_for_all_that_can_be_said(opened: Opened) -> None:
    project = opened.project("7sza", "Fresh")
    smiles = [f"{text}.O" for text in smiles_of_ligands()]
    job_of(opened, project, [scored(number, smiles[number]) for number in range(MANY)], [])
    began = time.process_time()
    found = rows_of(opened, project, sort="index", size=20_000)
    assert time.process_time() - began < 2
    clusters = [row["values"]["cluster"] for row in found["rows"]]
    assert clusters[0] == 1
    assert clusters[-1] is None


def test_rows_come_in_the_order_that_is_asked_for(opened: Opened, many: str) -> None:
    found = rows_of(opened, many, sort="qed", descending=True, size=300)
    values = [row["values"]["qed"] for row in found["rows"]]
    assert values == sorted(values, reverse=True)
    assert values[0] == 0.999
    rising = [row["values"]["sa"] for row in rows_of(opened, many, sort="sa", size=50)["rows"]]
    assert rising == sorted(rising)
    last = rows_of(opened, many, sort="logp", size=100, page=MANY // 100 - 1)["rows"]
    assert {row["values"]["logp"] for row in last} == {None}  # what has no value comes last
    last = rows_of(opened, many, sort="logp", descending=True, size=100, page=MANY // 100 - 1)["rows"]
    assert {row["values"]["logp"] for row in last} == {None}


def test_without_an_order_sound_and_well_scored_molecules_come_first(opened: Opened, many: str) -> None:
    rows = rows_of(opened, many, size=20)["rows"]
    assert all(row["ok"] for row in rows)
    assert {row["values"]["vina_min"] for row in rows} == {-8.9}


def test_pages_together_are_the_table(opened: Opened, many: str) -> None:
    pages = [rows_of(opened, many, sort="vina_min", size=2500, page=page)["rows"] for page in range(5)]
    assert pages[4] == []
    assert len({row["id"] for page in pages for row in page}) == MANY


def has(row: dict[str, Any], smarts: str) -> bool:
    return bool(Chem.MolFromSmiles(row["smiles"]).HasSubstructMatch(Chem.MolFromSmarts(smarts)))


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({"pb_valid": True}, lambda row: row["ok"]),
        ({"ranges": {"vina_min": [None, -8.5]}}, lambda row: row["values"]["vina_min"] <= -8.5),
        ({"ranges": {"qed": [0.9, 0.95], "sa": [3, 4]}}, lambda row: 0.9 <= row["values"]["qed"] <= 0.95),
        ({"smarts": "[#7]"}, lambda row: has(row, "[#7]")),
        ({"smarts": "C(=O)[OH]"}, lambda row: has(row, "C(=O)[OH]")),
        ({"smarts": "c1ccncc1"}, lambda row: has(row, "c1ccncc1")),
        ({"cluster": 2}, lambda row: row["values"]["cluster"] == 2),
        ({"ranges": {"logp": [None, 100]}}, lambda row: row["values"]["logp"] is not None),
        ({"pb_valid": None, "starred": False, "smarts": None}, lambda row: True),
    ],
)  # fmt: skip
def test_a_filter_leaves_what_passes_it(opened: Opened, many: str, wanted: dict[str, Any], passes: Any) -> None:
    every = rows_of(opened, many, size=20_000)["rows"]
    found = rows_of(opened, many, size=20_000, filter=wanted)
    expected = {row["id"] for row in every if passes(row)}
    if "sa" in wanted.get("ranges", {}):
        expected = {row["id"] for row in every if passes(row) and 3 <= row["values"]["sa"] <= 4}
    assert {row["id"] for row in found["rows"]} == expected
    assert found["matching"] == len(expected) > 0
    assert found["total"] == MANY


def test_molecules_of_a_cluster_are_alike(opened: Opened, many: str) -> None:
    rows = rows_of(opened, many, size=20_000)["rows"]
    members: dict[float, list[Any]] = {}
    for row in sorted(rows, key=lambda row: row["index"]):
        print_ = morgan_fingerprint(Chem.MolFromSmiles(row["smiles"]))
        members.setdefault(row["values"]["cluster"], []).append(print_)
    assert list(members) == list(range(1, len(members) + 1))  # in the order in which they began
    assert 10 < len(members) < MANY
    largest = max(members.values(), key=len)
    assert len(largest) > 20
    assert all(similarity >= 0.4 for similarity in DataStructs.BulkTanimotoSimilarity(largest[0], largest))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sort": "beauty"}, ["no column 'beauty'"]),
        ({"filter": '{"beauty": true}'}, ["no filter 'beauty'"]),
        ({"filter": '{"ranges": {"beauty": [1, 2]}}'}, ["no column 'beauty'"]),
        ({"filter": '{"ranges": {"qed": 1}}'}, ["range of qed"]),
        ({"filter": '{"ranges": {"qed": ["a", null]}}'}, ["range of qed"]),
        ({"filter": '{"smarts": "C(("}'}, ["cannot read the pattern"]),
        ({"filter": '{"smarts": ""}'}, ["cannot read the pattern"]),
        ({"filter": "[1]"}, ["JSON object"]),
        ({"filter": "{"}, ["no JSON"]),
        ({"filter": "[" * 4000}, ["no JSON"]),
        ({"size": 0}, ["size"]),
        ({"page": -1}, ["page"]),
        ({"job": "x"}, ["job"]),
    ],
)
def test_a_query_that_cannot_be_is_refused(opened: Opened, many: str, query: dict[str, Any], words: list[str]) -> None:
    refused(opened.client.get(f"{many}/molecules", params=query), 422, *words)


def test_a_known_column_without_values_yet_is_no_error(opened: Opened, many: str) -> None:
    assert rows_of(opened, many, sort="strain_uff")["matching"] == MANY
    assert rows_of(opened, many, filter={"ranges": {"strain_uff": [0, 9]}})["matching"] == 0
    empty = opened.project("7sza", "Empty")
    assert rows_of(opened, empty, sort="qed", filter={"smarts": "C", "cluster": 1, "starred": True})["rows"] == []


def test_stars_and_notes_are_kept(opened: Opened, many: str) -> None:
    first, second = (row["id"] for row in rows_of(opened, many, size=2)["rows"])
    note = "=HYPERLINK(1) <img src=x onerror=alert(1)> \u202e 💊"
    row = opened.client.patch(f"{many}/molecules/{first}", json={"starred": True, "note": note}).json()
    assert (row["starred"], row["note"]) == (True, note)
    opened.client.patch(f"{many}/molecules/{second}", json={"starred": True})
    found = rows_of(opened, many, filter={"starred": True})
    assert {row["id"] for row in found["rows"]} == {first, second}
    assert {row["note"] for row in found["rows"]} == {note, ""}
    answer = opened.client.patch(f"{many}/molecules/{first}", json={"starred": False})
    assert answer.json()["note"] == note
    opened.client.patch(f"{many}/molecules/{second}", json={"starred": False})
    notes = json.loads((opened.studio.projects.root / many.rsplit("/", 1)[1] / "notes.json").read_text())
    assert notes == {first: {"note": note}}
    refused(opened.client.patch(f"{many}/molecules/{first}", json={"note": "x" * 2001}), 422, "2000")
    refused(opened.client.patch(f"{many}/molecules/{first}", json={"smiles": "C"}), 422, "smiles")
    refused(opened.client.patch(f"{many}/molecules/1.999999", json={"starred": True}), 404)
    table = list(csv.DictReader(io.StringIO(opened.client.get(f"{many}/export?format=csv&ids={first}").text)))
    assert table[0]["note"] == f"'{note}"  # no spreadsheet program runs it


@pytest.mark.parametrize("id", ["..", "1", "x.y", "1.-1", "9.9", "%2e%2e", "1.1.1", "9" * 30 + ".1"])
@pytest.mark.parametrize("what", ["depiction.svg", "molecule.sdf", "interactions"])
def test_an_unknown_molecule_is_told(opened: Opened, many: str, id: str, what: str) -> None:
    assert opened.client.get(f"{many}/molecules/{id}/{what}").status_code == 404


def test_the_molecules_of_a_project_stay_in_it(opened: Opened, many: str) -> None:
    other = opened.project("7sza", "Other")
    id = rows_of(opened, many, size=1)["rows"][0]["id"]
    refused(opened.client.get(f"{other}/molecules/{id}/depiction.svg"), 404, "in this project")
    refused(opened.client.get(f"{other}/jobs/{id.split('.')[0]}/log"), 404, "in this project")


def test_the_reference_is_shown_as_molecules_are(opened: Opened, many: str) -> None:
    record = opened.client.get(f"{many}/molecules/reference/molecule.sdf").text
    assert Chem.MolFromMolBlock(record).GetNumAtoms() == 20
    assert opened.client.get(f"{many}/molecules/reference/depiction.svg").text.startswith("<svg")
    found = opened.client.get(f"{many}/molecules/reference/interactions").json()
    assert {each["kind"] for each in found} >= {"hydrogen bond", "hydrophobic"}
    assert all(each["residue"].startswith("A:") and len(each["from"]) == len(each["to"]) == 3 for each in found)


def test_a_smiles_is_drawn(opened: Opened) -> None:
    answer = opened.client.post("/api/depict", json={"smiles": "CCO"})
    assert answer.text.startswith("<svg")
    refused(opened.client.post("/api/depict", json={"smiles": "<script>"}), 422, "cannot draw")


def test_an_export_has_the_molecules_that_are_asked_for(opened: Opened) -> None:
    project = opened.project("7sza", "Few")
    job = job_of(opened, project, [scored(number, "CCO") for number in range(6)], list(range(6)))
    ids = [f"{job.id}.4", f"{job.id}.1"]
    sdf = opened.client.get(f"{project}/export", params={"format": "sdf", "ids": ",".join(ids)}).text
    supplier = Chem.SDMolSupplier()
    supplier.SetData(sdf)
    assert [mol.GetProp("id") for mol in supplier] == ids
    assert [float(mol.GetProp("qed")) for mol in supplier] == [0.148, 0.037]
    wanted = json.dumps({"pb_valid": True})
    table = list(csv.DictReader(io.StringIO(opened.client.get(f"{project}/export?format=csv&filter={wanted}").text)))
    assert {row["id"] for row in table} == {f"{job.id}.{number}" for number in (1, 2, 4, 5)}
    refused(opened.client.get(f"{project}/export?format=pdb"), 422, "one molecule")
    refused(opened.client.get(f"{project}/export?format=pdb&ids={','.join(ids)}"), 422, "one molecule")
    refused(opened.client.get(f"{project}/export?format=exe"), 422, "format")
    refused(opened.client.get(f"{project}/export?format=sdf&ids=9.9,..%2f"), 404, "no molecule")


def test_the_complex_has_the_molecule_where_the_bound_ligand_was(opened: Opened) -> None:
    project = opened.project("7sza", "Complex")
    job = job_of(opened, project, [scored(0, "CCO")], [0])
    text = opened.client.get(f"{project}/export?format=pdb&ids={job.id}.0").text
    ligand = [line for line in text.splitlines() if line[17:20] == "LIG"]
    assert len(ligand) == 20
    assert ligand[0][30:54] == " -55.458 -11.474  26.945"


def test_molecules_appear_before_they_are_scored(opened: Opened) -> None:
    project = opened.project("7sza", "Growing")
    job = job_of(opened, project, [], [0, 1], state="cancelled")
    assert [row["id"] for row in rows_of(opened, project)["rows"]] == [f"{job.id}.0", f"{job.id}.1"]
    sdf = opened.studio.projects.root / job.project / "jobs" / job.name / "ligands.sdf"
    with sdf.open("a") as stream:
        stream.write(record(5) + record(6)[:200])  # the last one is being written
    found = rows_of(opened, project)
    assert [row["index"] for row in found["rows"]] == [0, 1, 5]
    assert found["rows"][0]["values"]["heavy_atoms"] == 20
    assert found["rows"][0]["ok"] is None


def test_a_strangers_table_does_no_harm(opened: Opened) -> None:
    project = opened.project("7sza", "Stranger")
    job = job_of(opened, project, [], [0])
    path = opened.studio.projects.root / job.project / "jobs" / job.name / "per_molecule.csv"
    for text in ("", "index\n", "pocket,index,smiles,reason\nx,nan,C,\n", "\x00\xff,,\n", "index,smiles,reason\n1,C\n"):
        path.write_text(text)
        assert rows_of(opened, project)["total"] == 1, text
