"""Designing ligands: constraints, objectives and optimisation on top of `generation`."""
