"""Every task becomes command lines that the commands accept, and nothing that a page sends escapes its flag."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from studio_client import EXAMPLES, Opened, refused, studio_in

from ligandsmith.chem.fragment import read_fragment
from ligandsmith.cli.constraints import requested
from ligandsmith.cli.main import COMMANDS, build_parser
from ligandsmith.studio.commands import TASKS, Scale, shown
from ligandsmith.studio.flags import FLAGS
from ligandsmith.studio.jobs import Job, JobStep

MADE = (EXAMPLES / "7sza" / "ligand.sdf").read_text().split("$$$$")[0].rstrip()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with studio_in(tmp_path_factory.mktemp("commands")) as found:
        yield found


@pytest.fixture(scope="module")
def project(opened: Opened) -> str:
    """A project in which job 1 has made two molecules."""
    address = opened.project("7sza")
    id = address.rsplit("/", 1)[1]
    job = opened.studio.store.add(Job(1, id, "generate", {}, (JobStep("sampling", ("generate",)),), state="cancelled"))
    folder = opened.studio.projects.root / id / "jobs" / job.name
    folder.mkdir(parents=True)
    records = [f"{MADE}\n>  <index>\n{index}\n\n$$$$\n" for index in (0, 7)]
    (folder / "ligands.sdf").write_text("".join(records))
    return address


def command(opened: Opened, project: str, task: str, fields: dict[str, Any]) -> list[argparse.Namespace]:
    """The parsed command lines of a task."""
    answer = opened.client.post(f"{project}/jobs?dry_run=true", json={"task": task, "fields": fields})
    assert answer.status_code == 200, answer.text
    words = shlex.split(answer.json()["command"])
    second = words.index("&&")
    return [parsed(words[:second]), parsed(words[second + 1 :])]


def parsed(words: list[str]) -> argparse.Namespace:
    assert words[0] == "ligandsmith"
    return build_parser().parse_args(words[1:])


def out_of(args: argparse.Namespace) -> str:
    """The task that the output folder is named after."""
    parent, name = args.out.parts
    number, _, task = name.partition("-")
    assert (parent, len(number), number.isdecimal()) == ("jobs", 4, True)
    return str(task)


DEMANDS = {
    "num": 7, "num_atoms": [12, 18], "seed": 0, "require": ["hbond A:SER508"],
    "exclude": [[1, -2, 3.5, 4], [0, 0, 0, 1]], "toward": [-1, 2, 3],
    "forbid": ["[N+](=O)[O-]", "c1ccccc1"], "require_smarts": "C=O", "no_alerts": True,
    "rings": "known", "charge": "-1,0", "chiral_centers_max": 2, "qed": 0.6, "sa": "any", "logp": 0, "candidates": 2,
    "checkpoint": "tiny", "steps": 5, "steer": "vina", "objective": ["-vina_min", "qed:0.5"], "add_hs": False,
}  # fmt: skip


def test_a_request_sets_the_flags_of_generate(opened: Opened, project: str) -> None:
    made, scored = command(opened, project, "generate", DEMANDS)
    assert (made.num, made.num_atoms, made.seed) == (7, "12-18", 0)
    assert made.exclude == ["1,-2,3.5,4", "0,0,0,1"]
    assert made.toward == (-1, 2, 3)
    assert made.forbid == ["[N+](=O)[O-]", "c1ccccc1"]
    assert (made.charge, made.logp, made.no_alerts, made.rings) == ((-1, 0), 0, True, "known")
    assert made.wanted == "-vina_min, qed:0.5"
    assert (made.protein, made.ligand) == (Path("protein.pdb.gz"), Path("ligand.sdf"))
    assert out_of(made) == "generate"
    assert not hasattr(made, "add_hs")
    assert (scored.command, scored.ligands, scored.tools) == ("evaluate", made.out, ["posebusters", "vina"])
    assert (scored.protein, scored.ligand) == (made.protein, made.ligand)
    assert requested(made).constraints.charge == (-1, 0)  # the values are usable, not only the words


@pytest.mark.parametrize(
    ("task", "fields", "expected"),
    [
        ("grow", {"from": "1.7", "atoms": [3, 1]}, {"fix": [Path("parts/1.7.sdf")], "grow_from": (1, 3)}),
        ("grow", {"from": "reference"}, {"fix": [Path("ligand.sdf")]}),
        ("replace", {"from": "1.0", "atoms": [2]}, {"replace": Path("parts/1.0.sdf"), "atoms": (2,)}),
        ("replace", {"smarts": "C=O"}, {"replace": Path("ligand.sdf"), "smarts": "C=O"}),
        ("hop", {"from": "1.0"}, {"hop": Path("parts/1.0.sdf")}),
        ("decorate", {"from": "reference"}, {"decorate": Path("ligand.sdf")}),
        ("link", {"from": ["1.0", "1.7"]}, {"fix": [Path("parts/1.0.sdf"), Path("parts/1.7.sdf")]}),
        ("optimise", {"from": "1.7", "objective": "vina_min", "budget": 50, "similarity": [0.2, 0.8]},
         {"ligand": [Path("parts/1.7.sdf")], "budget": "50", "similarity": (0.2, 0.8), "objective": "vina_min"}),
        ("optimise", {"budget": "10min", "moves": ["noise", "fresh"]},
         {"ligand": [Path("ligand.sdf")], "budget": "10min", "moves": ["noise", "fresh"]}),
        ("analogues", {"from": "1.7", "num": 3}, {"ligand": Path("parts/1.7.sdf"), "num": 3}),
        ("analogues", {"similarity": "0.3-0.9"}, {"ligand": Path("ligand.sdf"), "similarity": (0.3, 0.9)}),
        ("generate", {"covalent": "A:CYS145", "warhead": "acrylamide"}, {"covalent": "A:CYS145"}),
    ],
)  # fmt: skip
def test_each_task_is_the_command_of_its_name(
    opened: Opened, project: str, task: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    made, scored = command(opened, project, task, fields)
    assert made.command == (task if task in COMMANDS else "generate")
    assert {name: getattr(made, name) for name in expected} == expected
    assert made.protein == Path("protein.pdb.gz")
    assert scored.ligands == made.out
    assert out_of(made) == task


def test_all_tasks_are_tried_here() -> None:
    tried = {"generate", "grow", "replace", "hop", "decorate", "link", "optimise", "analogues", "import"}
    assert set(TASKS) == tried


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ({"ligand": True}, {"ligand": Path("ligand.sdf")}),
        ({"residues": ["A:LYS60", "A:SER61"]}, {"residues": ["A:60", "A:61"], "ligand": None}),
        ({"center": [-1.5, 2, 3], "radius": 9}, {"center": (-1.5, 2, 3), "radius": 9, "ligand": None}),
    ],
)
def test_the_site_is_named_to_every_command(opened: Opened, site: dict[str, Any], expected: dict[str, Any]) -> None:
    project = opened.project("7sza")
    labels = {r.label: r.name for r in _residues(opened, project)}
    if "residues" in site:
        site = {"residues": [f"A:{labels['A:60']}60", "A:61"]}
    assert opened.client.put(f"{project}/site", json=site).status_code == 200
    made, scored = command(opened, project, "generate", {})
    assert {name: getattr(made, name) for name in expected} == expected
    assert scored.ligand == expected["ligand"]
    start = None if "ligand" not in site else [Path("ligand.sdf")]
    optimised, _ = command(opened, project, "optimise", {})
    assert optimised.ligand == start
    assert (optimised.center, optimised.residues) == (made.center, made.residues)


def _residues(opened: Opened, project: str) -> Any:
    from ligandsmith.studio.sites import project_protein  # noqa: PLC0415

    return project_protein(opened.studio.projects.get(project.rsplit("/", 1)[1])).residues


def test_work_is_spread_as_the_studio_was_told(opened: Opened, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened.studio, "scale", Scale(3, "ray"))
    for args in command(opened, project, "optimise", {"budget": 10}):
        assert (args.workers, args.engine) == (3, "ray")
    made, scored = command(opened, project, "generate", {})
    assert (made.workers, made.engine, scored.workers, scored.engine) == (1, "local", 3, "ray")


def test_the_part_to_keep_is_a_fragment_of_the_start(opened: Opened, project: str) -> None:
    id = project.rsplit("/", 1)[1]
    mol = Chem.MolFromMolBlock(MADE)
    ring = [atom + 1 for atom in mol.GetSubstructMatch(Chem.MolFromSmarts("c1ccccc1"))]
    cut = {"task": "optimise", "fields": {"from": "1.7", "keep": ring[:-1]}}
    refused(opened.client.post(f"{project}/jobs", json=cut), 422, "aromatic ring")
    job = opened.studio.start(opened.studio.projects.get(id), "optimise", {"from": "1.7", "keep": ring})
    opened.client.post(f"/api/jobs/{job.id}:cancel")
    made = parsed(shlex.split(shown(job.steps[:1])))
    fragment = read_fragment(opened.studio.projects.root / id / made.keep)
    assert fragment.num_atoms == len(ring)
    assert made.ligand == [Path("parts/1.7.sdf")]


@pytest.mark.parametrize(
    ("task", "fields", "words"),
    [
        ("generate", {"num": 0}, ["num", "0 is out of range"]),
        ("generate", {"num": "5"}, ["num", "whole number"]),
        ("generate", {"num": True}, ["num", "whole number"]),
        ("generate", {"out": "/tmp"}, ["no field 'out'"]),
        ("generate", {"scorer": "os:system"}, ["no field 'scorer'"]),
        ("generate", {"from": "1.7"}, ["no field 'from'"]),
        ("generate", {"num_atoms": "../x"}, ["num_atoms"]),
        ("generate", {"num_atoms": "900"}, ["num_atoms"]),
        ("generate", {"checkpoint": "/etc/passwd"}, ["checkpoint"]),
        ("generate", {"forbid": ["C(("]}, ["forbid", "RDKit cannot read the pattern"]),
        ("generate", {"forbid": ["../patterns.txt"]}, ["forbid"]),
        ("generate", {"exclude": [[1, 2, 3]]}, ["exclude", "4 numbers"]),
        ("generate", {"exclude": [["a", 2, 3, 4]]}, ["exclude"]),
        ("generate", {"exclude": [[1, 2, 3, 4]] * 201}, ["exclude", "at most 200"]),
        ("generate", {"steer": "magic"}, ["steer", "magic"]),
        ("generate", {"qed": 7}, ["qed", "out of range"]),
        ("generate", {"require": ["hbond\nA:1"]}, ["require"]),
        ("generate", {"require": ["x" * 501]}, ["require"]),
        ("generate", {"objective": [{"a": 1}]}, ["objective"]),
        ("generate", {"objective": "beauty"}, ["beauty"]),
        ("optimise", {"objective": "beauty"}, ["beauty"]),
        ("generate", {"require": ["love A:SER508"]}, ["love A:SER508"]),
        ("generate", {"covalent": "A:CYS145"}, ["--warhead"]),
        ("generate", {"warhead": "../../x.sdf", "covalent": "A:CYS1"}, ["warhead"]),
        ("grow", {"from": "9.9"}, ["no such job"]),
        ("grow", {"from": "1.99"}, ["no such molecule"]),
        ("grow", {"from": "../1"}, ["no molecule '../1'"]),
        ("grow", {"from": ["1.0", "1.7"]}, ["one molecule"]),
        ("grow", {"from": "1.0", "atoms": [0]}, ["atoms"]),
        ("grow", {"from": "1.0", "atoms": "1,2"}, ["atoms"]),
        ("replace", {"from": "1.0"}, ["choose the atoms"]),
        ("replace", {"from": "1.0", "atoms": [1], "smarts": "C"}, ["--replace"]),
        ("link", {"from": ["1.0"]}, ["at least two"]),
        ("optimise", {"budget": "; reboot"}, ["budget"]),
        ("optimise", {"similarity": [0.8, 0.2]}, ["similarity"]),
        ("optimise", {"keep": [99]}, ["keep"]),
        ("analogues", {"from": None, "similarity": "x"}, ["similarity"]),
        ("import", {}, ["as a file"]),
        ("<script>", {}, ["no task '<script>'"]),
    ],
)
def test_what_cannot_be_is_refused_before_it_waits(
    opened: Opened, project: str, task: str, fields: dict[str, Any], words: list[str]
) -> None:
    before = len(opened.studio.store.all())
    answer = opened.client.post(f"{project}/jobs", json={"task": task, "fields": fields})
    refused(answer, 404 if "no such" in words[0] or "no molecule" in words[0] else 422, *words)
    assert len(opened.studio.store.all()) == before


@pytest.mark.parametrize("text", ["--out=/tmp/x", "-x", "a; rm -rf ~", "$(reboot)", "`id`", "' && reboot '", "\\"])
def test_a_text_stays_one_value_of_its_flag(opened: Opened, project: str, text: str) -> None:
    made, _ = command(opened, project, "generate", {"covalent": text, "warhead": "acrylamide"})
    assert made.covalent == text
    assert out_of(made) == "generate"


def test_no_flag_names_a_file_or_runs_a_program() -> None:
    assert not {flag for _, flag in FLAGS.values()} & {
        "--out", "--fix", "--keep", "--like", "--scorer", "--protein", "--ligand", "--known", "--manifest",
        "--overwrite",
    }  # fmt: skip
