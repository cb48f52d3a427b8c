"""Affinities of published data sets on one scale: −log10 of a Kd, Ki or IC50 in mol/L."""

import math

MOLAR = {"M": 1.0, "mM": 1e-3, "uM": 1e-6, "nM": 1e-9, "pM": 1e-12, "fM": 1e-15}
ASSOCIATION = "M^-1"  # unit of a Ka, which is 1 / Kd


def p_affinity(value: float, unit: str) -> str:
    """The affinity with two decimals; empty for a value or a unit that is none."""
    if not math.isfinite(value) or value <= 0 or unit not in (*MOLAR, ASSOCIATION):
        return ""
    return f"{math.log10(value) if unit == ASSOCIATION else -math.log10(value * MOLAR[unit]):.2f}"
