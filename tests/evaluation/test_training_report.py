"""The page of a training run shows every curve and card of its folder."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.training import training_report


def history(epochs: int) -> list[dict[str, object]]:
    return [
        {
            "epoch": k, "step": 10 * k, "train_loss": 12 / k, "test_loss": 13 / k + 0.01 * k,
            "test_terms": {"element": 2 / k, "bond": math.exp(-k / 4), "<b>kl": 0.0, "total": 13 / k},
        }
        for k in range(1, epochs + 1)
    ]  # fmt: skip


def test_curves_of_losses_and_terms(tmp_path: Path) -> None:
    (tmp_path / "ligand_vae_history.json").write_text(json.dumps(history(40)))
    text = training_report(tmp_path).read_text(encoding="utf-8")
    assert text.count('class="curve train"') == 1
    assert text.count('class="curve test"') == 4
    assert "40 epochs, 400 steps. Best test loss 0.721 in epoch 36." in text
    assert "log scale" in text
    assert "&lt;b&gt;kl" in text
    assert "<b>kl" not in text
    assert "<script" not in text
    assert len(text) < 40_000


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    (tmp_path / "denoiser_history.json").write_text(json.dumps(history(20_000)))
    assert training_report(tmp_path).stat().st_size < 60_000


@pytest.mark.parametrize("rows", [history(1), [{"epoch": 1, "train_loss": math.nan, "test_loss": math.inf}], []])
def test_a_run_with_little_or_nothing_finite(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    (tmp_path / "model_history.json").write_text(json.dumps(rows))
    text = training_report(tmp_path).read_text(encoding="utf-8")
    assert "nan" not in text.split("</style>")[1]
    assert "model" in text


def test_report_cards(tmp_path: Path) -> None:
    (tmp_path / "ligand_vae_history.json").write_text(json.dumps(history(3)))
    card = {"molecules": 40, "noise_x": 0.0, "element": 0.991, "bond_recall": 0.95, "exact_graph": 0.81, "kl": 4.2,
            "active_dimensions": 5, "kl_per_dimension": [2.0, 1.2, 0.0]}  # fmt: skip
    path = tmp_path / "ligand_vae_report_card.json"
    path.write_text(json.dumps([card, card | {"noise_x": 0.1, "exact_graph": 0.7}]))
    text = training_report(tmp_path).read_text(encoding="utf-8")
    for expected in ("99.1 %", "81.0 %", "70.0 %", "noise 0.100 Å", "KL of each latent dimension"):
        assert expected in text
    path.write_text("3")
    with pytest.raises(LigandsmithError, match="not a report card"):
        training_report(tmp_path)


@pytest.mark.parametrize("content", ["{}", "[1]", "{"])
def test_what_is_no_history_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(LigandsmithError, match=r"no \*_history\.json"):
        training_report(tmp_path)
    (tmp_path / "x_history.json").write_text(content)
    with pytest.raises(LigandsmithError, match="cannot"):
        training_report(tmp_path)


def test_it_leaves_torch_alone() -> None:
    code = "import sys, ligandsmith.evaluation.report.training; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
