"""The checks of PoseBusters for a ligand in its pocket."""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.evaluation.protein import CROP_RADIUS, ProteinView
from ligandsmith.evaluation.tools.failure import ToolFailure
from ligandsmith.evaluation.tools.runner import Site

# A pose whose energy is at most 10 times the mean of 2 conformers passes PoseBusters' 100 times the mean of 50, by far;
# only the others are worth 50 conformers, which take ten times as long as all other checks together.
FIRST_LOOK = {"ensemble_number_conformations": 2, "threshold_energy_ratio": 10.0, "num_threads": 1}
ENERGY_CHECK = "internal_energy"
EMBED_ATTEMPTS = 50  # at one conformer; for fifty impossible ones RDKit tries for an hour
POSEBUSTERS_MISSING = "posebusters is not installed: pip install 'ligandsmith[evaluate]'"

PoseChecks = dict[str, bool | None]  # None: the check could not decide


def posebusters_available() -> bool:
    """Whether PoseBusters can be imported. Imports it, so that processes forked later need not."""
    try:
        importlib.import_module("posebusters")
    except ImportError:
        return False
    return True


@dataclass(frozen=True)
class PoseBustersTool:
    """PoseBusters' checks by name, True, False or None where one could not decide: suite `dock` with a protein, else
    `mol`. The protein is cropped around each ligand first."""

    name: str = "posebusters"
    seconds: float = 300.0  # fifty conformers of a ligand of 60 atoms take more than one minute

    def missing(self, site: Site) -> str:
        """Why it cannot run."""
        del site
        return "" if posebusters_available() else POSEBUSTERS_MISSING

    def settings(self) -> dict[str, Any]:
        """Version, crop, and how the energy is looked at first."""
        return {"version": metadata.version("posebusters"), "crop": CROP_RADIUS, "first_look": FIRST_LOOK}

    def open(self, site: Site) -> Callable[[Chem.Mol], PoseChecks]:
        """Load PoseBusters once; the function checks a molecule."""
        from posebusters import PoseBusters  # noqa: PLC0415 (optional, and slow to import)

        logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # what a check could not decide is in its answer
        config = PoseBusters(config="mol" if site.protein is None else "dock", max_workers=0).config
        energy = [m for m in config["modules"] if m["function"] == "energy_ratio"][-1]  # `mol` lists it twice
        others = [m for m in config["modules"] if m["function"] != "energy_ratio"]
        look = energy | {"parameters": energy["parameters"] | FIRST_LOOK}
        whole = energy | {"parameters": energy["parameters"] | {"num_threads": 1}}
        busters = (PoseBusters({**config, "modules": m}) for m in (others, [*others, look], [whole]))
        return partial(_bust, _Busters(*busters), site.protein)


class _Busters(NamedTuple):
    """PoseBusters with parts of its checks."""

    geometry: Any  # all but the energy
    first: Any  # all, the energy against two conformers
    energy: Any  # the energy alone, against fifty


def _bust(busters: _Busters, protein: ProteinView | None, mol: Chem.Mol) -> PoseChecks:
    """All checks; the energy's against all conformers where the first look does not pass, and none where there are no
    conformers to compare with."""
    import pandas as pd  # noqa: PLC0415 (comes with PoseBusters)

    around = None if protein is None else protein.crop(mol.GetConformer().GetPositions())
    try:
        with pd.option_context("future.infer_string", False):  # it reads tables by the row, slow with Arrow's strings
            if not _has_conformers(mol):
                return {**_checks(busters.geometry.bust(mol, None, around)), ENERGY_CHECK: None}
            checks = _checks(busters.first.bust(mol, None, around))
            if not checks[ENERGY_CHECK]:
                checks[ENERGY_CHECK] = _checks(busters.energy.bust(mol, None, around))[ENERGY_CHECK]
    except (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError) as error:
        raise ToolFailure(f"PoseBusters failed: {' '.join(str(error).split())}") from error
    return checks


def _has_conformers(mol: Chem.Mol) -> bool:
    """Whether RDKit makes a conformer from the molecule's InChI, which PoseBusters starts from. With some
    stereocentres, as in bridged rings, it cannot."""
    plain = Chem.MolFromInchi(Chem.MolToInchi(mol))
    if plain is None:
        return True  # for PoseBusters to say
    hydrogenated = Chem.AddHs(plain)
    made = rdDistGeom.EmbedMolecule(hydrogenated, maxAttempts=EMBED_ATTEMPTS, randomSeed=42, useRandomCoords=True)
    return bool(made == 0)


def _checks(table: Any) -> PoseChecks:
    row = table.iloc[0]
    # a check is True, False, or a missing value (NaN, NA), which equals neither
    return {str(name): bool(value) if isinstance(value, bool | np.bool_) else None for name, value in row.items()}
