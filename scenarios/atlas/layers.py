"""Layers: statistics and their epsilons, padding, pooling, resizing, look-ups, attention, layouts."""

from scenarios.atlas.entry import Entry

_ROWS = ((1.0, 2.0, 4.0, -1.0), (0.5, -0.5, 3.0, 2.0))
_LINE = (((1.0, 2.0, 4.0, -1.0, 0.5, 3.0),),)  # (batch, channels, length)
_KERNEL = (((0.5, -1.0, 2.0),),)  # (out, in, length)
_SQUARE = ((0.5, -1.0), (2.0, 0.25))
_QUERIES = ((((1.0, 0.5), (-0.5, 2.0), (0.25, 1.0)),),)  # (batch, heads, length, width)
_KEYS = ((((0.5, 1.5), (1.0, -1.0), (-0.25, 0.5)),),)
_HEARD = ((((1.0, 2.0), (3.0, -1.0), (0.5, 0.25)),),)

_CONVOLVED = "lax.conv_general_dilated(x, w, (1,), [(1, 1)])"
_TRANSPOSED = "lax.conv_transpose(x, w[..., ::-1], (2,),"
_ATTEND = "lambda a: jnp.swapaxes(a, 1, 2)"  # JAX has (batch, length, heads, width)

_BY_HAND = "nn.softmax(q @ jnp.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v"

_NORMS = (
    Entry(
        "layer norm",
        "F.layer_norm(x, (4,))",
        "nn.standardize(x)",
        {"x": _ROWS},
        source=("torch.nn.functional.layer_norm", "jax.nn.standardize"),
    ),
    Entry(
        "layer norm with flax's epsilon",
        "F.layer_norm(x, (4,))",
        "(x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)",
        {"x": _ROWS},
        translation="(x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)",
        source=("torch.nn.LayerNorm", "flax.linen.LayerNorm"),
        note="PyTorch's epsilon is 1e-5, flax's 1e-6.",
    ),
    Entry("layer norm of constants", "F.layer_norm(x, (3,))", "nn.standardize(x)", {"x": (2.0, 2.0, 2.0)}),
    Entry(
        "batch norm while training",
        "F.batch_norm(x, None, None, training=True)",
        "(x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5)",
        {"x": _ROWS},
    ),
    Entry(
        "batch norm's running variance",
        "(lambda v: (F.batch_norm(x, 0 * v, v, training=True), v)[1])(torch.ones_like(x[0]).detach())",
        "0.9 + 0.1 * x.var(0)",
        {"x": _ROWS},
        translation="lax.stop_gradient(0.9 + 0.1 * x.var(0, ddof=1))",
        source=("returnn#1539", "scvi-tools#2309", "torch.nn.BatchNorm1d"),
        note="PyTorch normalises by the biased variance, and keeps the unbiased one.",
    ),
    Entry(
        "batch norm's momentum",
        "(lambda m: (F.batch_norm(x, m, m + 1, training=True), m)[1])(torch.ones_like(x[0]).detach())",
        "0.1 * 1 + 0.9 * x.mean(0)",
        {"x": _ROWS},
        translation="lax.stop_gradient(0.9 * 1 + 0.1 * x.mean(0))",
        source=("torch.nn.BatchNorm1d", "flax.linen.BatchNorm"),
        note="PyTorch's momentum is the share of what is new, flax's that of what is old.",
    ),
    Entry(
        "group norm",
        "F.group_norm(x, 2)",
        "nn.standardize(x.reshape(1, 2, 2), -1).reshape(1, 4)",
        {"x": ((1.0, 2.0, 4.0, -1.0),)},
    ),
    Entry(
        "instance norm",
        "F.instance_norm(x)",
        "nn.standardize(x)",
        {"x": _LINE},
    ),
    Entry(
        "root mean square norm",
        "F.rms_norm(x, (4,))",
        "x * lax.rsqrt((x ** 2).mean(-1, keepdims=True) + 1e-6)",
        {"x": _ROWS},
        translation="x * lax.rsqrt((x ** 2).mean(-1, keepdims=True) + jnp.finfo(x.dtype).eps)",
        source=("torch.nn.functional.rms_norm",),
        note="without an epsilon PyTorch takes that of the dtype, which flax does not.",
    ),
)

_CONVOLUTIONS = (
    Entry("linear", "F.linear(x, w)", "x @ w.T", {"x": ((1.0, 2.0),), "w": _SQUARE}),
    Entry(
        "linear, a square weight",
        "F.linear(x, w)",
        "x @ w",
        {"x": ((1.0, 2.0),), "w": _SQUARE},
        translation="x @ w.T",
        source=("torch.nn.functional.linear",),
        note="a weight is (out, in) in PyTorch, a kernel (in, out) in flax: a square shape says neither.",
    ),
    Entry("convolution", "F.conv1d(x, w, padding=1)", _CONVOLVED, {"x": _LINE, "w": _KERNEL}),
    Entry(
        "convolution as numpy has it",
        "F.conv1d(x, w, padding=1)",
        "jnp.convolve(x[0, 0], w[0, 0], 'same')[None, None]",
        {"x": _LINE, "w": _KERNEL},
        translation="jnp.convolve(x[0, 0], w[0, 0, ::-1], 'same')[None, None]",
        source=("torch.nn.functional.conv1d",),
        note="a convolution of deep learning does not turn its kernel round.",
    ),
    Entry(
        "convolution with a stride and SAME",
        "F.conv1d(x, w, padding=1, stride=2)",
        "lax.conv_general_dilated(x, w, (2,), 'SAME')",
        {"x": _LINE, "w": _KERNEL},
        translation="lax.conv_general_dilated(x, w, (2,), [(1, 1)])",
        source=("flax#963", "keras#22876", "jax.lax.conv_general_dilated"),
        note="SAME pads what is needed, at the end first; the shapes are right, all else is a pixel off.",
    ),
    Entry(
        "transposed convolution",
        "F.conv_transpose1d(x, w, stride=2)",
        "lax.conv_transpose(x, w, (2,), 'VALID', dimension_numbers=('NCH', 'IOH', 'NCH'))",
        {"x": _LINE, "w": _KERNEL},
        translation=f"{_TRANSPOSED} 'VALID', dimension_numbers=('NCH', 'IOH', 'NCH'))",
        source=("jax#11252", "jax.lax.conv_transpose"),
        note="JAX does not turn the kernel round unless it is told to.",
    ),
    Entry(
        "transposed convolution with padding",
        "F.conv_transpose1d(x, w, stride=2, padding=1)",
        f"{_TRANSPOSED} [(1, 1)], dimension_numbers=('NCH', 'IOH', 'NCH'))",
        {"x": _LINE, "w": (((0.5, -1.0, 2.0, 1.0),),)},
        translation=f"{_TRANSPOSED} [(2, 2)], dimension_numbers=('NCH', 'IOH', 'NCH'))",
        source=("jax#11252",),
        note="PyTorch's padding is what is cut from the result, JAX's what is put around the input.",
    ),
)

_POOLS = (
    Entry(
        "max pooling with padding",
        "F.max_pool1d(x, 3, 2, 1)[0, 0]",
        "lax.reduce_window(x[0, 0], -inf, lax.max, (3,), (2,), [(1, 1)])",
        {"x": _LINE},
    ),
    Entry(
        "average pooling with padding",
        "F.avg_pool1d(x, 3, 2, 1)[0, 0]",
        "lax.reduce_window(x[0, 0], 0.0, lax.add, (3,), (2,), [(1, 1)]) / jnp.array([2, 3, 3])",
        {"x": _LINE},
        translation="lax.reduce_window(x[0, 0], 0.0, lax.add, (3,), (2,), [(1, 1)]) / 3",
        source=("torch.nn.functional.avg_pool1d",),
        note="PyTorch counts what is padded unless it is told not to.",
    ),
    Entry(
        "padding by reflection",
        "F.pad(x, (2, 1), mode='reflect')[0, 0]",
        "jnp.pad(x[0, 0], (2, 1), 'reflect')",
        {"x": _LINE},
    ),
    Entry(
        "padding by what is at the edge",
        "F.pad(x, (2, 1), mode='replicate')[0, 0]",
        "jnp.pad(x[0, 0], (2, 1), 'edge')",
        {"x": _LINE},
    ),
    Entry(
        "padding round about",
        "F.pad(x, (2, 1), mode='circular')[0, 0]",
        "jnp.pad(x[0, 0], (2, 1), 'wrap')",
        {"x": _LINE},
    ),
)

_RESIZED = (
    Entry(
        "resizing to more, by the nearest",
        "F.interpolate(x, 9, mode='nearest')",
        "jax.image.resize(x, (1, 1, 9), 'nearest')",
        {"x": _LINE},
        source=("torch.nn.functional.interpolate",),
    ),
    Entry(
        "resizing to more, by lines",
        "F.interpolate(x, 12, mode='linear')",
        "jax.image.resize(x, (1, 1, 12), 'linear')",
        {"x": _LINE},
    ),
    Entry(
        "resizing to less, by lines",
        "F.interpolate(x, 3, mode='linear')",
        "jax.image.resize(x, (1, 1, 3), 'linear')",
        {"x": _LINE},
        translation="jax.image.resize(x, (1, 1, 3), 'linear', antialias=False)",
        source=("torch.nn.functional.interpolate", "jax.image.resize"),
        note="JAX smooths what it makes smaller unless it is told not to.",
    ),
    Entry(
        "resizing with corners aligned",
        "F.interpolate(x, 11, mode='linear', align_corners=True)",
        "jax.image.resize(x, (1, 1, 11), 'linear')",
        {"x": _LINE},
        translation="jnp.interp(jnp.linspace(0, 5, 11), jnp.arange(6), x[0, 0])[None, None]",
        source=("torch.nn.functional.interpolate",),
        note="jax.image aligns the edges of pixels; PyTorch can align their centres.",
    ),
)

_LOOKED_UP = (
    Entry("embedding", "F.embedding(i, x) * 2", "x[i] * 2", {"x": _SQUARE, "i": (1, 0, 1)}),
    Entry(
        "embedding with a padding index",
        "F.embedding(i, x, padding_idx=0)",
        "x[i]",
        {"x": _SQUARE, "i": (1, 0, 1)},
        translation="jnp.where((i == 0)[:, None], lax.stop_gradient(x[i]), x[i])",
        source=("torch.nn.functional.embedding",),
        note="the row of the padding index has no gradient.",
    ),
    Entry("one-hot", "F.one_hot(i, 3)", "nn.one_hot(i, 3, dtype=int)", {"i": (2, 0)}),
    Entry("dropout that is off", "F.dropout(x, 0.5, training=False)", "x", {"x": _ROWS}),
)

_ATTENTION = (
    Entry(
        "attention",
        "F.scaled_dot_product_attention(q, k, v)",
        f"({_ATTEND})(nn.dot_product_attention(*map({_ATTEND}, (q, k, v))))",
        {"q": _QUERIES, "k": _KEYS, "v": _HEARD},
        translation=_BY_HAND,
        source=("torch.nn.functional.scaled_dot_product_attention", "jax.nn.dot_product_attention"),
        note="JAX's takes the softmax in float32, whatever the dtype is.",
    ),
    Entry(
        "attention with heads and length exchanged",
        "F.scaled_dot_product_attention(q, k, v)",
        "nn.dot_product_attention(q, k, v)",
        {"q": _QUERIES, "k": _KEYS, "v": _HEARD},
        translation=_BY_HAND,
        source=("torch.nn.functional.scaled_dot_product_attention", "jax.nn.dot_product_attention"),
        note="heads come before the length in PyTorch, and after it in JAX: no shape says so.",
    ),
    Entry(
        "causal attention",
        "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        f"({_ATTEND})(nn.dot_product_attention(*map({_ATTEND}, (q, k, v)), is_causal=True))",
        {"q": _QUERIES, "k": _KEYS, "v": _HEARD},
    ),
    Entry(
        "attention with a row that is all masked",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=m)",
        f"({_ATTEND})(nn.dot_product_attention(*map({_ATTEND}, (q, k, v)), mask=m[None, None]))",
        {
            "q": _QUERIES,
            "k": _KEYS,
            "v": _HEARD,
            "m": ((True, False, False), (False, False, False), (True, True, True)),
        },
        source=("pytorch#131060",),
    ),
    Entry(
        "padding masks of nn.MultiheadAttention",
        "torch.softmax(x.masked_fill(m, -math.inf), -1)",
        "nn.softmax(jnp.where(m, x, -inf))",
        {"x": (1.0, 2.0, 3.0), "m": (False, True, False)},
        translation="nn.softmax(jnp.where(m, -inf, x))",
        source=("torch.nn.MultiheadAttention",),
        note="its key_padding_mask is true where nothing is to be seen; a mask of JAX where something is.",
    ),
)

ENTRIES = (*_NORMS, *_CONVOLUTIONS, *_POOLS, *_RESIZED, *_LOOKED_UP, *_ATTENTION)
