"""Losses: what they add up, what they divide by, and what they do at their corners."""

from math import inf

from scenarios.atlas.entry import Entry

_LOGITS = ((1.0, 2.0, -1.0), (0.5, -0.5, 3.0))
_CLASSES = (2, 0)
_GUESSES, _TRUTHS = (0.5, -1.0, 2.0, 3.5), (0.5, 1.0, 1.0, 2.5)
_LIKELY, _SHARES = ((0.2, 0.3, 0.5), (0.6, 0.3, 0.1)), ((0.1, 0.4, 0.5), (0.0, 0.5, 0.5))
_CROSS = "optax.softmax_cross_entropy_with_integer_labels(x, i)"

_REGRESSION = (
    Entry("mean squared error", "F.mse_loss(x, y)", "((x - y) ** 2).mean()", {"x": _GUESSES, "y": _TRUTHS}),
    Entry(
        "l2 loss",
        "F.mse_loss(x, y)",
        "optax.l2_loss(x, y).mean()",
        {"x": _GUESSES, "y": _TRUTHS},
        translation="optax.squared_error(x, y).mean()",
        source=("optax.losses.l2_loss",),
        note="optax halves the square.",
    ),
    Entry(
        "mean absolute error",
        "F.l1_loss(x, y)",
        "jnp.abs(x - y).mean()",
        {"x": _GUESSES, "y": _TRUTHS},
        translation="((x - y) * lax.stop_gradient(jnp.sign(x - y))).mean()",
        source=("jax#37820",),
    ),
    Entry(
        "smooth l1 loss",
        "F.smooth_l1_loss(x, y)",
        "optax.huber_loss(x, y).mean()",
        {"x": _GUESSES, "y": _TRUTHS},
    ),
    Entry(
        "smooth l1 loss of beta 0.5",
        "F.smooth_l1_loss(x, y, beta=0.5)",
        "optax.huber_loss(x, y, delta=0.5).mean()",
        {"x": _GUESSES, "y": _TRUTHS},
        translation="optax.huber_loss(x, y, delta=0.5).mean() / 0.5",
        source=("torch.nn.functional.smooth_l1_loss",),
        note="a smooth l1 loss is a Huber loss divided by its threshold.",
    ),
    Entry(
        "huber loss of delta 0.5",
        "F.huber_loss(x, y, delta=0.5)",
        "optax.huber_loss(x, y, delta=0.5).mean()",
        {"x": _GUESSES, "y": _TRUTHS},
    ),
    Entry(
        "distance of pairs",
        "F.pairwise_distance(x, y)",
        "jnp.linalg.norm(x - y, axis=-1)",
        {"x": ((1.0, 2.0), (0.0, 1.0)), "y": ((0.0, 2.5), (3.0, 1.0))},
        translation="jnp.linalg.norm(x - y + 1e-6, axis=-1)",
        source=("torch.nn.functional.pairwise_distance",),
        note="PyTorch adds 1e-6 to every difference.",
    ),
    Entry(
        "gaussian negative log-likelihood",
        "F.gaussian_nll_loss(x, y, s)",
        "(0.5 * (jnp.log(s) + (x - y) ** 2 / s)).mean()",
        {"x": _GUESSES, "y": _TRUTHS, "s": (1.0, 2.0, 0.5, 4.0)},
    ),
    Entry(
        "poisson negative log-likelihood",
        "F.poisson_nll_loss(x, y)",
        "(jnp.exp(x) - y * x).mean()",
        {"x": _GUESSES, "y": (0.0, 1.0, 2.0, 3.0)},
    ),
)

_CLASSIFICATION = (
    Entry("cross entropy", "F.cross_entropy(x, i)", f"{_CROSS}.mean()", {"x": _LOGITS, "i": _CLASSES}),
    Entry(
        "cross entropy without a mean",
        "F.cross_entropy(x, i)",
        f"{_CROSS}.sum()",
        {"x": _LOGITS, "i": _CLASSES},
        translation=f"{_CROSS}.mean()",
        source=("torch.nn.functional.cross_entropy",),
        note="a loss of PyTorch's is a mean; one of optax's has an entry for every example.",
    ),
    Entry(
        "cross entropy with weights",
        "F.cross_entropy(x, i, w)",
        f"(w[i] * {_CROSS}).mean()",
        {"x": _LOGITS, "i": _CLASSES, "w": (1.0, 2.0, 4.0)},
        fixed=("w",),
        translation=f"(w[i] * {_CROSS}).sum() / w[i].sum()",
        source=("torch.nn.functional.cross_entropy",),
        note="PyTorch divides by the sum of the weights.",
    ),
    Entry(
        "cross entropy with a class that is ignored",
        "F.cross_entropy(x, i)",
        f"{_CROSS}.mean()",
        {"x": _LOGITS, "i": (2, -100)},
        translation=(
            "jnp.where(i == -100, 0, optax.softmax_cross_entropy_with_integer_labels("
            "x, jnp.where(i == -100, 0, i))).sum() / (i != -100).sum()"
        ),
        source=("torch.nn.functional.cross_entropy",),
        note="−100 is ignored by PyTorch, and an index like any other in JAX.",
    ),
    Entry(
        "cross entropy with smoothed labels",
        "F.cross_entropy(x, i, label_smoothing=0.1)",
        "optax.softmax_cross_entropy(x, optax.smooth_labels(nn.one_hot(i, 3), 0.1)).mean()",
        {"x": _LOGITS, "i": _CLASSES},
    ),
    Entry(
        "cross entropy with shares",
        "F.cross_entropy(x, y)",
        "optax.softmax_cross_entropy(x, y).mean()",
        {"x": _LOGITS, "y": _SHARES},
    ),
    Entry(
        "cross entropy with a masked class",
        "F.cross_entropy(x, i)",
        f"{_CROSS}.mean()",
        {"x": ((1.0, -inf, 2.0),), "i": (0,)},
    ),
    Entry(
        "cross entropy of a masked class",
        "F.cross_entropy(x, i)",
        f"{_CROSS}.mean()",
        {"x": ((1.0, -inf, 2.0),), "i": (1,)},
    ),
    Entry(
        "negative log-likelihood",
        "F.nll_loss(F.log_softmax(x, -1), i)",
        "-jnp.take_along_axis(nn.log_softmax(x), i[:, None], -1).mean()",
        {"x": _LOGITS, "i": _CLASSES},
    ),
    Entry(
        "binary cross entropy with logits",
        "F.binary_cross_entropy_with_logits(x, y)",
        "optax.sigmoid_binary_cross_entropy(x, y).mean()",
        {"x": (-100.0, -1.0, 0.0, 100.0), "y": (0.0, 1.0, 0.5, 1.0)},
    ),
    Entry(
        "binary cross entropy with logits and a weight",
        "F.binary_cross_entropy_with_logits(x, y, pos_weight=w)",
        "(w * optax.sigmoid_binary_cross_entropy(x, y)).mean()",
        {"x": (-2.0, -1.0, 0.5, 3.0), "y": (0.0, 1.0, 0.5, 1.0), "w": 3.0},
        fixed=("w",),
        translation="-(w * y * nn.log_sigmoid(x) + (1 - y) * nn.log_sigmoid(-x)).mean()",
        source=("torch.nn.functional.binary_cross_entropy_with_logits",),
        note="the weight is that of the positive examples alone.",
    ),
    Entry(
        "binary cross entropy",
        "F.binary_cross_entropy(x, y)",
        "-(y * jnp.log(x) + (1 - y) * jnp.log(1 - x)).mean()",
        {"x": (0.25, 0.5, 0.75), "y": (0.0, 1.0, 0.5)},
    ),
    Entry(
        "binary cross entropy at 0 and 1",
        "F.binary_cross_entropy(x, y)",
        "-(y * jnp.log(x) + (1 - y) * jnp.log(1 - x)).mean()",
        {"x": (0.0, 1.0, 0.5), "y": (1.0, 0.0, 1.0)},
        source=("torch.nn.functional.binary_cross_entropy",),
        note="PyTorch lets no logarithm be below −100.",
    ),
    Entry(
        "Kullback-Leibler divergence",
        "F.kl_div(x, y)",
        "optax.kl_divergence(x, y).mean()",
        {"x": ((-1.5, -1.25, -0.75), (-0.5, -1.25, -2.0)), "y": _LIKELY},
        translation="optax.kl_divergence(x, y).mean() / x.shape[-1]",
        source=("torch.nn.functional.kl_div",),
        note="PyTorch's mean is over all entries, not over examples, unless it is asked for 'batchmean'.",
    ),
    Entry(
        "Kullback-Leibler divergence, a target of 0",
        "F.kl_div(x, y, reduction='batchmean')",
        "optax.kl_divergence(x, y).mean()",
        {"x": ((-1.5, -1.25, -0.75), (-0.5, -1.25, -2.0)), "y": _SHARES},
    ),
)

_MARGINS = (
    Entry(
        "hinge loss at the margin",
        "torch.relu(1 - x * y).mean()",
        "optax.hinge_loss(x, y).mean()",
        {"x": (0.5, 1.0, 2.0), "y": (1.0, 1.0, -1.0)},
    ),
    Entry(
        "hinge loss of embeddings",
        "F.hinge_embedding_loss(x, y)",
        "jnp.where(y == 1, x, nn.relu(1 - x)).mean()",
        {"x": (0.5, 1.0, 2.0), "y": (1.0, -1.0, -1.0)},
    ),
    Entry(
        "ranking loss at 0",
        "F.margin_ranking_loss(x, z, y)",
        "nn.relu(-y * (x - z)).mean()",
        {"x": (1.0, 2.0), "z": (1.0, 3.0), "y": (1.0, 1.0)},
    ),
    Entry(
        "soft margin loss",
        "F.soft_margin_loss(x, y)",
        "jnp.log1p(jnp.exp(-y * x)).mean()",
        {"x": (0.5, -1.0, 2.0), "y": (1.0, -1.0, -1.0)},
        fixed=("y",),
    ),
    Entry(
        "cosine distance",
        "1 - F.cosine_similarity(x, y, -1)",
        "optax.cosine_distance(x, y)",
        {"x": ((1.0, 2.0), (0.5, -1.0)), "y": ((2.0, 1.0), (1.0, 1.0))},
    ),
    Entry(
        "triplet loss",
        "F.triplet_margin_loss(x, y, z)",
        "nn.relu(jnp.linalg.norm(x - y, axis=-1) - jnp.linalg.norm(x - z, axis=-1) + 1).mean()",
        {"x": ((1.0, 2.0),), "y": ((0.0, 2.5),), "z": ((2.0, 2.0),)},
        translation=(
            "nn.relu(jnp.linalg.norm(x - y + 1e-6, axis=-1) "
            "- jnp.linalg.norm(x - z + 1e-6, axis=-1) + 1).mean()"
        ),
        source=("torch.nn.functional.triplet_margin_loss",),
    ),
)

ENTRIES = (*_REGRESSION, *_CLASSIFICATION, *_MARGINS)
