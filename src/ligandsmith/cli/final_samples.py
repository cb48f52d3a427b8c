"""The end of a joint run: sample ligands for a validation pocket, with and without guidance."""

from dataclasses import replace
from pathlib import Path

from ligandsmith.data.dataset import Split
from ligandsmith.generation.generator import load
from ligandsmith.generation.output import funnel, generate_to_folder
from ligandsmith.options import GenerationOptions
from ligandsmith.parallel.devices import has_device
from ligandsmith.structure.pocket import mark_pocket
from ligandsmith.training.loaders import open_records
from ligandsmith.training.options import Request


def sample_after_training(request: Request, checkpoint: Path, num: int) -> dict[str, tuple[Path, list[str]]]:
    """{"guided": (ligands.sdf, lines of text), "unguided": ...} for the first complex of the validation split."""
    records, _ = open_records(replace(request.data, ligand_only=False), Split.VALIDATION, "complexes")
    record = records[0]
    assert record.pocket is not None
    device = request.hardware.device
    generator = load(checkpoint, device if has_device(device) else "cpu")
    pocket = mark_pocket(record.pocket, record.ligand.x, generator.config.pocket)
    out = {}
    for name, scale in (("guided", None), ("unguided", 1.0)):
        options = GenerationOptions(num=num, seed=request.train.seed, cfg_scale=scale, cfg_scale_x=scale)
        folder = request.train.run_dir / f"samples_{name}_{generator.checkpoint_hash}"
        made = generate_to_folder(generator, pocket, options, folder, {"validation_complex": record.id})
        out[name] = (folder / "ligands.sdf", funnel(made))
    return out
