"""Weights to give away: the averaged weights of a checkpoint, as one slim .pt file or as safetensors + config.json.

A folder with `model.safetensors`, `config.json` and `README.md` (the model card) is what model hubs expect, and holds
nothing that could run code. It loads wherever a checkpoint of a denoiser does.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ligandsmith.checkpoints.files import (
    CHECKPOINT_FORMAT_VERSION,
    CHECKPOINT_KINDS,
    REQUIRED,
    STATES,
    VAE_KINDS,
    averaged_diffusion_state,
    averaged_vae_state,
    entries_under,
    fingerprint,
    require_sound,
)
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import (
    atomic_write,
    earlier_record,
    held_alone,
    json_content,
    refuse_other,
    write_json,
    write_text,
)

TENSORS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
KEPT = (
    "kind", "epoch", "step", "config", "vocabulary", "train_loss", "test_loss", "history", "git_commit", "frozen_vaes",
)  # fmt: skip


def slim(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint for use only: the averages take the place of the trained weights, no optimizer state."""
    kept = {key: content[key] for key in KEPT if key in content}
    if content["kind"].endswith("_vae"):
        state = averaged_vae_state(content, content["kind"].removesuffix("_vae"))
        return {**kept, "vae_state": state, "fingerprint": fingerprint(state)}
    kept["diffusion_state"] = averaged_diffusion_state(content)
    states = {name: averaged_vae_state(content, name) for name in VAE_KINDS}
    kept["vae_state"] = {f"{name}.{k}": v for name, state in states.items() for k, v in state.items()}
    kept["vae_hashes"] = {name: fingerprint(state) for name, state in states.items()}
    return kept


def export(content: dict[str, Any], folder: Path, card: str = "", overwrite: bool = False) -> list[Path]:
    """Write a checkpoint as a folder; `card` is the text of the model card. Returns the files written.

    Raises LigandsmithError for a folder that holds another model or card, unless `overwrite`.
    """
    small = slim(content)
    tensors = {f"{part}/{k}": v.contiguous().clone() for part in STATES for k, v in small.pop(part, {}).items()}
    described = {"format_version": CHECKPOINT_FORMAT_VERSION, **small}
    text = card or model_card(described)
    with held_alone(folder):
        earlier, edited = earlier_record(folder / CONFIG), folder / CARD
        same_card = not edited.exists() or edited.read_text(encoding="utf-8", errors="replace") == text
        same = {"model": earlier == json.loads(json.dumps(described)), "card": same_card}
        changed = None if earlier is None else [name for name in same if not same[name]]
        refuse_other(folder, (CARD, CONFIG, TENSORS), changed, overwrite)
        write_json(folder / CONFIG, described)  # first, so that the weights are never without their origin
        with atomic_write(folder / TENSORS) as part:
            save_file(tensors, part, metadata={"format": "pt"})
        write_text(folder / CARD, text)
    return [folder / name for name in (TENSORS, CONFIG, CARD)]


def load_exported(folder: Path, kinds: tuple[str, ...] = CHECKPOINT_KINDS) -> dict[str, Any]:
    """The content of a checkpoint from a folder that `export` wrote. Raises LigandsmithError."""
    try:
        content = json_content(folder / CONFIG)
        tensors = load_file(folder / TENSORS)
    except FileNotFoundError as error:
        raise LigandsmithError(
            f"{folder}: no {Path(error.filename or TENSORS).name}; is it an exported model?"
        ) from None
    except (ValueError, OSError, SafetensorError) as error:
        raise LigandsmithError(f"{folder}: damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or content.get("format_version") != CHECKPOINT_FORMAT_VERSION:
        raise LigandsmithError(
            f"{folder / CONFIG}: not an exported model of format version {CHECKPOINT_FORMAT_VERSION}"
        )
    if content.get("kind") not in kinds:
        raise LigandsmithError(f"{folder}: holds a {content.get('kind')}; expected {' or '.join(kinds)}")
    if lacking := [key for key in REQUIRED if key not in content]:
        raise LigandsmithError(f"{folder / CONFIG}: no {lacking[0]} in it; export the model again")
    for part in STATES:
        content[part] = entries_under(tensors, f"{part}/")
    require_sound(content, folder)
    return content


def model_card(described: dict[str, Any]) -> str:
    """What can be said of a model from its checkpoint; data, licences and measured quality are the trainer's to add."""
    step = described.get("step", "unknown")
    losses = [f"{name.replace('_', ' ')} {described[name]:.4f}" for name in ("train_loss", "test_loss")]
    return (
        f"# ligandsmith {described['kind']}, preset `{described['config']['preset']}`\n\n"
        f"Epoch {described['epoch']}, step {step}: {', '.join(losses)} (averaged weights).\n"
        f"Trained with ligandsmith at commit {described.get('git_commit') or 'unknown'}.\n\n"
        '## Use\n\n```python\nimport ligandsmith\n\ngenerator = ligandsmith.load("path/to/this/folder")\n```\n\n'
        "## To be filled in by who trained it\n\n"
        "Data, their sources and licences; the exact commands; measured quality with n and intervals (`ligandsmith\n"
        "evaluate`); what it must not be used for. Nothing here predicts affinity, toxicity or synthesis.\n"
    )
