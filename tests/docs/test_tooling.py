"""Generated pages, the demo, the lock file and the set-up are what they say."""

import argparse
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.cli import main as cli
from ligandsmith.generation.generator import LigandGenerator, shipped_weights
from ligandsmith.models.size import FittedSizeModel
from ligandsmith.structure.pocket import read_pocket
from repository_scripts import script

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_metrics_is_up_to_date() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == script("write_metrics_page").page()


def test_the_demo_uses_commands_that_exist_and_plans_a_few_minutes() -> None:
    demo = script("demo")
    steps = demo.training_steps(Path("d"), 1.0)
    steps += demo.sampling_steps("trained", "x.pt", Path("d"), 20) + demo.sampling_steps(
        "shipped", "small", Path("d"), 20
    )
    for step in steps:
        parser = argparse.ArgumentParser()
        cli.COMMANDS[step.command].flags(parser)
        parser.parse_args(step.arguments.split())
    assert sum(step.minutes for step in steps) <= 12
    assert sum(step.minutes for step in steps[-5:]) <= 3  # without training
    assert (ROOT / demo.POCKET / "protein.pdb.gz").is_file()


def test_the_table_of_the_demo_counts_failures_by_reason(tmp_path: Path) -> None:
    demo = script("demo")
    molecules = [
        {"smiles": "CCO", "raw_valid": True, "connected": True},
        {"smiles": "C.C", "raw_valid": False, "connected": False},
    ]
    failures = [{"index": 2, "reason": "valence", "detail": ""}]
    metrics = {
        name: {"mean": 0.5, "median": 0.4, "n": 1, "status": "ok"}
        for name in ("pb_valid_of_requested", "qed", "sa", "heavy_atoms", "strain_uff", "vina_min")
    } | {"clashes": {"mean": None, "n": 0, "status": "not run: no protein given"}}
    (tmp_path / "samples.json").write_text(json.dumps({"requested": 3, "molecules": molecules, "failures": failures}))
    (tmp_path / "summary.json").write_text(json.dumps({"metrics": metrics}))
    column = demo.outcome(tmp_path)
    assert column["requested"] == "3"
    assert column["valid and connected"] == "1"
    assert column["in several pieces"] == "1"
    assert column["failed: valence"] == "1"
    assert column["median strain_uff"] == "0.40 (n 1)"
    assert column["mean clashes"] == "not run: no protein given"
    text = demo.table({"trained": column, "shipped": {"requested": "3"}})
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines()}
    assert rows["failed: valence"] == ["1", "0"]


def test_the_lock_has_every_dependency_but_torch_and_names_no_index() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [
        d for extra in ("dev", "evaluate", "studio") for d in project["optional-dependencies"][extra]
    ]
    lock = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE))
    names = {re.split(r"[<>=~!\[ ]", d)[0].lower() for d in wanted}
    assert names - locked == {"torch"}
    assert "://" not in lock


def test_set_up_refuses_an_old_python_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.7" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "setup.sh")],
        env={**os.environ, "PYTHON": str(old)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Python 3.11 or newer" in done.stderr
    assert "3.9.7" in done.stderr


def test_continuous_integration_runs_what_a_user_runs() -> None:
    lines = [
        line for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert lines[-1] == "make test"
    assert "set -euo pipefail" in lines


@pytest.mark.parametrize(
    "changes",
    [
        {"self_layers": 8},
        {"cross_layers": 4},
        {"triangles": 4},
        {"bonds": True, "triangles": 4},
        {"fragments": True, "properties": True},
        {"edge_width": 56},
    ],
)
def test_a_grown_denoiser_gives_what_it_gave_before(changes: dict[str, Any]) -> None:
    before = load_checkpoint(shipped_weights("tiny"))
    after = script("grow_denoiser").grown(load_checkpoint(shipped_weights("tiny")), **changes)
    shape = before["config"]["denoiser"] | changes
    assert after["config"]["denoiser"] | shape == after["config"]["denoiser"] != before["config"]["denoiser"]
    pocket, _ = read_pocket(
        ROOT / "examples/complexes/7sza/protein.pdb.gz", ROOT / "examples/complexes/7sza/ligand.sdf"
    )
    old, new = (
        LigandGenerator(content, "hash")
        .generate(pocket, num=1, num_atoms="12", steps=3, candidates=1, cfg_scale=1.0, relax=False, **asked)[0]
        .mol
        for content, asked in ((before, {}), (after, {"qed": 0.9} if "properties" in changes else {}))
    )
    difference = old.GetConformer().GetPositions() - new.GetConformer().GetPositions()
    assert abs(difference).max() < 1e-3


def test_fitting_size_models_changes_nothing_else(
    denoiser_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = denoiser_dir / "best_denoiser.pt", tmp_path / "fitted.pt"
    script("fit_size_models").main([str(before), str(after), "--limit", "6", "--epochs", "4"])
    old, new = (LigandGenerator(load_checkpoint(path), "x") for path in (before, after))
    ours, theirs = old.model.state_dict(), new.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert {name.split(".")[0] for name in theirs.keys() - ours.keys()} == {"fitted_sizes"}
    assert old.fingerprints() == new.fingerprints()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "around a ligand",
        "around a center",
    ]


def test_a_size_model_is_kept_at_its_best_on_held_out_pockets() -> None:
    fitting = script("fit_size_models")
    torch.manual_seed(0)
    model = FittedSizeModel(3)
    x = torch.randn(400, model.mean.shape[0], generator=torch.Generator().manual_seed(1))
    atoms = (25 + 8 * x[:, 0]).round().long()
    train, held_out = (x[:300], atoms[:300]), (x[300:], atoms[300:])
    words = fitting.fit(model, train, held_out, epochs=12, rate=1e-2)
    with torch.no_grad():
        found = fitting.summary(model.logits(held_out[0]), held_out[1])
    assert words.startswith(found)
    assert 1.5 < float(found.split()[0]) < 2.9
