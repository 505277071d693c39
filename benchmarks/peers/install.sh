#!/usr/bin/env bash
# Makes the environments of the peers that `benchmarks/serving.py --peers` measures: benchmarks/peers/install.sh [DIR]
# (DIR: .peers). About 5 minutes and 3 GB. Nothing else needs them; a peer that is not there is named and left out.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
target="${1:-$here/../../.peers}"
mkdir -p "$target"
python3 -m venv "$target/infinity"
"$target/infinity/bin/pip" install -q --disable-pip-version-check -r "$here/infinity/requirements.txt"
# LitServe runs our own encoders, in our own environment; what it needs beyond that lies in a folder beside it.
"${PYTHON:-$here/../../.venv/bin/python}" -m pip install -q --disable-pip-version-check --no-deps --upgrade \
    --target "$target/litserve" litserve==0.2.19 pyzmq==27.3.0
