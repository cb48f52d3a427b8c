"""`python -m benchmarks NAME [flags]` runs a benchmark; without a name, all are listed."""

import ast
import sys
from importlib import import_module
from pathlib import Path

HELPERS = {"__init__", "__main__", "measure", "meter", "nll", "own", "peers", "performance_page", "stand_ins"}


def benchmarks() -> dict[str, str]:
    """The first line of each benchmark's description, by name."""
    paths = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    texts = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in paths}
    return {name: text.splitlines()[0] for name, text in texts.items()}


def page() -> str:
    """The page docs/benchmarks.md."""
    lines = [
        "# Benchmarks", "",
        "In a clone of the repository, `python -m benchmarks NAME [flags]` runs a benchmark, and",
        "`python -m benchmarks NAME --help` shows its flags. `make bench` runs those of speed and memory and writes",
        "[Speed and memory](experiments/performance.md).", "",
        "| name | what it measures |", "|---|---|",
    ]  # fmt: skip
    rows = [f"| `{name}` | {text} |" for name, text in benchmarks().items()]
    return "\n".join([*lines, *rows]) + "\n"


def main() -> int:
    """Run the named benchmark with the remaining words as its flags."""
    known = benchmarks()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("usage: python -m benchmarks NAME [flags]\n")
        print(*(f"  {name:<16} {text}" for name, text in known.items()), sep="\n")
        return 0
    if sys.argv[1] not in known:
        print(f"error: no benchmark '{sys.argv[1]}'; choose one of: {', '.join(known)}", file=sys.stderr)
        return 2
    name = sys.argv.pop(1)
    import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
