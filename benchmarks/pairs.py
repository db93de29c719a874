"""What it costs to judge and to locate in pairs of the size that people port.

    python benchmarks/pairs.py operations [WIDTH …]            the first that differs, of 1,000
    python benchmarks/pairs.py transformer [honest] [wrong]    124 million parameters: GPT-2 small's shape
    python benchmarks/pairs.py report                          benchmarks/results/pairs.md

All pairs are decoders of one kind, in plain PyTorch and in plain JAX; what is planted is a relu in the
place of the gelu of a block in the middle, on the functional side. Every pair has a process of its own. What
was measured is left in benchmarks/results/pairs.jsonl, where a later row of one pair replaces an earlier one.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "passive"  # torch's threads spin otherwise, for seconds if a core is busy

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from compare import describe
from compare.port.check import Pair
from compare.runner import environment

Tree = Mapping[str, Any]
Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
ROUNDS = 3


@dataclass(frozen=True)
class Shape:
    """Of a decoder, and of the tokens that it reads."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    batch: int


#: Of which the imperative side runs some 1,100 operations forward and backward.
WIDTHS = (64, 256, 1024)
LAYERS = 8

SMALL = Shape(layers=12, width=768, heads=12, vocabulary=50257, context=64, batch=1)


class Block(nn.Module):
    """Attention and two dense layers, each added to what went in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attend, self.merge = nn.Linear(shape.width, 3 * shape.width), nn.Linear(shape.width, shape.width)
        self.widen = nn.Linear(shape.width, 4 * shape.width)
        self.narrow = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, context, width)`` to the same."""
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in self.attend(self.ln_1(x)).chunk(3, dim=-1)
        )
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.merge(mixed.transpose(1, 2).flatten(2))
        hidden: Tensor = self.narrow(gelu(self.widen(self.ln_2(x))))
        return x + hidden


class Decoder(nn.Module):
    """Tokens to the scores of the next ones; the embedding is the head too."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln = nn.LayerNorm(shape.width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, context)`` integers to ``(batch, context, vocabulary)``."""
        x = self.tokens(tokens) + self.places.weight
        for block in self.blocks:
            x = block(x)
        return self.ln(x) @ self.tokens.weight.T


def imperative_loss(scores: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the next token."""
    return cross_entropy(scores[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def layer_norm(p: Tree, x: jax.Array) -> jax.Array:
    """Standardised over the last axis, scaled and shifted."""
    apart = x - x.mean(-1, keepdims=True)
    return apart / jnp.sqrt(jnp.mean(apart**2, -1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def dense(p: Tree, x: jax.Array) -> jax.Array:
    """Along the last axis."""
    return x @ p["kernel"] + p["bias"]


def decoder_block(p: Tree, x: jax.Array, *, heads: int, wrong: bool) -> jax.Array:
    """As :class:`Block`."""
    q, k, v = (
        jnp.moveaxis(t.reshape(*t.shape[:-1], heads, -1), -2, -3)
        for t in jnp.split(dense(p["attend"], layer_norm(p["ln_1"], x)), 3, axis=-1)
    )
    scores = q @ jnp.swapaxes(k, -1, -2) / jnp.sqrt(q.shape[-1]).astype(x.dtype)
    scores = jnp.where(jnp.tri(x.shape[1], dtype=bool), scores, -jnp.inf)
    mixed = jnp.moveaxis(jax.nn.softmax(scores) @ v, -3, -2).reshape(x.shape)
    x = x + dense(p["merge"], mixed)
    hidden = dense(p["widen"], layer_norm(p["ln_2"], x))
    hidden = jax.nn.relu(hidden) if wrong else jax.nn.gelu(hidden, approximate=False)
    return x + dense(p["narrow"], hidden)


def decoder(p: Tree, tokens: jax.Array, *, heads: int, wrong: int | None) -> jax.Array:
    """As :class:`Decoder`, with a relu in the block ``wrong``."""
    x = p["tokens"][tokens] + p["places"]
    for number, block in enumerate(p["blocks"]):
        x = decoder_block(block, x, heads=heads, wrong=number == wrong)
    return layer_norm(p["ln"], x) @ p["tokens"].T


def functional_loss(scores: jax.Array, tokens: jax.Array) -> jax.Array:
    """As :func:`imperative_loss`."""
    logs = jax.nn.log_softmax(scores[:, :-1])
    return -jnp.take_along_axis(logs, tokens[:, 1:, None], -1).mean()


def tree(shape: Shape) -> Tree:
    """The shapes of the functional side's parameters."""
    real = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    width = shape.width

    def norm() -> Tree:
        return {"scale": real((width,)), "bias": real((width,))}

    def layer(inputs: int, outputs: int) -> Tree:
        return {"kernel": real((inputs, outputs)), "bias": real((outputs,))}

    block = {
        "ln_1": norm(),
        "attend": layer(width, 3 * width),
        "merge": layer(width, width),
        "ln_2": norm(),
        "widen": layer(width, 4 * width),
        "narrow": layer(4 * width, width),
    }
    return {
        "tokens": real((shape.vocabulary, width)),
        "places": real((shape.context, width)),
        "blocks": [block] * shape.layers,
        "ln": norm(),
    }


def made(shape: Shape, wrong: int | None) -> Pair:
    """The pair, with a fault in the block ``wrong``."""
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(0, shape.vocabulary, (shape.batch, shape.context))
    return Pair(
        Decoder(shape),
        partial(decoder, heads=shape.heads, wrong=wrong),
        args=(tokens,),
        pytree=tree(shape),
        loss=(imperative_loss, functional_loss),
    )


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = perf_counter()
    call()
    return perf_counter() - started


def peak() -> float:
    """GiB of this process that have been resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def found(pair: Pair) -> Row:
    """Where the fault is found, and in how many recordings."""
    counts = {"recordings": 0}

    def counted(record: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:  # noqa: ANN401
            counts["recordings"] += 1
            return record(*given, **options)

        return call

    pair.left.record, pair.right.record = counted(pair.left.record), counted(pair.right.record)
    started = perf_counter()
    faults = pair.faults
    took = perf_counter() - started
    told = [
        " and ".join(
            f"{site.operation} (line {site.source.line})" for site in (fault.imperative, fault.functional)
        )
        + f": {fault.cause or 'unknown cause'}"
        for fault in faults
    ]
    return {"located": took, "told": told, **counts}


def costs(pair: Pair) -> dict[str, float]:
    """Seconds of what locating is held against, the least of some rounds each, in float64."""
    held, arrays = pair.converted(pair.parameters), pair.arguments.arrays
    calls: dict[str, Callable[[], object]] = {
        "torch": lambda: pair.left.run(pair.parameters, arrays, "float64"),
        "jax": lambda: pair.right.run(held, arrays, "float64"),
        "torch recorded": lambda: pair.left.record(pair.parameters, arrays, "float64"),
        "jax recorded": lambda: pair.right.record(held, arrays, "float64"),
    }
    return {name: min(seconds(call) for _ in range(ROUNDS)) for name, call in calls.items()}


def first_costs(pair: Pair) -> dict[str, float]:
    """Seconds until the functional side is traced and compiled, and until it is traced."""
    held, arrays = pair.converted(pair.parameters), pair.arguments.arrays
    return {
        "jax at first": seconds(lambda: pair.right.run(held, arrays, "float64")),
        "jax recorded at first": seconds(lambda: pair.right.record(held, arrays, "float64", told=False)),
    }


def operations(width: int) -> Row:
    """Locate in a pair of one width."""
    shape = Shape(LAYERS, width, max(4, width // 64), vocabulary=512, context=64, batch=2)
    pair = made(shape, LAYERS // 2)
    row = {"what": "operations", "width": width, **first_costs(pair)}
    row["judged"] = seconds(lambda: pair.verdict("float64", locate=False))
    before = costs(pair)
    row |= found(pair)
    after = costs(pair)
    row |= {name: min(before[name], after[name]) for name in before}
    held, arrays = pair.converted(pair.parameters), pair.arguments.arrays
    row["operations"] = [
        len(port.record(given, arrays, "float64", told=False)[0].operations)
        for port, given in ((pair.left, pair.parameters), (pair.right, held))
    ]
    return row


def transformer(case: str) -> Row:
    """Judge a pair of GPT-2 small's shape, and locate if there is a fault."""
    started = perf_counter()
    pair = made(SMALL, SMALL.layers // 2 if case == "wrong" else None)
    row: Row = {"what": "transformer", "case": case, "made": perf_counter() - started, "made peak": peak()}
    started = perf_counter()
    verdict = pair.verdict("float64", locate=False)
    row |= {"judged": perf_counter() - started, "judged peak": peak(), "word": verdict.word}
    row["parameters"] = sum(array.size for array in pair.parameters.values())
    return {**row, **found(pair), "located peak": peak()} if case == "wrong" else row


def measure(*what: str) -> None:
    """Measure one pair in a process of its own, and keep the row."""
    command = [sys.executable, __file__, "--one", *what]
    # What glibc keeps for later is no memory that is needed.
    options = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=options).stdout
    print(answer, end="", flush=True)
    with (RESULTS / "pairs.jsonl").open("a", encoding="utf-8") as file:
        file.write(answer)


def report() -> None:
    """Put it into one page."""
    rows = map(json.loads, (RESULTS / "pairs.jsonl").read_text("utf-8").splitlines())
    last = {(r["what"], r.get("width", r.get("case"))): r for r in rows}
    text = PAGE.format(
        machine=describe.machine(environment([], [], "cpu")),
        rounds=ROUNDS,
        layers=LAYERS,
        operations="\n".join(_ratios(r) for (what, _), r in sorted(last.items()) if what == "operations"),
        transformer="\n".join(_peaks(r) for (what, _), r in sorted(last.items()) if what == "transformer"),
    )
    (RESULTS / "pairs.md").write_text(text, "utf-8")
    print(text)


def _ratios(r: Row) -> str:
    runs, recorded = r["torch"] + r["jax"], r["torch recorded"] + r["jax recorded"]
    cells = [
        str(r["width"]),
        " and ".join(f"{n:,}" for n in r["operations"]),
        f"{r['torch']:.2f} s, {r['jax']:.2f} s",
        f"{r['jax at first'] - r['jax']:.1f} s",
        f"{r['torch recorded']:.1f} s, {r['jax recorded']:.1f} s",
        f"{r['located']:.1f} s",
        str(r["recordings"]),
        f"**{r['located'] / (runs + recorded):.1f}×**",
        f"{r['located'] / (r['torch'] + r['jax at first']):.1f}×",
        f"{r['located'] / recorded:.1f}×",
        "; ".join(r["told"]),
    ]
    return f"| {' | '.join(cells)} |"


def _peaks(r: Row) -> str:
    cells = [r["case"], f"{r['parameters']:,}", r["word"]]
    for part in ("made", "judged", "located"):
        cells.append(f"{r[f'{part} peak']:.1f} GiB, {r[part]:.0f} s" if part in r else "")
    return f"| {' | '.join([*cells, '; '.join(r.get('told', ()))])} |"


PAGE = """# What it costs to judge and to locate in pairs of the size that people port

Written by `benchmarks/pairs.py`; every pair in a process of its own. {machine}.

## Locating, of 1,000 operations

A decoder of {layers} blocks that reads two times 64 tokens of 512, forward and backward in float64, with
a relu for the gelu of the block in the middle of the functional side. Of what locating is held against, the
least of two times {rounds} rounds, before it and after, in the same process: *run* is PyTorch eager, and JAX
compiled and warm; *compiled* what JAX takes to trace and compile at first; *recorded* one run of either side
with every operation written down and every value told. Located over

- A: one run of both sides, and tracing them, which is to record each once; at most 10,
- B: one run of both sides, tracing the functional one to a jaxpr, and compiling it; nothing is recorded,
- C: the two recordings alone.

| width | operations | run | compiled | recorded | located | recordings | A | B | C | told of |
|---|---|---|---|---|---|---|---|---|---|---|
{operations}

## A transformer of GPT-2 small's shape

12 layers of width 768, 12 heads, a vocabulary of 50,257 whose embedding is the head too, 64 tokens; output,
loss and the gradients of all parameters, judged in float64, for which both precisions are run. What was
resident at most from the start of the process to the end of each part (at most 12 GiB), and the seconds of
the part. glibc is told to give back arrays of more than a MiB (`MALLOC_MMAP_THRESHOLD_`): else it keeps some
for later.

| pair | parameters | word | matched | judged | located | told of |
|---|---|---|---|---|---|---|
{transformer}
"""


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--one", "operations", width]:
            print(json.dumps(operations(int(width))))
        case ["--one", "transformer", case]:
            print(json.dumps(transformer(case)))
        case ["operations", *widths]:
            for width in widths or map(str, WIDTHS):
                measure("operations", width)
        case ["transformer", *cases]:
            for case in cases or ("honest", "wrong"):
                measure("transformer", case)
        case ["report"]:
            report()
        case _:
            sys.exit(__doc__)
