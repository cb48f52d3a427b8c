"""Checkpoints: one file of plain tensors, numbers, strings, lists and dicts. Reading one never runs its code.

A file is written under a temporary name, flushed and renamed, so an interrupted save leaves the previous one intact.
"""

import errno
import hashlib
import pickle
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ligandsmith.config import UNLIMITED, Config, from_dict
from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.files import atomic_write
from ligandsmith.structure.vocabulary import Vocabulary

CHECKPOINT_FORMAT_VERSION = 1
VAE_KINDS = {"ligand": "ligand_vae", "protein": "protein_vae"}  # of checkpoints
SECTIONS = {"ligand": "ligand_vae", "protein": "pocket_vae"}  # of the configuration
CHECKPOINT_KINDS = (*VAE_KINDS.values(), "denoiser", "joint")
DAMAGED = (  # what reading a damaged or foreign file raises
    RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError, LookupError, TypeError,
    AttributeError, AssertionError, OverflowError, struct.error,
)  # fmt: skip
STATES = ("diffusion_state", "vae_state")
REQUIRED = ("format_version", "kind", "epoch", "config", "vocabulary")


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write atomically, with the format version, package version and commit added. Raises LigandsmithError."""
    content = {
        "format_version": CHECKPOINT_FORMAT_VERSION,
        "package_version": metadata.version("ligandsmith"),
        "git_commit": git_commit(),
        **content,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part, part.open("wb") as stream:
            torch.save(content, stream)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise LigandsmithError(
            f"cannot save checkpoint {path}: {reason}; free some space or choose another --run_dir (the previous "
            "checkpoint, if any, is whole)"
        ) from error


def weights_folder() -> Path:
    """Where the shipped weights are."""
    return Path(str(resources.files("ligandsmith") / "weights"))


def _or_shipped(path: Path, kinds: Sequence[str]) -> Path:
    if path.suffix or path.exists() or len(path.parts) != 1:
        return path
    return next((file for kind in kinds if (file := weights_folder() / f"{kind}_{path.name}.pt").is_file()), path)


def _require_undamaged(path: Path) -> None:
    """Raise LigandsmithError for a file that differs from what was written, by the checksums inside, which torch.load
    does not look at."""
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:  # torch tells what else a file may be
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise LigandsmithError(f"{path}: compressed inside, which no checkpoint is; get the file as it was written")
        damaged = archive.testzip()
        if damaged is not None:
            raise LigandsmithError(f"{path}: damaged ({damaged} is not what was written); copy or download it again")


def load_checkpoint(path: Path, kinds: Sequence[str] = CHECKPOINT_KINDS) -> dict[str, Any]:
    """Read a checkpoint of one of `kinds`, tensors on the CPU. Raises LigandsmithError for anything else.

    A bare name that is no file, like `small`, stands for the shipped weights of that name.
    """
    path = _or_shipped(path, kinds)
    try:
        _require_undamaged(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols; such a file is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LigandsmithError(f"{path}: no such checkpoint") from None
    except OSError as error:
        reason = "truncated" if error.errno == errno.EINVAL else error.strerror or error  # a seek before the start
        raise LigandsmithError(f"{path}: cannot be read: {reason}") from None
    except DAMAGED as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LigandsmithError(
            f"{path}: not a whole checkpoint of this program (truncated, or with objects that are refused): {first}"
        ) from None
    if not isinstance(content, dict) or any(key not in content for key in REQUIRED):
        raise LigandsmithError(f"{path}: not a checkpoint of this program: it lacks one of {', '.join(REQUIRED)}")
    if content["format_version"] != CHECKPOINT_FORMAT_VERSION:
        raise LigandsmithError(
            f"{path}: format version {content['format_version']}; this program reads {CHECKPOINT_FORMAT_VERSION}; "
            f"use the version of ligandsmith that wrote it ({content.get('package_version', 'unknown')})"
        )
    if content["kind"] not in kinds:
        raise LigandsmithError(f"{path}: holds a {shortened(content['kind'])}; expected {' or '.join(kinds)}")
    require_sound(content, path)
    return content


def require_sound(content: dict[str, Any], path: Path) -> None:
    """Raise LigandsmithError for a checkpoint whose values cannot be: outside their ranges, of another type, tensors
    that are larger than what is stored of them, weights that are not finite."""
    try:
        from_dict(Config, content["config"])
        Vocabulary.from_dict(content["vocabulary"])
    except LigandsmithError as error:
        raise LigandsmithError(f"{path}: {error}") from None
    counts = {"epoch": content["epoch"], "step": content.get("step", 0)}
    if wrong := [name for name, n in counts.items() if type(n) is not int or not 0 <= n < UNLIMITED]:
        raise LigandsmithError(f"{path}: {wrong[0]} is {shortened(counts[wrong[0]])}; 0 or more is expected")
    averages = content.get("ema_state", {})
    states = {name: content[name] for name in STATES if name in content}
    states |= {"ema_state": averages.get("values")} if averages else {}
    for name, state in states.items():
        tensors = isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
        if not tensors or not all(map(_is_whole, state.values())):
            raise LigandsmithError(f"{path}: {name} has an entry that is no whole tensor of finite numbers")


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor has an element of its storage for each of its own, and no NaN or infinity."""
    stored = tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    return stored and (not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()))


@contextmanager
def refused_if_unfit(path: Path | str) -> Iterator[None]:
    """Turn the errors of a checkpoint that does not fit what is done with it into a LigandsmithError of one line."""
    try:
        yield
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        text = str(error).splitlines()[-1].strip() if str(error) else ""
        raise LigandsmithError(f"{path}: does not fit its own config ({type(error).__name__}: {text[:300]})") from error


@cache
def git_commit() -> str:
    """Commit of the checkout that the package runs from; empty for an installed package."""
    try:
        command, folder = ["git", "rev-parse", "HEAD"], Path(__file__).parent
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Twelve hex digits of the SHA-256 of a state dict's names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class LoadedVAE:
    """Configuration, averaged weights and vocabulary of a trained VAE."""

    config: Any
    state: dict[str, Tensor]
    vocabulary: Vocabulary
    path: Path  # of the checkpoint


def load_vae(path: Path, name: str) -> LoadedVAE:
    """The averaged weights of a VAE checkpoint (or of the VAE within a denoiser's). Raises LigandsmithError."""
    content = load_checkpoint(path, (VAE_KINDS[name], "denoiser", "joint"))
    config = getattr(from_dict(Config, content["config"], str(path)), SECTIONS[name])
    with refused_if_unfit(path):
        vocabulary = Vocabulary.from_dict(content["vocabulary"])
        return LoadedVAE(config, averaged_vae_state(content, name), vocabulary, path)


def averaged_diffusion_state(content: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of the diffusion model for use: the moving average, or the only ones of an exported checkpoint."""
    return entries_under(_average(content), "model.") or content["diffusion_state"]


def averaged_vae_state(content: dict[str, Any], name: str) -> dict[str, Tensor]:
    """Weights for use: the moving average where the VAE was trained, else the ones that were frozen."""
    average = _average(content)
    if content["kind"] == VAE_KINDS[name]:
        return entries_under(average, "vae.") or content["vae_state"]
    return entries_under(average, f"trained.{name}.") or entries_under(content["vae_state"], f"{name}.")


def _average(content: dict[str, Any]) -> dict[str, Tensor]:
    return content.get("ema_state", {}).get("values", {})


def entries_under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
