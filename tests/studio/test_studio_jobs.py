"""Jobs: real commands in child processes; molecules are kept whatever happens to them."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from studio_client import EXAMPLES, QUICK, ROOT, SLOW, Opened, ended, refused, studio_in, until

from ligandsmith.cli.main import main
from ligandsmith.studio import processes
from ligandsmith.studio.jobs import QUEUED, Job, JobStep, JobStore
from ligandsmith.studio.progress import FileCounter
from ligandsmith.studio.projects import NoSuchThing


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with studio_in(tmp_path_factory.mktemp("jobs")) as found:
        yield found


def start(opened: Opened, project: str, task: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer = opened.client.post(f"{project}/jobs", json={"task": task, "fields": fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def folder_of(opened: Opened, job: dict[str, Any]) -> Path:
    return opened.studio.projects.root / job["project"] / "jobs" / f"{int(job['id']):04d}-{job['task']}"


@pytest.fixture(scope="module")
def made(opened: Opened) -> tuple[str, dict[str, Any]]:
    """A project, and its job that made and scored molecules."""
    project = opened.project("7sza")
    return project, ended(opened.client, start(opened, project, "generate", QUICK))


def test_the_whole_way_from_a_drop_to_an_export(opened: Opened) -> None:
    project = opened.project("", "Whole way")
    files = [("file", (name, (EXAMPLES / "7off" / name).read_bytes())) for name in ("protein.pdb.gz", "ligand.sdf")]
    assert opened.client.post(f"{project}/structures", files=files).status_code == 200
    assert opened.client.put(f"{project}/site", json={"ligand": True}).status_code == 200
    job = start(opened, project, "generate", QUICK)
    assert job["state"] == "queued"
    with opened.client.stream("GET", f"/api/jobs/{job['id']}/events") as stream:
        told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    states = list(dict.fromkeys(view["state"] for view in told))
    assert states[-1] == "done", told[-1]
    assert "scoring" in states
    assert (told[-1]["done"], told[-1]["total"]) == (3, 3)
    assert [view["molecules"] for view in told] == sorted(view["molecules"] for view in told)
    table = opened.client.get(f"{project}/molecules").json()
    assert table["total"] == table["matching"] == told[-1]["molecules"] >= 1
    names = [column["name"] for column in table["columns"]]
    assert names[:2] == ["pb_valid", "vina_min"]
    assert {"qed", "sa", "cluster", "shape_similarity"} <= set(names)
    for row in table["rows"]:
        assert row["id"] == f"{job['id']}.{row['index']}"
        assert isinstance(row["ok"], bool)
        assert row["ok"] == (row["failed"] == [])
        assert Chem.MolFromSmiles(row["smiles"]) is not None
    id = table["rows"][0]["id"]
    picture = opened.client.get(f"{project}/molecules/{id}/depiction.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.text.startswith("<svg xmlns=")
    for name, start_of in (("sdf", "ligand_"), ("csv", "id,smiles,pb_valid"), ("report", "<!DOCTYPE html>")):
        export = opened.client.get(f"{project}/export?format={name}")
        assert export.text.lower().startswith(start_of.lower()), export.text[:80]
        assert "attachment" in export.headers["content-disposition"]
    chosen = Chem.SDMolSupplier()
    chosen.SetData(opened.client.get(f"{project}/export?format=sdf&ids={id}").text)
    (mol,) = chosen
    assert mol.GetProp("id") == id
    assert float(mol.GetProp("qed")) == table["rows"][0]["values"]["qed"]
    complex_ = opened.client.get(f"{project}/export?format=pdb&ids={id}").text
    assert complex_.count(" LIG ") == mol.GetNumAtoms()
    assert complex_.count("ATOM  ") > 2000
    report = opened.client.get(f"{project}/export?format=report").text
    assert report == folder_of(opened, job).joinpath("report.html").read_text()


def test_the_command_that_is_shown_is_the_one_that_ran(opened: Opened, made: tuple[str, dict[str, Any]]) -> None:
    project, job = made
    first, second = job["command"].split(" && ")
    log = opened.client.get(f"{project}/jobs/{job['id']}/log").text
    assert f"$ {first}\n" in log
    assert f"$ {second}\n" in log
    record = json.loads((folder_of(opened, job) / "samples.json").read_text())
    assert record["command"].endswith(first.removeprefix("ligandsmith "))


def test_the_protein_of_molecules_stays(opened: Opened, made: tuple[str, dict[str, Any]]) -> None:
    project, _ = made
    before = opened.client.get(project).json()
    protein = (EXAMPLES / "7off" / "protein.pdb.gz").read_bytes()
    answer = opened.client.post(f"{project}/structures", files={"file": ("other.pdb.gz", protein)})
    refused(answer, 409, "start a new project")
    assert opened.client.get(project).json() == before


def test_a_molecule_is_the_start_of_the_next_task(opened: Opened, made: tuple[str, dict[str, Any]]) -> None:
    project, _ = made
    row = opened.client.get(f"{project}/molecules").json()["rows"][0]
    heavy = Chem.MolFromSmiles(row["smiles"]).GetNumAtoms()
    fields = {**QUICK, "checkpoint": "small", "from": row["id"], "num": 2, "num_atoms": [heavy + 2, heavy + 4]}
    job = ended(opened.client, start(opened, project, "grow", fields))
    assert job["state"] == "done", job["message"]
    rows = opened.client.get(f"{project}/molecules?job={job['id']}").json()
    assert rows["total"] == job["molecules"]
    for grown in rows["rows"]:
        assert (grown["parent"], grown["move"]) == (row["id"], "grow")


def test_an_optimisation_has_a_family(opened: Opened, made: tuple[str, dict[str, Any]]) -> None:
    project, _ = made
    fields = {"objective": "qed", "budget": 24, "num_atoms": "8-10", "steps": 6, "candidates": 1}
    job = ended(opened.client, start(opened, project, "optimise", fields))
    assert job["state"] == "done", job["message"]
    assert (job["done"], job["total"]) == (24, 24)
    family = opened.client.get(f"{project}/jobs/{job['id']}/family").json()
    assert [each["id"] for each in family] == [f"{job['id']}.{index}" for index in range(len(family))]
    assert family[0]["move"] == "start"
    assert family[0]["parent"] is None
    assert any(each["move"] != "start" for each in family)
    shown = {each["id"] for each in family if each["shown"]}
    rows = opened.client.get(f"{project}/molecules?job={job['id']}").json()["rows"]
    assert {row["id"] for row in rows} == shown
    assert all(row["move"] != "optimise" for row in rows)


def test_molecules_of_another_method_are_scored(opened: Opened, made: tuple[str, dict[str, Any]]) -> None:
    project, _ = made
    ligand = (EXAMPLES / "7sza" / "ligand.sdf").read_bytes().replace(b"$$$$", b">  <smiles>\n<script>\n\n$$$$")
    answer = opened.client.post(f"{project}/molecules", files={"file": ("../<b>theirs.sdf", ligand + ligand)})
    assert answer.status_code == 200, answer.text
    early = opened.client.get(f"{project}/molecules?job={answer.json()['id']}").json()["rows"]
    assert [Chem.MolFromSmiles(row["smiles"]).GetNumAtoms() for row in early] == [20, 20]
    assert opened.client.get(f"{project}/molecules/{early[0]['id']}/depiction.svg").text.startswith("<svg")
    job = ended(opened.client, answer.json())
    assert (job["state"], job["task"], job["molecules"]) == ("done", "import", 2)
    assert job["fields"] == {"name": "<b>theirs.sdf"}
    rows = opened.client.get(f"{project}/molecules?job={job['id']}").json()["rows"]
    assert [row["index"] for row in rows] == [0, 1]
    assert rows[0]["ok"]
    assert rows[0]["values"]["vina_min"] < -7
    refused(opened.client.post(f"{project}/molecules", files={"file": ("x.sdf", b"nothing")}), 422, "x.sdf")
    protein = (EXAMPLES / "7sza" / "protein.pdb.gz").read_bytes()
    refused(opened.client.post(f"{project}/molecules", files={"file": ("p.pdb", protein)}), 422, "p.pdb", "a protein")


def test_a_command_that_fails_says_why(opened: Opened) -> None:
    project = opened.project("7sza")
    fields = {**QUICK, "require": ["hbond A:SER999"]}
    job = ended(opened.client, start(opened, project, "generate", fields))
    assert job["state"] == "failed"
    assert "SER999" in job["message"]
    assert "\n" not in job["message"]
    refused(opened.client.get(f"{project}/export?format=report&job={job['id']}"), 409, "failed")
    again = opened.client.post(f"/api/jobs/{job['id']}:continue").json()
    assert ended(opened.client, again)["state"] == "failed"


def test_a_job_without_molecules_says_so(opened: Opened) -> None:
    project = opened.project("7sza")
    job = ended(opened.client, start(opened, project, "generate", {**QUICK, "charge": 20}))
    assert (job["state"], job["molecules"], job["done"]) == ("done", 0, 3)
    assert "no molecule was obtained (3 " in job["message"]
    assert opened.client.get(f"{project}/molecules").json()["rows"] == []
    refused(opened.client.get(f"{project}/export?format=csv"), 422, "no molecule")
    refused(opened.client.get(f"{project}/export?format=report"), 422, "summary.json")


def test_cancelling_keeps_what_is_finished_and_continuing_goes_on(opened: Opened) -> None:
    project = opened.project("7sza")
    job = start(opened, project, "generate", SLOW)
    waiting = start(opened, project, "generate", QUICK)
    until(opened.client, job, lambda view: view["molecules"] >= 2)
    assert opened.client.get(f"/api/jobs/{waiting['id']}").json()["message"] == "1 job before this one"
    refused(opened.client.delete(project), 409, "cancel it first")
    opened.client.post(f"/api/jobs/{waiting['id']}:cancel")
    assert opened.client.get(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert opened.client.post(f"/api/jobs/{job['id']}:cancel").status_code == 200
    stopped = ended(opened.client, job, 60)
    assert stopped["state"] == "cancelled"
    assert "kept" in stopped["message"]
    kept = opened.client.get(f"{project}/molecules").json()
    assert 2 <= kept["total"] < 30
    assert all(row["values"]["heavy_atoms"] in (9, None) for row in kept["rows"])
    assert any(row["values"]["qed"] for row in kept["rows"])
    assert all(row["ok"] is None for row in kept["rows"])
    refused(opened.client.post(f"/api/jobs/{job['id']}:cancel"), 409, "cancelled")
    done = ended(opened.client, opened.client.post(f"/api/jobs/{job['id']}:continue").json())
    assert (done["state"], done["done"]) == ("done", 30)
    smiles = {row["id"]: row["smiles"] for row in opened.client.get(f"{project}/molecules").json()["rows"]}
    assert {row["id"]: row["smiles"] for row in kept["rows"]}.items() <= smiles.items()
    refused(opened.client.post(f"/api/jobs/{job['id']}:continue"), 409, "done")


def test_scores_are_told_one_by_one(opened: Opened) -> None:
    """What the table says of a molecule while others are still scored is what it says in the end."""
    project = opened.project("7sza")
    job = start(opened, project, "generate", {**QUICK, "num": 6})
    early: dict[str, Any] = {}
    while opened.client.get(f"/api/jobs/{job['id']}").json()["state"] not in ("done", "failed"):
        for row in opened.client.get(f"{project}/molecules").json()["rows"]:
            if row["values"].get("vina_min") is not None and row["ok"] is not None:
                early[row["id"]] = (row["ok"], row["values"]["vina_min"], row["values"]["vina_score"])
        time.sleep(0.05)
    rows = opened.client.get(f"{project}/molecules").json()["rows"]
    final = {r["id"]: (r["ok"], r["values"]["vina_min"], r["values"]["vina_score"]) for r in rows}
    assert early
    assert early.items() <= final.items()


def test_two_commands_never_write_into_one_folder(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert not processes.is_running(log)
    process = processes.start(["doctor", "--help"], tmp_path, log)
    with log.open("ab") as stream:
        with pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(Exception, match="still runs"):
            processes.start(["doctor", "--help"], tmp_path, log)
    assert processes.is_running(log)
    assert process.wait(60) == 0
    assert not processes.is_running(log)
    assert processes.last_lines(log).startswith("$ ligandsmith doctor --help")


def test_modules_in_a_project_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}")  # the empty one means the current folder
    (tmp_path / "json.py").write_text("raise SystemExit('the module of a stranger was imported')")
    process = processes.start(["doctor", "--help"], tmp_path, tmp_path / "x.log")
    assert process.wait(60) == 0


def test_the_message_of_a_failure_is_its_error_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert processes.last_error(log) == "it said nothing"
    log.write_text("$ ligandsmith generate\nreading\nerror: no such file\nmore\n")
    assert processes.last_error(log) == "no such file"
    log.write_text("$ ligandsmith generate\nTraceback\nKeyError: 'x'\n")
    assert processes.last_error(log) == "KeyError: 'x'"


def test_jobs_are_kept_on_disk_and_their_numbers_never_come_back(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    steps = (JobStep("sampling", ("generate", "--num", "3")),)
    job = store.add(Job(store.next_number(), "p", "generate", {"num": 3}, steps))
    assert (job.id, job.state, job.steps) == (1, QUEUED, steps)
    assert store.move(1, [QUEUED], "done", message="x")
    assert not store.move(1, [QUEUED], "failed")
    store.close()
    again = JobStore(tmp_path)
    assert again.get(1).message == "x"
    again.remove_project("p")
    with pytest.raises(NoSuchThing):
        again.get(1)
    (tmp_path / "p" / "jobs" / "0041-import").mkdir(parents=True)
    assert again.next_number() == 42
    again.close()


def test_jobs_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.add(Job(1, "p", "generate", {}, (JobStep("sampling", ("generate",)),)))
    store.connection.execute("ALTER TABLE jobs DROP COLUMN folder")
    store.close()
    again = JobStore(tmp_path)
    assert [job.name for job in again.all()] == ["0001-generate"]
    again.add(Job(2, "p", "generate", {}, (JobStep("sampling", ("generate",)),), folder="by hand"))
    assert again.get(2).name == "by hand"
    again.close()


def test_two_threads_never_take_one_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for number in (1, 2):
        store.add(Job(number, "p", "generate", {}, (JobStep("sampling", ("generate",)),)))
    first, second = store.claim(), store.claim()
    assert first
    assert second
    assert (first.id, second.id) == (1, 2)
    assert store.claim() is None
    store.close()


def test_records_are_counted_in_a_file_that_grows_and_shrinks(tmp_path: Path) -> None:
    counter, path = FileCounter(), tmp_path / "x.sdf"
    assert counter.count(path) == 0
    path.write_text("a\n$$$$\nb\n$$$$\nc\n")
    assert counter.count(path) == 2
    path.write_text("a\n$$$$\n")
    assert counter.count(path) == 1


def test_an_unknown_job_is_told(opened: Opened) -> None:
    for path in ("/api/jobs/999", "/api/jobs/999/events"):
        refused(opened.client.get(path), 404, "no such job")
    refused(opened.client.post("/api/jobs/999:cancel"), 404)
    assert opened.client.get("/api/jobs/99999999999999999999").status_code == 422
    assert opened.client.get("/api/jobs/x").status_code == 422


def test_results_of_a_typed_command_are_a_job(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    project = opened.project("7sza")
    folder = opened.studio.projects.root / project.rsplit("/", 1)[1]
    words = ["--protein", str(folder / "protein.pdb.gz"), "--ligand", str(folder / "ligand.sdf"), "--num", "2"]
    words += ["--num_atoms", "9", "--steps", "3", "--candidates", "1", "--checkpoint", "tiny"]
    assert main(["generate", *words, "--out", str(folder / "jobs" / "by hand"), "--quiet"]) == 0, capsys.readouterr()
    (job,) = opened.client.get(project).json()["jobs"]
    assert (job["state"], job["task"], job["molecules"]) == ("interrupted", "generate", 2)
    assert "continue it to score" in job["message"]
    assert opened.client.get(f"{project}/molecules").json()["total"] == 2
    opened.client.post(f"/api/jobs/{job['id']}:continue")
    assert ended(opened.client, job)["state"] == "done"
    row = opened.client.get(f"{project}/molecules").json()["rows"][0]
    assert isinstance(row["values"]["vina_min"], float)
    assert len(opened.client.get(project).json()["jobs"]) == 1


def test_a_copied_project_has_its_molecules_and_stars(
    opened: Opened, made: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    project, _ = made
    rows = opened.client.get(f"{project}/molecules").json()["rows"]
    starred = opened.client.patch(f"{project}/molecules/{rows[-1]['id']}", json={"starred": True}).json()
    source = opened.studio.projects.root / project.rsplit("/", 1)[1]
    shutil.copytree(source, opened.studio.projects.root / "the-copy")  # its numbers are taken
    copied = opened.client.get("/api/projects/the-copy").json()["jobs"]
    assert len(copied) == len(opened.client.get(project).json()["jobs"])
    assert copied[0]["state"] == "done"
    found = opened.client.get("/api/projects/the-copy/molecules").json()["rows"]
    assert [row["smiles"] for row in found] == [row["smiles"] for row in rows]
    assert [row["smiles"] for row in found if row["starred"]] == [starred["smiles"]]
    (tmp_path / "projects").mkdir()
    shutil.copytree(source, tmp_path / "projects" / source.name)  # to a studio where they are free
    with studio_in(tmp_path) as other:
        assert {row["id"]: row["starred"] for row in other.client.get(f"{project}/molecules").json()["rows"]} == {
            row["id"]: row["id"] == starred["id"] for row in rows
        }
