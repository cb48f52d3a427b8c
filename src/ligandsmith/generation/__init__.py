"""Ligands for a pocket by trained networks: options, site, generator, sampler and output; `batch`: many pockets."""

from ligandsmith.generation.generator import LigandGenerator, generate, load
from ligandsmith.generation.output import funnel, generate_to_folder
from ligandsmith.options import GenerationOptions
from ligandsmith.structure.pocket import read_pocket

__all__ = ["GenerationOptions", "LigandGenerator", "funnel", "generate", "generate_to_folder", "load", "read_pocket"]
