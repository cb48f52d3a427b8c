"""Numbers of atoms after fine-tuning: the size models shift towards the sizes of the own ligands in their pockets."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ligandsmith.config import SITE_RADIUS
from ligandsmith.finetuning.records import RecordList
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.models.latent_diffusion import size_nats
from ligandsmith.records import Complex, Pocket
from ligandsmith.structure.pocket import mark_pocket, sphere

MOST_POCKETS = 64
SHIFT_PRIOR = 0.01  # weight of the squared shift: sizes that no own ligand has stay possible
FITTING_STEPS = 50


@torch.inference_mode()
def _logits(generator: LigandGenerator, records: list[Complex], cut: str) -> Tensor:
    """Of the size model for pockets that are cut in this way, [n, CLASSES]."""
    latents = [generator.encode(pocket_of_ligand(generator, r, cut))[0] for r in records]
    return torch.cat([generator.model.size_model(cut)(pocket) for pocket in latents])


def pocket_of_ligand(generator: LigandGenerator, record: Complex, cut: str = "ligand") -> Pocket:
    """The pocket of a record as generation cuts it around its ligand, or around the centre of that."""
    assert record.pocket is not None
    x, config = record.ligand.x, generator.config.pocket
    if cut != "center":
        return replace(mark_pocket(record.pocket, x, config), cut="ligand")
    point = x.mean(0)
    return replace(mark_pocket(replace(record.pocket, center=point), point[None], sphere(config, SITE_RADIUS)), cut=cut)


def size_shifts(generator: LigandGenerator, train: RecordList) -> dict[str, Tensor]:
    """What to add to the last bias of each size model, by its name in the state dict; nothing without own pockets."""
    records = [r for r in train if r.pocket is not None][:MOST_POCKETS]
    if not records:
        return {}
    atoms = torch.tensor([r.ligand.num_atoms for r in records])
    model, shifts = generator.model, {}
    for cut, place in (("", "size"), *((cut, f"fitted_sizes.{cut}") for cut in model.fitted_sizes)):
        net: nn.Sequential = model.get_submodule(f"{place}.net")  # type: ignore[assignment]
        shifts[f"{place}.net.{len(net) - 1}.bias"] = _fitted_shift(_logits(generator, records, cut), atoms)
    return shifts


def _fitted_shift(logits: Tensor, atoms: Tensor) -> Tensor:
    """The shift [CLASSES] under which the own sizes are most likely, kept small."""
    logits = logits.clone()
    shift = torch.zeros(logits.shape[-1], requires_grad=True)
    optimizer = torch.optim.LBFGS([shift], max_iter=FITTING_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = size_nats(logits + shift, atoms).mean() + SHIFT_PRIOR * shift.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return shift.detach()
