"""Checks every annotated shape and type of the twins while the tests run."""

import os

from jaxtyping import install_import_hook

# The test processes share the cores; each library would otherwise start a thread on every one of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook(["scenarios", "imperative", "functional"], "beartype.beartype")
