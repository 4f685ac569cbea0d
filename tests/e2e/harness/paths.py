"""Where things are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LAMBKIN = Path(os.environ.get("LAMBKIN") or ROOT / "target/release/lambkin")
HELLO_RUST = ROOT / "target/examples/release/bootstrap"
EXTENSION_RUST = ROOT / "target/examples/release/agent"
HELLO_PYTHON = ROOT / "examples/hello-python/app.py"
HELLO_NODE = ROOT / "examples/hello-node/index.mjs"
VENV_BIN = ROOT / "tests/e2e/.venv/bin"
