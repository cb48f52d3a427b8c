"""Losses reach TensorBoard, Weights & Biases and MLflow, offline; a resumed run is the same run there; a logger that
fails ends no training."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ligandsmith.cli.main import FAILED, OK
from ligandsmith.training import loggers
from ligandsmith.training.loggers import LastingLogger, LoggedRun
from tiny_runs import Tiny

VAE = ("--model_type", "protein")
Values = dict[str, list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def tensorboard_values(folder: Path) -> Values:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def wandb_records(path: Path) -> list[bytes]:
    """The records of a .wandb file: the log format of LevelDB, blocks of 32 KiB with parts of records."""
    data, place, records, parts = path.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records, parts = [*records, parts], b""
    return records


def wandb_values(folder: Path) -> Values:
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415

    values: Values = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in wandb_records(path):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                for name in [name for name in items if "/" in name]:
                    values.setdefault(name, []).append((items["step"], items[name]))
    return values


def mlflow_values(folder: Path) -> Values:
    (metrics,) = folder.glob("mlruns/*/*/metrics")
    values: Values = {}
    for path in sorted(p for p in metrics.rglob("*") if p.is_file()):
        rows = [line.split() for line in path.read_text().splitlines()]
        values[str(path.relative_to(metrics))] = [(int(row[2]), float(row[1])) for row in rows]
    return values


READERS = {
    "tensorboard": lambda folder: tensorboard_values(folder / "1"), "wandb": wandb_values, "mlflow": mlflow_values,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_losses_are_logged_and_a_resumed_run_is_the_same_run(name: str, tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.run("train-vae", tmp_path, *VAE, "--logger", name) == OK
    assert tiny.run("train-vae", tmp_path, *VAE, "--logger", name, "--num_epochs", "3", "--resume", "auto") == OK
    folder = tmp_path / "logs/protein_vae"
    values = READERS[name](folder)
    history = json.loads((tmp_path / "protein_vae_history.json").read_text())
    assert [step for step, _ in values["test/total"]] == [row["step"] for row in history] == [2, 4, 6]
    assert [value for _, value in values["test/total"]] == pytest.approx([row["test_loss"] for row in history])
    assert {"train/residue", "train/gradient norm", "train/learning rate"} <= values.keys()


def test_the_settings_of_a_run_are_stored_and_nothing_of_the_code(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.run("train-vae", tmp_path, *VAE, "--logger", "mlflow", "--max_steps", "1") == OK
    (run,) = tmp_path.glob("logs/protein_vae/mlruns/*/*/params")
    assert (run / "pocket_vae.width").read_text() == "32"
    assert (run / "train.learning_rate").read_text() == "0.0001"
    assert yaml.safe_load((run.parent / "meta.yaml").read_text())["run_name"] == f"{tmp_path.name}/protein_vae"
    assert tiny.run("train-vae", tmp_path, *VAE, "--overwrite", "--logger", "wandb", "--max_steps", "1") == OK
    (files,) = tmp_path.glob("logs/protein_vae/wandb/offline-run-*/files")
    assert {path.name for path in files.rglob("*")} <= {"requirements.txt", "wandb-metadata.json", "config.yaml"}


def test_no_logger_writes_no_logs(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.run("train-vae", tmp_path, *VAE, "--logger", "none", "--max_steps", "1") == OK
    assert [path for path in (tmp_path / "logs").rglob("*") if path.is_file()] == []


class FullDisk:
    """Fails at the second call."""

    calls = 0

    def __init__(self, run: LoggedRun) -> None:
        del run

    def write(self, values: Mapping[str, float], step: int) -> None:
        FullDisk.calls += 1
        if FullDisk.calls > 1:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        raise AssertionError("closed after it had failed")


def test_a_logger_that_fails_ends_no_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", FullDisk)
    assert tiny.run("train-vae", tmp_path, *VAE) == OK
    assert FullDisk.calls == 2
    lines = [record.getMessage() for record in caplog.records if "--logger" in record.getMessage()]
    assert lines == ["--logger tensorboard failed ([Errno 28] No space left on device); training goes on without it"]
    assert len(json.loads((tmp_path / "protein_vae_history.json").read_text())) == 2


def test_a_service_that_cannot_be_reached_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logger = LastingLogger("mlflow", LoggedRun(tmp_path, "run", {}))
    logger.write({"train/total": 1.0}, 0)
    logger.close()
    assert [record.getMessage()[:22] for record in caplog.records if record.levelname == "WARNING"] == [
        "--logger mlflow failed"
    ]


def test_a_missing_package_is_one_line(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    assert tiny.run("train-vae", tmp_path, *VAE, "--logger", "wandb") == FAILED
    assert capsys.readouterr().err == (
        "error: --logger wandb: wandb is not installed; pip install 'ligandsmith[wandb]', or leave --logger out\n"
    )
    assert list(tmp_path.iterdir()) == []
