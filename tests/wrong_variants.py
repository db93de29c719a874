"""Variants that a bench must not time."""

from dataclasses import replace

from imperative import variants as honest


def variants(statement, device="auto"):
    return ("hasty", "raising")


def session(statement, variant, dtype="float32", device="auto"):
    if variant == "raising":
        raise OSError("no compiler")
    if variant == "eager":
        return honest.session(statement, "eager", dtype, device)
    if variant == "doubled":
        data = {**statement.data, "y": 2 * statement.data["y"]}
        return honest.session(replace(statement, data=data), "eager", dtype, device)
    training = replace(statement.require_training(), learning_rate=1.0001 * statement.training.learning_rate)
    return honest.session(replace(statement, training=training), "eager", dtype, device)
