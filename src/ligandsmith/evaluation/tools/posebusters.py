"""The checks of PoseBusters for a ligand in its pocket."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.protein import CROP_RADIUS
from ligandsmith.evaluation.tools.runner import Site, failing_as, not_installed

# A pose whose energy is at most 10 times the mean of 2 conformers passes PoseBusters' 100 times the mean of 50, by far;
# only the others are worth 50 conformers, which take ten times as long as all other checks together.
FIRST_LOOK = {"ensemble_number_conformations": 2, "threshold_energy_ratio": 10.0, "num_threads": 1}
ENERGY_CHECK = "internal_energy"
EMBED_ATTEMPTS = 50  # at one conformer; for fifty impossible ones RDKit tries for an hour

PoseChecks = dict[str, bool | None]  # None: the check could not decide


@dataclass(frozen=True)
class PoseBustersTool:
    """PoseBusters' checks by name, True, False or None where one could not decide: suite `dock` with a protein, else
    `mol`. The protein is cropped around each ligand first."""

    name: str = "posebusters"
    seconds: float = 300.0  # fifty conformers of a ligand of 60 atoms take more than one minute

    def missing(self, site: Site) -> str:
        """Why it cannot run."""
        del site
        return not_installed("posebusters")

    def settings(self) -> dict[str, Any]:
        """Version, crop, and how the energy is looked at first."""
        return {"version": metadata.version("posebusters"), "crop": CROP_RADIUS, "first_look": FIRST_LOOK}

    def open(self, site: Site) -> Callable[[Chem.Mol], PoseChecks]:
        """Load PoseBusters once; the function checks a molecule."""
        import pandas as pd  # noqa: PLC0415 (comes with PoseBusters)
        from posebusters import PoseBusters  # noqa: PLC0415 (optional, and slow to import)

        logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # what a check could not decide is in its answer
        config = PoseBusters(config="mol" if site.protein is None else "dock", max_workers=0).config
        module = [m for m in config["modules"] if m["function"] == "energy_ratio"][-1]  # `mol` lists it twice
        others = [m for m in config["modules"] if m["function"] != "energy_ratio"]
        look = module | {"parameters": module["parameters"] | FIRST_LOOK}
        whole = module | {"parameters": module["parameters"] | {"num_threads": 1}}
        geometry, first, energy = (  # all checks but the energy; all, the energy a first look; the energy alone
            PoseBusters({**config, "modules": m}) for m in (others, [*others, look], [whole])
        )

        def answer(mol: Chem.Mol) -> PoseChecks:
            """The energy against all conformers where the first look does not pass; None without any conformer."""
            around = None if site.protein is None else site.protein.crop(mol.GetConformer().GetPositions())
            # It reads by the row, slow with the strings of Arrow.
            with failing_as("PoseBusters failed"), pd.option_context("future.infer_string", False):
                if not _has_conformers(mol):
                    return {**_checks(geometry.bust(mol, None, around)), ENERGY_CHECK: None}
                checks = _checks(first.bust(mol, None, around))
                if not checks[ENERGY_CHECK]:
                    checks[ENERGY_CHECK] = _checks(energy.bust(mol, None, around))[ENERGY_CHECK]
            return checks

        return answer


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
