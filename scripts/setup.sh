#!/usr/bin/env bash
# Create the virtual environment that the Makefile works in: uv by pip, torch first and pinned, then the locked rest.
#
# PYTHON       interpreter to start from (default python3)
# TORCH_INDEX  package index to take torch from, e.g. PyTorch's CPU wheel index (default: that of pip)
# Settings of pip that uv does not read (index-url, find-links) are handed on where they are set.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: Python 3.11 or newer is needed; '$python' is $("$python" --version 2>&1 || true). Try: make PYTHON=python3.12" >&2
    exit 1
fi

if ! "$python" -m venv .venv; then
    echo "error: '$python -m venv .venv' failed; on Debian and Ubuntu install the package python3-venv" >&2
    exit 1
fi
.venv/bin/pip install --quiet uv

options=()
for setting in index-url find-links; do
    for value in $(.venv/bin/pip config get "global.$setting" 2>/dev/null || true); do
        options+=("--$setting" "$value")
    done
done
install() { VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install "$@" ${options[@]+"${options[@]}"}; }

# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every start of Python would compile torch again, for seconds.
install --compile-bytecode ${TORCH_INDEX:+--index "$TORCH_INDEX"} --requirement requirements/torch.txt
install --compile-bytecode --no-deps --requirement requirements/lock.txt
install --no-deps --no-build-isolation --editable .
