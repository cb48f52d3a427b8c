"""Pocket-conditioned 3D ligand generation by equivariant latent diffusion.

The public names are imported on first use, so that `import ligandsmith` is cheap and the evaluator never loads torch.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ligandsmith.chem.sdf import write_sdf
    from ligandsmith.design.setup import optimise
    from ligandsmith.evaluation.evaluate import evaluate
    from ligandsmith.generation.generator import generate, load
    from ligandsmith.records import Ligand, Pocket
    from ligandsmith.structure.pocket import read_pocket

    __version__: str

_PUBLIC = {
    "load": "generation.generator",
    "generate": "generation.generator",
    "read_pocket": "structure.pocket",
    "Pocket": "records",
    "Ligand": "records",
    "evaluate": "evaluation.evaluate",
    "optimise": "design.setup",
    "write_sdf": "chem.sdf",
}
__all__ = ["Ligand", "Pocket", "evaluate", "generate", "load", "optimise", "read_pocket", "write_sdf"]

if not TYPE_CHECKING:  # a type checker knows the names above and reports any other

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return metadata.version(__name__)
        if name not in _PUBLIC:
            raise AttributeError(f"module 'ligandsmith' has no attribute {name!r}")
        return getattr(import_module(f"ligandsmith.{_PUBLIC[name]}"), name)
