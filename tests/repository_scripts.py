"""The programs in scripts/ as modules."""

import importlib.util
from types import ModuleType

from tiny_runs import ROOT


def script(name: str) -> ModuleType:
    """A script, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
