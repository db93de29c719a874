"""Kinks and singular points: where a derivative is a convention, and a value may be infinite, or none."""

from math import inf, nan, pi

from scenarios.atlas.entry import Entry

_SIGNS = (-1.0, -0.0, 0.0, 1.0)
_FAR = (-inf, -100.0, -0.0, 0.0, 100.0, inf)
_TIES = (1.0, 3.0, 3.0, 2.0)
_ZEROS = (0.0, 0.0, 0.0)
_SAME = (2.0, 2.0, 2.0)

_ACTIVATIONS = (
    Entry("relu", "F.relu(x)", "nn.relu(x)", {"x": _SIGNS}, source=("jax#37821", "torch.nn.functional.relu")),
    Entry(
        "relu as a maximum",
        "F.relu(x)",
        "jnp.maximum(x, 0)",
        {"x": _SIGNS},
        translation="nn.relu(x)",
        source=("jax#37821",),
        note="a maximum shares its gradient between ties; a relu has none at 0.",
    ),
    Entry(
        "relu6", "F.relu6(x)", "nn.relu6(x)", {"x": (-1.0, -0.0, 0.0, 3.0, 6.0, 7.0)}, source=("jax#14840",)
    ),
    Entry("leaky relu", "F.leaky_relu(x, 0.01)", "nn.leaky_relu(x, 0.01)", {"x": _SIGNS}),
    Entry(
        "prelu",
        "F.prelu(x, a)",
        "jnp.where(x >= 0, x, a * x)",
        {"x": _SIGNS, "a": 0.25},
        translation="jnp.where(x > 0, x, a * x)",
    ),
    Entry("elu", "F.elu(x)", "nn.elu(x)", {"x": _SIGNS}),
    Entry("elu of alpha 2", "F.elu(x, 2.0)", "nn.elu(x, 2.0)", {"x": _SIGNS}),
    Entry("celu of alpha 2", "F.celu(x, 2.0)", "nn.celu(x, 2.0)", {"x": _SIGNS}),
    Entry("selu", "F.selu(x)", "nn.selu(x)", {"x": _SIGNS}),
    Entry(
        "gelu",
        "F.gelu(x)",
        "nn.gelu(x)",
        {"x": (-3.0, -1.0, -0.0, 0.0, 1.0, 3.0)},
        translation="nn.gelu(x, approximate=False)",
        source=("jax#4428", "gemma_pytorch#33", "jax.nn.gelu"),
        note="jax.nn.gelu is the tanh approximation unless it is told otherwise.",
    ),
    Entry(
        "gelu by tanh",
        "F.gelu(x, approximate='tanh')",
        "nn.gelu(x)",
        {"x": (-3.0, -1.0, -0.0, 0.0, 1.0, 3.0)},
    ),
    Entry("silu", "F.silu(x)", "nn.silu(x)", {"x": _FAR}),
    Entry("mish", "F.mish(x)", "nn.mish(x)", {"x": (-30.0, -1.0, -0.0, 0.0, 1.0, 30.0)}),
    Entry(
        "hardtanh",
        "F.hardtanh(x)",
        "nn.hard_tanh(x)",
        {"x": (-2.0, -1.0, 0.0, 1.0, 2.0)},
    ),
    Entry("hardsigmoid", "F.hardsigmoid(x)", "nn.hard_sigmoid(x)", {"x": (-4.0, -3.0, 0.0, 3.0, 4.0)}),
    Entry("hardswish", "F.hardswish(x)", "nn.hard_swish(x)", {"x": (-4.0, -3.0, 0.0, 3.0, 4.0)}),
    Entry(
        "softplus",
        "F.softplus(x)",
        "nn.softplus(x)",
        {"x": (-100.0, 0.0, 19.0, 20.0, 21.0, 30.0)},
        translation="jnp.where(x > 20, x, nn.softplus(jnp.where(x > 20, 0, x)))",
        source=("torch.nn.functional.softplus",),
        note="beyond its threshold of 20 PyTorch's is linear.",
    ),
    Entry("softsign", "F.softsign(x)", "nn.soft_sign(x)", {"x": _SIGNS}),
    Entry("tanhshrink", "F.tanhshrink(x)", "x - jnp.tanh(x)", {"x": _SIGNS}),
    Entry(
        "softshrink",
        "F.softshrink(x, 0.5)",
        "jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0)",
        {"x": (-1.0, -0.5, 0.0, 0.5, 1.0)},
        translation="jnp.where(x > 0.5, x - 0.5, jnp.where(x < -0.5, x + 0.5, 0))",
    ),
    Entry(
        "hardshrink",
        "F.hardshrink(x, 0.5)",
        "jnp.where(jnp.abs(x) > 0.5, x, 0)",
        {"x": (-1.0, -0.5, 0.0, 0.5, 1.0)},
    ),
    Entry("threshold", "F.threshold(x, 1.0, -3.0)", "jnp.where(x > 1, x, -3)", {"x": (0.0, 1.0, 2.0)}),
    Entry("logsigmoid", "F.logsigmoid(x)", "nn.log_sigmoid(x)", {"x": _FAR}),
    Entry("sigmoid", "torch.sigmoid(x)", "nn.sigmoid(x)", {"x": _FAR}),
    Entry("tanh", "torch.tanh(x)", "jnp.tanh(x)", {"x": _FAR}),
    Entry("glu", "F.glu(x, -1)", "nn.glu(x)", {"x": (-1.0, 0.0, 0.0, 1.0)}),
    Entry(
        "log of a sigmoid",
        "torch.log(torch.sigmoid(x))",
        "jnp.log(nn.sigmoid(x))",
        {"x": (-200.0, 0.0, 200.0)},
    ),
)

_SOFTMAX = (
    Entry("softmax", "F.softmax(x, -1) * w", "nn.softmax(x) * w", {"x": _TIES, "w": (1.0, 2.0, 3.0, 4.0)}),
    Entry(
        "softmax with a mask",
        "F.softmax(x, -1) * w",
        "nn.softmax(x) * w",
        {"x": (1.0, -inf, 2.0), "w": (1.0, 2.0, 3.0)},
    ),
    Entry(
        "softmax of what is all masked",
        "F.softmax(x, -1)",
        "nn.softmax(x)",
        {"x": (-inf, -inf, -inf)},
        source=("pytorch#55056",),
    ),
    Entry(
        "softmax with inf", "F.softmax(x, -1)", "nn.softmax(x)", {"x": (1.0, inf, 2.0)}, source=("jax#21495",)
    ),
    Entry("log-softmax with a mask", "F.log_softmax(x, -1)", "nn.log_softmax(x)", {"x": (1.0, -inf, 2.0)}),
    Entry("logsumexp", "torch.logsumexp(x, 0)", "nn.logsumexp(x)", {"x": _TIES}),
    Entry("logsumexp of nothing but -inf", "torch.logsumexp(x, 0)", "nn.logsumexp(x)", {"x": (-inf, -inf)}),
    Entry("logsumexp with inf", "torch.logsumexp(x, 0)", "nn.logsumexp(x)", {"x": (1.0, inf)}),
    Entry(
        "logaddexp of -inf",
        "torch.logaddexp(x, y)",
        "jnp.logaddexp(x, y)",
        {"x": (-inf, -inf, 0.0), "y": (-inf, 0.0, 0.0)},
    ),
    Entry("logcumsumexp", "torch.logcumsumexp(x, 0)", "lax.cumlogsumexp(x)", {"x": (-inf, 0.0, 1.0)}),
)

_TIED = (
    Entry("maximum of all, tied", "x.max()", "x.max()", {"x": _TIES}, source=("torch.max",)),
    Entry("minimum of all, tied", "x.min()", "x.min()", {"x": (1.0, 1.0, 3.0)}),
    Entry(
        "maximum along an axis, tied",
        "x.max(0).values",
        "x.max(0)",
        {"x": _TIES},
        translation="x[jnp.argmax(x)]",
        source=("pytorch#155048", "jax#13600"),
        note="with an axis PyTorch picks one of the tied entries; JAX shares the gradient between them.",
    ),
    Entry(
        "minimum along an axis, tied",
        "x.min(0).values",
        "x.min(0)",
        {"x": (1.0, 1.0, 3.0)},
        translation="x[jnp.argmin(x)]",
    ),
    Entry("amax, tied", "x.amax()", "x.max()", {"x": _TIES}, source=("torch.amax",)),
    Entry("amin, tied", "x.amin()", "x.min()", {"x": (1.0, 1.0, 3.0)}),
    Entry(
        "maximum of two, tied",
        "torch.maximum(x, y)",
        "jnp.maximum(x, y)",
        {"x": (1.0, 2.0), "y": (1.0, 3.0)},
        source=("pytorch#56734", "jax#37821"),
    ),
    Entry(
        "minimum of two, tied", "torch.minimum(x, y)", "jnp.minimum(x, y)", {"x": (1.0, 2.0), "y": (1.0, 3.0)}
    ),
    Entry("maximum with nan", "torch.maximum(x, y)", "jnp.maximum(x, y)", {"x": (nan, 1.0), "y": (1.0, nan)}),
    Entry(
        "fmax with nan", "torch.fmax(x, y)", "jnp.fmax(x, y)", {"x": (nan, 1.0, 2.0), "y": (1.0, nan, 2.0)}
    ),
    Entry(
        "fmin with nan", "torch.fmin(x, y)", "jnp.fmin(x, y)", {"x": (nan, 1.0, 2.0), "y": (1.0, nan, 2.0)}
    ),
    Entry("maximum of all with nan", "x.max()", "x.max()", {"x": (1.0, nan, 2.0)}),
    Entry("argmax, tied", "x.argmax()", "x.argmax()", {"x": _TIES}, source=("torch.argmax",)),
    Entry("argmin with nan", "x.argmin()", "x.argmin()", {"x": (1.0, nan, 2.0)}),
    Entry(
        "sort, tied",
        "torch.sort(x, stable=True).values * w",
        "jnp.sort(x) * w",
        {"x": _TIES, "w": (1.0, 2.0, 3.0, 4.0)},
    ),
    Entry(
        "sort downwards, tied",
        "torch.sort(x, descending=True, stable=True).values * w",
        "jnp.sort(x, descending=True) * w",
        {"x": _TIES, "w": (1.0, 2.0, 3.0, 4.0)},
        translation="-jnp.sort(-x) * w",
    ),
    Entry("argsort, tied", "torch.argsort(x, stable=True)", "jnp.argsort(x)", {"x": _TIES}),
    Entry("sort with nan", "torch.sort(x, stable=True).values", "jnp.sort(x)", {"x": (2.0, nan, 1.0)}),
    Entry(
        "median of an even number",
        "x.median()",
        "jnp.median(x)",
        {"x": (1.0, 2.0, 3.0, 10.0)},
        translation="jnp.sort(x)[(x.size - 1) // 2]",
        source=("torch.median",),
        note="PyTorch takes the lower of the two in the middle; JAX, like NumPy, their mean.",
    ),
    Entry("median, tied", "x.median()", "jnp.median(x)", {"x": (2.0, 2.0, 1.0)}),
    Entry(
        "quantile",
        "torch.quantile(x, 0.25)",
        "jnp.quantile(x, 0.25)",
        {"x": (1.0, 2.0, 2.0, 5.0)},
    ),
    Entry(
        "top two, tied",
        "torch.topk(x, 2).values * w",
        "lax.top_k(x, 2)[0] * w",
        {"x": _TIES, "w": (1.0, 2.0)},
    ),
    Entry(
        "cummax, tied",
        "torch.cummax(x, 0).values * w",
        "lax.cummax(x) * w",
        {"x": (1.0, 1.0, 0.0), "w": (1.0, 2.0, 3.0)},
    ),
    Entry(
        "infinity norm, tied",
        "torch.linalg.vector_norm(x, ord=inf)",
        "jnp.linalg.norm(x, ord=inf)",
        {"x": _SAME},
    ),
    Entry(
        "max pooling, tied",
        "F.max_pool1d(x[None], 2)[0]",
        "lax.reduce_window(x, -inf, lax.max, (2,), (2,), 'VALID')",
        {"x": (1.0, 1.0, 2.0, 3.0)},
    ),
    Entry(
        "segment maximum, tied",
        "torch.zeros(2, dtype=x.dtype).scatter_reduce(0, i, x, 'amax', include_self=False)",
        "jax.ops.segment_max(x, i, 2)",
        {"x": (1.0, 1.0, 2.0), "i": (0, 0, 1)},
    ),
)

_CLIPS = (
    Entry(
        "clip at its bounds",
        "torch.clamp(x, -1, 1)",
        "jnp.clip(x, -1, 1)",
        {"x": (-2.0, -1.0, 0.0, 1.0, 2.0)},
        translation="jnp.where((x < -1) | (x > 1), lax.stop_gradient(jnp.clip(x, -1, 1)), x)",
        source=("pytorch#184574", "torch.clamp", "jax.numpy.clip"),
        note="at a bound PyTorch's gradient is 1; a JAX clip is a minimum of a maximum, and shares it.",
    ),
    Entry(
        "clip from below",
        "torch.clamp(x, min=0)",
        "jnp.clip(x, 0)",
        {"x": _SIGNS},
        translation="jnp.where(x < 0, lax.stop_gradient(jnp.zeros_like(x)), x)",
    ),
    Entry(
        "clip with bounds the wrong way round",
        "torch.clamp(x, 1, -1)",
        "jnp.clip(x, 1, -1)",
        {"x": (-2.0, 0.5, 2.0)},
    ),
    Entry("clip of nan", "torch.clamp(x, -1, 1)", "jnp.clip(x, -1, 1)", {"x": (nan, 0.5)}),
    Entry(
        "clip by arrays, at the bounds",
        "torch.clamp(x, a, b)",
        "jnp.clip(x, a, b)",
        {"x": (-1.0, 0.0, 1.0), "a": (-1.0, -1.0, -1.0), "b": (1.0, 1.0, 1.0)},
        source=("pytorch#184574",),
    ),
    Entry(
        "step function at 0",
        "torch.heaviside(x, torch.full_like(x, 0.5))",
        "jnp.heaviside(x, 0.5)",
        {"x": _SIGNS},
    ),
    Entry("nan to num", "torch.nan_to_num(x)", "jnp.nan_to_num(x)", {"x": (nan, inf, -inf, 1.0)}),
)

_SINGULAR = (
    Entry(
        "abs",
        "torch.abs(x)",
        "jnp.abs(x)",
        {"x": _SIGNS},
        translation="x * lax.stop_gradient(jnp.sign(x))",
        source=("jax#37820", "jax.numpy.abs"),
        note="the derivative at 0 is 0 in PyTorch, and that of the branch x >= 0 in JAX.",
    ),
    Entry("sign", "torch.sign(x)", "jnp.sign(x)", {"x": _SIGNS}),
    Entry("sqrt at 0", "torch.sqrt(x)", "jnp.sqrt(x)", {"x": (0.0, 1.0)}),
    Entry("rsqrt at 0", "torch.rsqrt(x)", "lax.rsqrt(x)", {"x": (0.0, 1.0)}),
    Entry(
        "cube root at 0", "torch.sign(x) * torch.abs(x) ** (1 / 3)", "jnp.cbrt(x)", {"x": (-1.0, 0.0, 1.0)}
    ),
    Entry("reciprocal at 0", "torch.reciprocal(x)", "1 / x", {"x": (-0.0, 0.0, 1.0)}),
    Entry("0 divided by 0", "x / y", "x / y", {"x": (0.0, 1.0), "y": (0.0, 2.0)}),
    Entry("square", "x ** 2", "x ** 2", {"x": _SIGNS}),
    Entry("cube", "x ** 3", "x ** 3", {"x": _SIGNS}),
    Entry("power of 0.5", "x ** 0.5", "x ** 0.5", {"x": (0.0, 1.0)}),
    Entry("power of 1", "x ** 1.0", "x ** 1.0", {"x": _SIGNS}),
    Entry("power of 0", "x ** 0.0", "x ** 0.0", {"x": _SIGNS}),
    Entry("power of -1", "x ** -1", "x ** -1", {"x": (0.0, 2.0)}),
    Entry(
        "power, base 0",
        "torch.pow(x, y)",
        "jnp.power(x, y)",
        {"x": (0.0, 0.0, 0.0), "y": (0.0, 1.0, 2.0)},
        source=("pytorch#27134", "jax#12409"),
    ),
    Entry("power, base negative", "torch.pow(x, y)", "jnp.power(x, y)", {"x": (-2.0, -2.0), "y": (2.0, 3.0)}),
    Entry(
        "0 to a power that is learnt",
        "torch.pow(torch.zeros_like(y), y)",
        "jnp.power(0.0, y)",
        {"y": (0.0, 1.0, 2.0)},
    ),
    Entry(
        "norm at 0",
        "torch.linalg.vector_norm(x)",
        "jnp.linalg.norm(x)",
        {"x": _ZEROS},
        translation="jnp.where(jnp.any(x != 0), jnp.linalg.norm(jnp.where(jnp.any(x != 0), x, 1.0)), 0.0)",
        source=("jax#21723", "jax#4177", "pytorch#2775"),
        note="a subgradient of 0 in PyTorch, nan in JAX.",
    ),
    Entry("norm", "torch.linalg.vector_norm(x)", "jnp.linalg.norm(x)", {"x": (3.0, 4.0)}),
    Entry(
        "norm of order 1 at 0",
        "torch.linalg.vector_norm(x, ord=1)",
        "jnp.linalg.norm(x, ord=1)",
        {"x": _ZEROS},
    ),
    Entry(
        "norm of order 3 at 0",
        "torch.linalg.vector_norm(x, ord=3)",
        "jnp.linalg.norm(x, ord=3)",
        {"x": _ZEROS},
    ),
    Entry("hypot at 0", "torch.hypot(x, y)", "jnp.hypot(x, y)", {"x": (0.0, 3.0), "y": (0.0, 4.0)}),
    Entry(
        "atan2 at 0",
        "torch.atan2(y, x)",
        "jnp.arctan2(y, x)",
        {"y": (0.0, 0.0, -0.0), "x": (0.0, -1.0, -1.0)},
    ),
    Entry("log at 0", "torch.log(x)", "jnp.log(x)", {"x": (0.0, 1.0)}),
    Entry("log of a negative number", "torch.log(x)", "jnp.log(x)", {"x": (-1.0, 1.0)}),
    Entry("log1p at -1", "torch.log1p(x)", "jnp.log1p(x)", {"x": (-1.0, 0.0)}),
    Entry("expm1", "torch.expm1(x)", "jnp.expm1(x)", {"x": (-inf, -0.0, 0.0, 1e-10)}),
    Entry("exp that overflows", "torch.exp(x)", "jnp.exp(x)", {"x": (-1000.0, 0.0, 1000.0)}),
    Entry(
        "xlogy at 0",
        "torch.special.xlogy(x, y)",
        "jsp.special.xlogy(x, y)",
        {"x": (0.0, 0.0, 1.0), "y": (0.0, 2.0, 2.0)},
    ),
    Entry(
        "xlog1py at 0",
        "torch.special.xlog1py(x, y)",
        "jsp.special.xlog1py(x, y)",
        {"x": (0.0, 0.0, 1.0), "y": (-1.0, 2.0, 2.0)},
    ),
    Entry("entropy at 0", "torch.special.entr(x)", "jsp.special.entr(x)", {"x": (-1.0, 0.0, 0.5)}),
    Entry("x log x at 0", "x * torch.log(x)", "x * jnp.log(x)", {"x": (0.0, 1.0)}),
    Entry("product with a zero", "x.prod()", "x.prod()", {"x": (2.0, 0.0, 3.0)}),
    Entry("product with two zeros", "x.prod()", "x.prod()", {"x": (0.0, 0.0, 3.0)}),
    Entry("cumulative product with a zero", "torch.cumprod(x, 0)", "jnp.cumprod(x)", {"x": (2.0, 0.0, 3.0)}),
    Entry(
        "cumulative product with two zeros", "torch.cumprod(x, 0)", "jnp.cumprod(x)", {"x": (0.0, 0.0, 3.0)}
    ),
    Entry(
        "where, and nan in the branch that is not taken",
        "torch.where(x > 0, torch.sqrt(x), 0.0)",
        "jnp.where(x > 0, jnp.sqrt(x), 0.0)",
        {"x": (-1.0, 0.0, 1.0)},
        source=("jax#5798", "pytorch#52248"),
        note="the gradient of what is not taken is 0 times infinity, on either side.",
    ),
    Entry(
        "where, made safe twice",
        "torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0)",
        "jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)",
        {"x": (-1.0, 0.0, 1.0)},
        source=("jax#5798",),
    ),
    Entry(
        "standard deviation of constants",
        "torch.std(x, correction=0)",
        "jnp.std(x)",
        {"x": _SAME},
        source=("pytorch#4320",),
    ),
    Entry("variance of constants", "torch.var(x, correction=0)", "jnp.var(x)", {"x": _SAME}),
    Entry(
        "standard deviation",
        "torch.std(x)",
        "jnp.std(x)",
        {"x": (1.0, 2.0, 4.0)},
        translation="jnp.std(x, ddof=1)",
        source=("pytorch#50010", "torch.std"),
        note="PyTorch divides by n - 1, JAX by n.",
    ),
    Entry(
        "variance",
        "torch.var(x)",
        "jnp.var(x)",
        {"x": (1.0, 2.0, 4.0)},
        translation="jnp.var(x, ddof=1)",
        source=("pytorch#50010", "torch.var"),
        note="PyTorch divides by n - 1, JAX by n.",
    ),
    Entry("variance of one entry", "torch.var(x)", "jnp.var(x, ddof=1)", {"x": (3.0,)}),
    Entry("asin at 1", "torch.asin(x)", "jnp.arcsin(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry("acos at 1", "torch.acos(x)", "jnp.arccos(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry("acosh at 1", "torch.acosh(x)", "jnp.arccosh(x)", {"x": (1.0, 2.0)}),
    Entry("atanh at 1", "torch.atanh(x)", "jnp.arctanh(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry("erfinv at 1", "torch.erfinv(x)", "jsp.special.erfinv(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry("erfc far out", "torch.erfc(x)", "jsp.special.erfc(x)", {"x": (-10.0, 0.0, 10.0, 30.0)}),
    Entry("digamma at its poles", "torch.digamma(x)", "jsp.special.digamma(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry("lgamma at its poles", "torch.lgamma(x)", "jsp.special.gammaln(x)", {"x": (-1.0, -0.5, 0.0, 1.0)}),
    Entry("logit at 0 and 1", "torch.logit(x)", "jsp.special.logit(x)", {"x": (0.0, 0.5, 1.0)}),
    Entry("sinc at 0", "torch.sinc(x)", "jnp.sinc(x)", {"x": (0.0, 0.5, 1.0)}),
    Entry("i0e at 0", "torch.special.i0e(x)", "jsp.special.i0e(x)", {"x": (-1.0, 0.0, 1.0)}),
    Entry(
        "normal quantile at 0 and 1", "torch.special.ndtri(x)", "jsp.special.ndtri(x)", {"x": (0.0, 0.5, 1.0)}
    ),
    Entry(
        "cosine similarity at 0",
        "F.cosine_similarity(x, y, 0)",
        "x @ y / (jnp.linalg.norm(x) * jnp.linalg.norm(y))",
        {"x": _ZEROS, "y": (1.0, 2.0, 3.0)},
    ),
    Entry(
        "normalising 0",
        "F.normalize(x, dim=0)",
        "x / jnp.linalg.norm(x)",
        {"x": _ZEROS},
    ),
    Entry(
        "distance of a point to itself",
        "torch.cdist(x[None], y[None])[0, 0]",
        "jnp.linalg.norm(x - y)",
        {"x": (1.0, 2.0), "y": (1.0, 2.0)},
    ),
    Entry(
        "copysign at 0", "torch.copysign(x, y)", "jnp.copysign(x, y)", {"x": (0.0, 2.0), "y": (-0.0, -1.0)}
    ),
)

_ROUNDED = (
    Entry("floor", "torch.floor(x)", "jnp.floor(x)", {"x": (-1.5, -0.0, 1.0, 1.5)}),
    Entry("round half", "torch.round(x)", "jnp.round(x)", {"x": (-1.5, -0.5, 0.5, 1.5, 2.5)}),
    Entry("trunc", "torch.trunc(x)", "jnp.trunc(x)", {"x": (-1.5, -0.5, 1.0)}),
    Entry("frac", "torch.frac(x)", "x - jnp.trunc(x)", {"x": (-1.5, 1.0, 1.5)}),
    Entry(
        "remainder",
        "torch.remainder(x, y)",
        "jnp.remainder(x, y)",
        {"x": (-3.0, 3.0, 4.0, -4.0), "y": (2.0, -2.0, 2.0, 2.0)},
    ),
    Entry(
        "fmod",
        "torch.fmod(x, y)",
        "jnp.fmod(x, y)",
        {"x": (-3.0, 3.0, 4.0, -4.0), "y": (2.0, -2.0, 2.0, 2.0)},
    ),
    Entry(
        "remainder of a division by 0",
        "torch.remainder(x, y)",
        "jnp.remainder(x, y)",
        {"x": (1.0, 0.0), "y": (0.0, 0.0)},
    ),
    Entry(
        "floor division of floats",
        "torch.floor_divide(x, y)",
        "jnp.floor_divide(x, y)",
        {"x": (-3.0, 3.0, 1.0), "y": (2.0, 2.0, 0.0)},
    ),
    Entry(
        "wrapping an angle",
        "torch.remainder(x + math.pi, 2 * math.pi) - math.pi",
        "jnp.remainder(x + math.pi, 2 * math.pi) - math.pi",
        {"x": (-pi, 0.0, pi)},
    ),
)

_INDEXED = (
    Entry(
        "gather, an index twice",
        "torch.gather(x, 0, i) * w",
        "jnp.take_along_axis(x, i, 0) * w",
        {"x": (1.0, 2.0), "i": (1, 1, 0), "w": (1.0, 2.0, 3.0)},
    ),
    Entry(
        "indexing, an index twice",
        "x[i] * w",
        "x[i] * w",
        {"x": (1.0, 2.0), "i": (1, 1, 0), "w": (1.0, 2.0, 3.0)},
    ),
    Entry("indexing from the end", "x[i]", "x[i]", {"x": (1.0, 2.0, 3.0), "i": (-1, 0)}),
    Entry(
        "scatter that adds, an index twice",
        "torch.zeros(2, dtype=x.dtype).scatter_add(0, i, x)",
        "jnp.zeros(2, x.dtype).at[i].add(x)",
        {"x": (1.0, 2.0, 3.0), "i": (1, 1, 0)},
    ),
    Entry(
        "scatter that sets, an index twice",
        "torch.zeros(2, dtype=x.dtype).scatter(0, i, x)",
        "jnp.zeros(2, x.dtype).at[i].set(x)",
        {"x": (1.0, 2.0, 3.0), "i": (1, 1, 0)},
        source=("torch.Tensor.scatter_", "jax.numpy.ndarray.at"),
    ),
    Entry(
        "writing to an index twice",
        "torch.zeros(2, dtype=x.dtype).index_put((i,), x)",
        "jnp.zeros(2, x.dtype).at[i].set(x)",
        {"x": (1.0, 2.0, 3.0), "i": (1, 1, 0)},
    ),
    Entry("cumulative sum with inf", "torch.cumsum(x, 0)", "jnp.cumsum(x)", {"x": (1.0, inf, 1.0)}),
)

_SYMMETRIC = ((2.0, 0.5), (0.5, 1.0))
_IDENTITY = ((1.0, 0.0), (0.0, 1.0))
_SKEW = ((2.0, 0.5), (0.1, 1.0))
_SINGULAR_MATRIX = ((1.0, 2.0), (2.0, 4.0))

_MATRICES = (
    Entry(
        "eigenvalues of a symmetric matrix",
        "torch.linalg.eigvalsh(x) * w",
        "jnp.linalg.eigvalsh(x) * w",
        {"x": _SYMMETRIC, "w": (1.0, 2.0)},
    ),
    Entry(
        "eigenvalues of one that is not symmetric",
        "torch.linalg.eigvalsh(x) * w",
        "jnp.linalg.eigvalsh(x) * w",
        {"x": _SKEW, "w": (1.0, 2.0)},
        translation="jnp.linalg.eigvalsh(x + lax.stop_gradient(jnp.tril(x) + jnp.tril(x, -1).T - x)) * w",
        source=("jax.numpy.linalg.eigh",),
        note="PyTorch reads the lower triangle; JAX takes the mean of the matrix and its transpose.",
    ),
    Entry(
        "eigenvalues that repeat",
        "torch.linalg.eigvalsh(x) * w",
        "jnp.linalg.eigvalsh(x) * w",
        {"x": _IDENTITY, "w": (1.0, 2.0)},
    ),
    Entry(
        "eigenvectors of repeated eigenvalues",
        "torch.linalg.eigh(x).eigenvectors.abs()",
        "jnp.abs(jnp.linalg.eigh(x)[1])",
        {"x": _IDENTITY},
        source=("jax#669", "pytorch#23133"),
    ),
    Entry(
        "singular values",
        "torch.linalg.svdvals(x) * w",
        "jnp.linalg.svd(x, compute_uv=False) * w",
        {"x": _SKEW, "w": (1.0, 2.0)},
    ),
    Entry(
        "singular values that repeat",
        "torch.linalg.svdvals(x) * w",
        "jnp.linalg.svd(x, compute_uv=False) * w",
        {"x": _IDENTITY, "w": (1.0, 2.0)},
    ),
    Entry(
        "singular vectors of repeated values",
        "torch.linalg.svd(x).U.abs()",
        "jnp.abs(jnp.linalg.svd(x)[0])",
        {"x": _IDENTITY},
    ),
    Entry(
        "nuclear norm of a singular matrix",
        "torch.linalg.matrix_norm(x, ord='nuc')",
        "jnp.linalg.norm(x, ord='nuc')",
        {"x": _SINGULAR_MATRIX},
    ),
    Entry(
        "spectral norm, tied",
        "torch.linalg.matrix_norm(x, ord=2)",
        "jnp.linalg.norm(x, ord=2)",
        {"x": _IDENTITY},
    ),
    Entry(
        "gradient of a Cholesky factor",
        "torch.linalg.cholesky(x) * w",
        "jnp.linalg.cholesky(x) * w",
        {"x": _SYMMETRIC, "w": ((1.0, 2.0), (3.0, 4.0))},
        source=("pytorch#18825", "jax#10815"),
    ),
    Entry(
        "Cholesky factor of one that is not symmetric",
        "torch.linalg.cholesky(x)",
        "jnp.linalg.cholesky(x)",
        {"x": _SKEW},
        translation="jnp.linalg.cholesky(x + lax.stop_gradient(jnp.tril(x) + jnp.tril(x, -1).T - x))",
    ),
    Entry(
        "determinant of a singular matrix",
        "torch.linalg.det(x)",
        "jnp.linalg.det(x)",
        {"x": _SINGULAR_MATRIX},
    ),
    Entry(
        "log-determinant of a singular matrix",
        "torch.linalg.slogdet(x).logabsdet",
        "jnp.linalg.slogdet(x)[1]",
        {"x": ((0.0, 0.0), (0.0, 1.0))},
    ),
    Entry("inverse", "torch.linalg.inv(x)", "jnp.linalg.inv(x)", {"x": _SKEW}),
    Entry(
        "pseudo-inverse of a singular matrix",
        "torch.linalg.pinv(x)",
        "jnp.linalg.pinv(x)",
        {"x": ((1.0, 0.0), (0.0, 0.0))},
    ),
    Entry("QR factors", "torch.linalg.qr(x).R.abs()", "jnp.abs(jnp.linalg.qr(x)[1])", {"x": _SKEW}),
    Entry(
        "matrix power of 0", "torch.linalg.matrix_power(x, 0)", "jnp.linalg.matrix_power(x, 0)", {"x": _SKEW}
    ),
)

_COMPLEX = (
    Entry(
        "complex square of the magnitude",
        "(z * z.conj()).real",
        "(z * z.conj()).real",
        {"z": (1 + 2j, 3 - 1j)},
        source=("jax#9110", "jax.grad"),
        note="the gradients are each other's conjugates: conjugate JAX's to descend.",
    ),
    Entry("complex abs at 0", "z.abs()", "jnp.abs(z)", {"z": (0j, 1 + 1j)}),
    Entry("complex angle at 0", "z.angle()", "jnp.angle(z)", {"z": (0j, 1 + 1j)}),
    Entry("real part of a complex square", "(z ** 2).real", "(z ** 2).real", {"z": (1 + 2j,)}),
    Entry(
        "imaginary part of a complex log", "torch.log(z).imag", "jnp.log(z).imag", {"z": (1 + 2j, -1 + 0j)}
    ),
    Entry("complex sqrt at 0", "torch.sqrt(z).real", "jnp.sqrt(z).real", {"z": (0j, 1 + 1j)}),
    Entry("sgn of a complex number", "torch.sgn(z).real", "jnp.sign(z).real", {"z": (0j, 3 + 4j)}),
)

ENTRIES = (
    *_ACTIVATIONS,
    *_SOFTMAX,
    *_TIED,
    *_CLIPS,
    *_SINGULAR,
    *_ROUNDED,
    *_INDEXED,
    *_MATRICES,
    *_COMPLEX,
)
