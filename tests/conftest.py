"""Checks every annotated shape and type of the twins while the tests run."""

from jaxtyping import install_import_hook

install_import_hook(["scenarios", "imperative", "functional"], "beartype.beartype")
