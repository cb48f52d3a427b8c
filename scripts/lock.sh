#!/usr/bin/env bash
# Resolve pyproject.toml again into requirements/lock.txt, for every supported Python and platform.
#
# torch is pinned in requirements/torch.txt and installed first, so that the choice of its build (CUDA, CPU) stays with
# the user; what only its CUDA build needs comes along with it and is left out here.
set -euo pipefail
cd "$(dirname "$0")/.."

links=$(.venv/bin/pip config get global.find-links 2>/dev/null || true)
resolved=$(.venv/bin/uv pip compile pyproject.toml requirements/build.in --all-extras --quiet \
    --python-version 3.11 --universal --no-header --no-annotate --constraint requirements/torch.txt \
    ${links:+--find-links "$links"})
grep -vE '^(torch|triton|nvidia-|cuda-)' <<<"$resolved" >requirements/lock.txt
