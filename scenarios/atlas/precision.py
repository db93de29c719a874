"""Types and precision: what integers do, which type two types make, what is out of range, and last bits."""

from math import inf, nan

import numpy as np

from scenarios.atlas.entry import Entry

_INTS, _BY = (-7, 7, -7, 7), (2, -2, -2, 2)
_MOST = 2**31 - 1


def _bytes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int8)


_INTEGERS = (
    Entry("integer division", "x // y", "x // y", {"x": _INTS, "y": _BY}),
    Entry(
        "integer division towards 0",
        "torch.div(x, y, rounding_mode='trunc')",
        "x // y",
        {"x": _INTS, "y": _BY},
        translation="lax.div(x, y)",
        source=("torch.div", "jax.lax.div"),
        note="// rounds down on both sides; towards 0 each has another name for it.",
    ),
    Entry("integer remainder", "x % y", "x % y", {"x": _INTS, "y": _BY}),
    Entry("integer remainder of C", "torch.fmod(x, y)", "lax.rem(x, y)", {"x": _INTS, "y": _BY}),
    Entry(
        "integer division by 0",
        "x // y",
        "x // y",
        {"x": (1, -1), "y": (0, 0)},
        source=("jax.numpy.floor_divide",),
        note="PyTorch raises; XLA has no exceptions, and returns something.",
    ),
    Entry("integers divided", "x / y", "x / y", {"x": (1, 7), "y": (3, 2)}),
    Entry("a byte that overflows", "x + x", "x + x", {"x": _bytes(100, -100)}),
    Entry("abs of the least byte", "x.abs()", "jnp.abs(x)", {"x": _bytes(-128, 5)}),
    Entry("sum of bytes", "x.sum()", "x.sum()", {"x": _bytes(100, 100, 100)}),
    Entry("cumulative sum of bytes", "x.cumsum(0)", "jnp.cumsum(x)", {"x": _bytes(100, 100, 100)}),
    Entry("product of booleans", "m.prod()", "m.prod()", {"m": (True, False)}),
    Entry("sum of booleans", "m.sum()", "m.sum()", {"m": (True, True)}),
    Entry("booleans added", "m + m", "m + m", {"m": (True, False)}),
    Entry("booleans subtracted", "m - m", "m - m", {"m": (True, False)}),
    Entry("mean of integers", "x.mean()", "x.mean()", {"x": (1, 2)}, source=("torch.mean",)),
    Entry("integer to a negative power", "x ** -1", "x ** -1", {"x": (2, 1)}),
    Entry("shifted by more than there is", "x << 40", "x << 40", {"x": (1, 3)}),
    Entry("integers from a range", "torch.arange(3)", "jnp.arange(3)", {}),
)

_CASTS = (
    Entry("nan as an integer", "x.to(torch.int32)", "x.astype(jnp.int32)", {"x": (nan, 1.5, -1.5)}),
    Entry("infinity as an integer", "x.to(torch.int32)", "x.astype(jnp.int32)", {"x": (inf, -inf)}),
    Entry(
        "negative numbers as unsigned ones", "x.to(torch.uint8)", "x.astype(jnp.uint8)", {"x": (-1.0, 1.0)}
    ),
    Entry(
        "numbers out of range as bytes", "x.to(torch.int8)", "x.astype(jnp.int8)", {"x": (300.0, -300.0, 1.0)}
    ),
    Entry("integers out of range as bytes", "x.to(torch.int8)", "x.astype(jnp.int8)", {"x": (300, -300, 1)}),
    Entry(
        "half precision out of range",
        "x.to(torch.float16)",
        "x.astype(jnp.float16)",
        {"x": (70000.0, 65520.0, 65519.0)},
    ),
    Entry("nan as a boolean", "x.to(torch.bool)", "x.astype(bool)", {"x": (nan, 0.0, -0.0)}),
)

_PROMOTED = (
    Entry(
        "integers and half precision",
        "i + x.to(torch.float16)",
        "i + x.astype(jnp.float16)",
        {"i": (1, 2), "x": (1.0, 2.0)},
    ),
    Entry(
        "two half precisions",
        "x.to(torch.float16) + x.to(torch.bfloat16)",
        "x.astype(jnp.float16) + x.astype(jnp.bfloat16)",
        {"x": (1.0, 2.0)},
    ),
    Entry(
        "half precision and a number of Python's",
        "x.to(torch.float16) * 2.5",
        "x.astype(jnp.float16) * 2.5",
        {"x": (1.0, 2.0)},
    ),
    Entry("integers and a number of Python's", "i * 2.5", "i * 2.5", {"i": (1, 2)}),
    Entry("bytes and a large number of Python's", "x + 300", "x + 300", {"x": _bytes(1, 2)}),
    Entry(
        "half precision and one number in another tensor",
        "x.to(torch.float16) * y.sum()",
        "x.astype(jnp.float16) * y.sum()",
        {"x": (1.0, 2.0), "y": (1.0, 2.0)},
        translation="x.astype(jnp.float16) * y.sum().astype(jnp.float16)",
        source=("torch.result_type", "jax.numpy.result_type"),
        note="a tensor without axes does not widen one with axes in PyTorch.",
    ),
    Entry(
        "signed and unsigned bytes", "x + x.to(torch.uint8)", "x + x.astype(jnp.uint8)", {"x": _bytes(1, 2)}
    ),
    Entry("booleans and bytes", "m + x", "m + x", {"m": (True, False), "x": _bytes(1, 2)}),
    Entry("complex and real", "z + x", "z + x", {"z": (1 + 1j, 2 + 0j), "x": (1.0, 2.0)}, fixed=("z",)),
    Entry(
        "where of an integer and a number",
        "torch.where(m, i, x)",
        "jnp.where(m, i, x)",
        {"m": (True, False), "i": (1, 2), "x": (0.5, 1.5)},
    ),
)

_BITS = (
    Entry(
        "evenly spaced numbers",
        "torch.linspace(0, 1, 7, dtype=x.dtype) * x",
        "jnp.linspace(0, 1, 7, dtype=x.dtype) * x",
        {"x": 1.0},
        source=("pytorch#58758", "jax#3014"),
    ),
    Entry(
        "a range of steps of 0.1",
        "torch.arange(0, 1, 0.1, dtype=x.dtype) * x",
        "jnp.arange(0, 1, 0.1, dtype=x.dtype) * x",
        {"x": 1.0},
    ),
    Entry(
        "rounding to a decimal",
        "torch.round(x, decimals=1)",
        "jnp.round(x, 1)",
        {"x": (0.25, 0.35, -0.25, 2.5)},
    ),
    Entry(
        "a sum in half precision",
        "x.to(torch.float16).sum()",
        "x.astype(jnp.float16).sum()",
        {"x": (1.0,) * 3000},
    ),
    Entry("numbers below normal", "x * 0.5", "x * 0.5", {"x": (1.2e-38, 1e-45)}),
    Entry("exp near its end", "torch.exp(x)", "jnp.exp(x)", {"x": (88.0, 88.5, 89.0, -103.0, -104.0)}),
)

_OUT_OF_RANGE = (
    Entry(
        "an index out of range",
        "x[i]",
        "x[i]",
        {"x": (1.0, 2.0, 3.0), "i": (0, 5)},
        source=("jax.numpy.ndarray.at",),
        note="PyTorch raises; JAX takes the last entry there is.",
    ),
    Entry(
        "writing out of range",
        "x.index_put((i,), x[:2])",
        "x.at[i].set(x[:2])",
        {"x": (1.0, 2.0, 3.0), "i": (0, 5)},
    ),
    Entry("one-hot out of range", "F.one_hot(i, 3)", "nn.one_hot(i, 3, dtype=int)", {"i": (2, 3)}),
    Entry("maximum of nothing", "x[:0].max()", "x[:0].max()", {"x": (1.0,)}),
    Entry("mean of nothing", "x[:0].mean()", "x[:0].mean()", {"x": (1.0,)}),
    Entry("product of nothing", "x[:0].prod()", "x[:0].prod()", {"x": (1.0,)}),
    Entry(
        "search in sorted numbers",
        "torch.searchsorted(x, y)",
        "jnp.searchsorted(x, y)",
        {"x": (1.0, 2.0, 2.0), "y": (2.0, 0.0, 3.0)},
        fixed=("x", "y"),
    ),
    Entry(
        "a histogram's last edge",
        "torch.histc(x, 2, 0, 1)",
        "jnp.histogram(x, 2, (0, 1))[0]",
        {"x": (0.0, 0.5, 1.0, 1.5)},
        fixed=("x",),
    ),
    Entry(
        "where a number is not 0",
        "torch.nonzero(x)[:, 0]",
        "jnp.nonzero(x, size=2)[0]",
        {"x": (0.0, nan, -0.0, 1.0)},
        fixed=("x",),
    ),
    Entry(
        "close to each other",
        "torch.isclose(x, y)",
        "jnp.isclose(x, y)",
        {"x": (1.0, nan, inf), "y": (1.000005, nan, inf)},
        fixed=("x", "y"),
    ),
)

ENTRIES = (*_INTEGERS, *_CASTS, *_PROMOTED, *_BITS, *_OUT_OF_RANGE)
