"""Checkpoints: whole or not there, and never a program."""

import os
import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from ligandsmith.checkpoints import files as checkpoint
from ligandsmith.checkpoints.files import load_checkpoint, save_checkpoint
from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.vocabulary import VOCABULARY

CONTENT = {
    "kind": "ligand_vae",
    "epoch": 3,
    "config": {"ligand_vae": {"width": 32}},
    "vocabulary": VOCABULARY.to_dict(),
    "vae_state": {"weight": torch.arange(600.0).view(20, 30)},
    "history": [{"epoch": 1, "train_loss": 2.5}],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints" / "last.pt"


@pytest.fixture
def saved(path: Path) -> Path:
    save_checkpoint(path, CONTENT)
    return path


def refusal(path: Path, *kinds: str) -> str:
    with pytest.raises(LigandsmithError) as caught:
        load_checkpoint(path, kinds or checkpoint.CHECKPOINT_KINDS)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_saved_comes_back(saved: Path) -> None:
    content = load_checkpoint(saved, ("ligand_vae",))
    assert torch.equal(content["vae_state"]["weight"], CONTENT["vae_state"]["weight"])
    assert {k: content[k] for k in ("kind", "epoch", "config", "vocabulary", "history")} == {
        k: CONTENT[k] for k in ("kind", "epoch", "config", "vocabulary", "history")
    }
    assert content["format_version"] == checkpoint.CHECKPOINT_FORMAT_VERSION
    assert content["package_version"]
    assert os.listdir(saved.parent) == ["last.pt"]


def broken_save(error: BaseException) -> Callable[..., None]:
    def save(content: Any, stream: Any) -> None:
        stream.write(b"half of a file")
        raise error

    return save


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed\nmore lines")]
)
def test_a_failing_save_leaves_the_old_file_whole(
    saved: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(torch, "save", broken_save(error))
    with pytest.raises(LigandsmithError, match="cannot save checkpoint") as caught:
        save_checkpoint(saved, {**CONTENT, "epoch": 4})
    assert "\n" not in str(caught.value)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["last.pt"]


def test_an_interrupted_save_leaves_the_old_file_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", broken_save(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(saved, {**CONTENT, "epoch": 4})
    assert saved.read_bytes() == before
    save_checkpoint(saved, {**CONTENT, "epoch": 5})
    assert load_checkpoint(saved)["epoch"] == 5


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LigandsmithError, match=r"cannot save checkpoint .*file/last\.pt"):
        save_checkpoint(tmp_path / "file" / "last.pt", CONTENT)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(saved: Path, keep: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data))])
    assert "truncated" in refusal(saved)


def test_no_damage_ends_in_a_traceback(saved: Path) -> None:
    """Bytes changed at random: the file is refused, or the change hit data that no check covers."""
    good, rng = saved.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(6):
            data[rng.randrange(len(data))] = rng.randrange(256)
        saved.write_bytes(data)
        with suppress(LigandsmithError):
            load_checkpoint(saved)
            continue
        refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    "data", [b"\x80\x02.", b"hello, world\n", b"\x80\x04.", b"PK\x03\x04" + b"\0" * 50, bytes(range(256))]
)
def test_another_file_is_refused(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    refusal(path)


def test_a_missing_file_and_a_folder_are_named(path: Path, tmp_path: Path) -> None:
    assert "no such checkpoint" in refusal(path)
    assert "cannot be read" in refusal(tmp_path)


def test_another_kind_names_both(saved: Path) -> None:
    message = refusal(saved, "denoiser", "joint")
    assert "holds a ligand_vae; expected denoiser or joint" in message


def test_another_version_says_who_wrote_it(path: Path) -> None:
    save_checkpoint(path, {**CONTENT, "format_version": 99, "package_version": "7.1"})
    message = refusal(path)
    assert "99" in message
    assert "7.1" in message


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"format_version": 1, "kind": "ligand_vae"}])
def test_other_content_is_not_a_checkpoint(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    assert "not a checkpoint of this program" in refusal(path)


class Payload:
    """Unpickling this creates the file named by `mark`."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_does_not_run(path: Path, tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    mark = tmp_path / "ran"
    path.parent.mkdir(parents=True)
    write({**CONTENT, "format_version": 1, "extra": Payload(mark)}, path)
    assert "refused" in refusal(path)
    assert not mark.exists()


def test_a_damaged_byte_is_noticed(tmp_path: Path) -> None:
    weights = (Path(__file__).parents[2] / "src/ligandsmith/weights/denoiser_tiny.pt").read_bytes()
    path = tmp_path / "damaged.pt"
    for place in (0.2, 0.5, 0.8):
        damaged = bytearray(weights)
        damaged[int(place * len(damaged))] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(LigandsmithError, match="damaged"):
            load_checkpoint(path)
