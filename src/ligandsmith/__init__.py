"""Pocket-conditioned 3D ligand generation by equivariant latent diffusion.

The public names are imported on first use, so that `import ligandsmith` is cheap and the evaluator never loads torch.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "load": "generation.generator",
    "generate": "generation.generator",
    "Pocket": "records",
    "Ligand": "records",
    "evaluate": "evaluation.evaluate",
    "optimise": "design.setup",
    "write_sdf": "chem.sdf",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ligandsmith' has no attribute {name!r}")
    return getattr(import_module(f"ligandsmith.{_PUBLIC[name]}"), name)
