"""Maps between the parameters of two ports: what one is, what it converts, and which one is found."""

import json
import math
import string
from itertools import pairwise, permutations

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from flax import linen, nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from compare.port.mapping import Leftover, Map, MapError, Piece, to_functional, to_imperative
from compare.port.matching import MOST_SCORES, match

KEY = jax.random.key(0)


def simple(pieces, imperative, functional, **more):
    return Map({"imperative": imperative, "functional": functional}, tuple(pieces), **more)


FUSED = simple(
    [
        Piece("qkv", "q", (1, 0), imperative_block=((0, 4), (0, 6)), evidence="name"),
        Piece("qkv", "k", (1, 0), imperative_block=((4, 8), (0, 6))),
        Piece("qkv", "v", (2, 0, 1), (2, 2, 6), imperative_block=((8, 12), (0, 6))),
        Piece("up.0", "up", (0,), functional_block=((0, 1), (0, 3))),
        Piece("up.1", "up", (0,), flip=(0,), functional_block=((1, 2), (0, 3)), evidence="guessed: by place"),
    ],
    {"qkv": (12, 6), "up.0": (3,), "up.1": (3,), "steps": ()},
    {"q": (6, 4), "k": (6, 4), "v": (6, 2, 2), "up": (2, 3), "scale": (4,)},
    left_over={
        "imperative": (Leftover("steps", "an integer counter"),),
        "functional": (Leftover("scale", "no counterpart"),),
    },
    notes=("guessed: 1 of 5 pieces",),
)


def random(shapes, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def equal(left, right):
    """Bit for bit, names and dtypes too."""
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def test_a_piece_reshapes_then_permutes_then_flips_then_reshapes():
    arrays = random({"qkv": (12, 6), "up.0": (3,), "up.1": (3,)})
    made = to_functional(arrays, FUSED)
    assert made.keys() == {"q", "k", "v", "up"}
    np.testing.assert_array_equal(made["k"], arrays["qkv"][4:8].T)
    np.testing.assert_array_equal(made["v"], arrays["qkv"][8:].reshape(2, 2, 6).transpose(2, 0, 1))
    np.testing.assert_array_equal(made["up"], [arrays["up.0"], arrays["up.1"][::-1]])


def test_what_is_converted_shares_no_memory():
    arrays = random({"qkv": (12, 6), "up.0": (3,), "up.1": (3,)})
    before = {name: array.copy() for name, array in arrays.items()}
    for array in to_functional(arrays, FUSED, like={"scale": np.ones(4)}).values():
        array[...] = 7
    assert equal(arrays, before)


def test_what_is_left_over_is_copied_from_where_one_says():
    arrays = random({"qkv": (12, 6), "up.0": (3,), "up.1": (3,)})
    like = {"scale": np.arange(4.0)}
    made = to_functional(arrays, FUSED, like=like)
    assert [*made] == ["q", "k", "v", "up", "scale"]
    np.testing.assert_array_equal(made["scale"], like["scale"])
    assert not np.shares_memory(made["scale"], like["scale"])


def test_a_block_that_is_left_over_is_zero_or_copied():
    half = simple(
        [Piece("bias", "b", (0,), imperative_block=((2, 3),))],
        {"bias": (3,)},
        {"b": (1,)},
        left_over={"imperative": (Leftover("bias", "no counterpart", ((0, 2),)),), "functional": ()},
    )
    b = {"b": np.array([5.0])}
    assert to_imperative(b, half)["bias"].tolist() == [0, 0, 5]
    assert to_imperative(b, half, like={"bias": np.array([1.0, 2, 3])})["bias"].tolist() == [1, 2, 5]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"up.0": np.ones(3), "up.1": np.ones(3), "kqv": np.ones((12, 6))}, "is 'kqv' meant?"),
        ({"qkv": np.ones((6, 12)), "up.0": np.ones(3), "up.1": np.ones(3)}, "(6, 12)"),
        ({"qkv": np.ones((12, 6)), "up.0": np.ones(3), "up.1": np.ones(3, "f4")}, "float32"),
    ],
)
def test_arrays_that_do_not_fit_the_map_are_named(arrays, said):
    with pytest.raises(MapError) as refused:
        to_functional(arrays, FUSED)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_map_can_be_held_to_all_arrays_of_a_side():
    arrays = {name: np.ones(shape) for name, shape in FUSED.shapes["imperative"].items()}
    FUSED.check("imperative", arrays)
    for wrong, said in (
        ({**arrays, "up.2": np.ones(3)}, "no imperative array 'up.2'"),
        ({name: array for name, array in arrays.items() if name != "steps"}, "'steps'"),
        ({**arrays, "steps": np.ones(3)}, "(3,)"),
    ):
        with pytest.raises(MapError) as refused:
            FUSED.check("imperative", wrong)
        assert said in str(refused.value)


def test_tied_copies_are_taken_once_if_they_are_equal():
    tied = simple(
        [Piece("embed", "table", (0, 1)), Piece("head", "table", (0, 1))],
        {"embed": (3, 2), "head": (3, 2)},
        {"table": (3, 2)},
        tied={"imperative": (), "functional": ("table",)},
    )
    table = np.array([[1, np.nan], [2, 3], [4, -0.0]])
    both = to_imperative({"table": table}, tied)
    assert equal(both, {"embed": table, "head": table})
    assert equal(to_functional(both, tied), {"table": table})
    both["head"][2, 1] = 0.0
    with pytest.raises(MapError, match="'head' differs"):
        to_functional(both, tied)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([Piece("b", "x", (0, 1))], "no imperative array 'b'"),
        ([Piece("a", "x", (0, 0))], "no permutation"),
        ([Piece("a", "x", (0,))], "no permutation"),
        ([Piece("a", "x", (0, 1), (5, 2))], "does not hold as many"),
        ([Piece("a", "x", (0, 1), flip=(2,))], "flip"),
        ([Piece("a", "y", (0, 1))], "does not fit"),
        ([Piece("a", "x", (0, 1), imperative_block=((0, 4), (0, 4)))], "out of the range"),
        ([Piece("a", "x", (0, 1), imperative_block=((0, 4),))], "1 axes"),
        ([], "in no piece"),
        ([Piece("a", "x", (0, 1)), Piece("a", "x", (0, 1))], "in several pieces"),
        ([Piece("a", "x", (0,), imperative_block=((0, 2), (0, 3)), functional_block=((0, 2), (0, 3)))], "no"),
        (
            [Piece("a", "x", (0, 1), None, (), ((0, 2), (0, 3)), ((0, 2), (0, 3)))],
            "[2:4, 0:3] of the imperative array 'a' is in no piece",
        ),
        (
            [
                Piece("a", "x", (0, 1), None, (), ((0, 3), (0, 3)), ((0, 3), (0, 3))),
                Piece("a", "x", (0, 1), None, (), ((2, 4), (0, 3)), ((2, 4), (0, 3))),
            ],
            "[2:3, 0:3] of the imperative array 'a' is in several pieces",
        ),
    ],
)
def test_what_is_no_bijection_is_refused_with_its_place(pieces, said):
    shapes = {"a": (4, 3)}, {"x": (4, 3), "y": (5,)}
    functional = {"x": (4, 3)} if all(piece.functional == "x" for piece in pieces) else shapes[1]
    with pytest.raises(MapError) as refused:
        simple(pieces, shapes[0], functional)
    assert said in str(refused.value)


def test_the_table_says_every_piece_and_all_that_is_left_over():
    lines = str(FUSED).splitlines()
    assert lines[0].split() == ["qkv[0:4,", ":]", "(4,", "6)", "→", "q", "(6,", "4)", "transposed", "name"]
    assert "as (2, 2, 6), axes 2 0 1" in lines[2]
    assert "backwards along 0" in lines[4]
    assert lines[4].endswith("guessed: by place")
    assert "  steps (): an integer counter" in lines
    assert "  scale (4,): no counterpart" in lines
    assert [piece.imperative for piece in FUSED.guesses] == ["up.1"]


@st.composite
def maps(draw):
    """Imperative arrays cut into blocks, each laid out somehow, and stacked with others or by itself."""
    shapes = draw(st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=3))
    imperative = {f"i{k}": shape for k, shape in enumerate(shapes)}
    blocks = []
    for name, shape in imperative.items():
        cuts = [sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=1))}) for n in shape]
        edges = [list(pairwise(cut)) for cut in cuts]
        blocks += [(name, block) for block in draw(st.permutations(list(cells(edges))))]
    functional, pieces = {}, []
    while blocks:
        name, block = blocks.pop()
        size = math.prod(stop - start for start, stop in block)
        mates = [b for b in blocks if math.prod(stop - start for start, stop in b[1]) == size]
        mates = draw(st.lists(st.sampled_from(mates), unique=True, max_size=2)) if mates else []
        blocks = [b for b in blocks if b not in mates]
        path, shape = f"f{len(functional)}", draw(st.sampled_from(factorings(size)))
        functional[path] = (1 + len(mates), *shape)
        for k, (mate, part) in enumerate([(name, block), *mates]):
            split = draw(st.none() | st.sampled_from(factorings(size)))
            rank = len(split if split is not None else part)
            pieces.append(
                Piece(
                    mate,
                    path,
                    tuple(draw(st.permutations(range(rank)))),
                    split,
                    tuple(draw(st.sets(st.sampled_from(range(rank))))) if rank else (),
                    part,
                    ((k, k + 1), *((0, n) for n in shape)),
                )
            )
    return simple(pieces, imperative, functional)


def cells(edges):
    if not edges:
        yield ()
        return
    for rest in cells(edges[1:]):
        yield from ((edge, *rest) for edge in edges[0])


def factorings(size):
    return [(size,), *((n, size // n) for n in range(1, size + 1) if size % n == 0), (1, size, 1)]


@settings(max_examples=200, deadline=None)
@given(
    maps(),
    st.sampled_from(["f2", "f4", "f8", "c8", "i4", "u1", "bool", ml_dtypes.bfloat16]),
    st.integers(0, 9),
)
def test_any_map_there_and_back_keeps_every_bit(by, dtype, seed):
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    arrays = {}
    for name, shape in by.shapes["imperative"].items():
        bits = rng.integers(0, 2 if dtype.kind == "b" else 256, (math.prod(shape), dtype.itemsize), np.uint8)
        arrays[name] = bits.view(dtype).reshape(shape)  # NaNs of all kinds among them
    there = to_functional(arrays, by)
    assert {path: array.shape for path, array in there.items()} == dict(by.shapes["functional"])
    assert equal(to_imperative(there, by), arrays)
    assert equal(to_functional(to_imperative(there, by), by), there)


@settings(max_examples=50, deadline=None)
@given(maps())
def test_any_map_is_read_as_it_was_written(tmp_path_factory, by):
    path = tmp_path_factory.mktemp("map") / "map.json"
    by.save(path)
    assert Map.load(path) == by


@pytest.fixture
def saved(tmp_path):
    FUSED.save(tmp_path / "map.json")
    return tmp_path / "map.json"


def test_a_file_has_a_line_for_every_array_and_every_piece(saved):
    assert Map.load(saved) == FUSED
    lines = saved.read_text("utf-8").splitlines()
    assert '      "qkv": [12, 6],' in lines
    assert sum(line.startswith('    {"imperative": ') for line in lines) == len(FUSED.pieces)
    assert json.loads(saved.read_text("utf-8"))["schema_version"] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"imperative": "qkv", "functional": "q"',
            '"imperative": "qvk", "functional": "q"',
            "is 'qkv' meant?",
        ),
        ('"functional": "q", "axes": [1, 0]', '"functional": "q", "axes": [1, 1]', "no permutation"),
        ('"functional": "q", "axes": [1, 0]', '"functional": "q", "axes": "10"', "pieces[0].axes"),
        ('"functional": "q", "axes"', '"functional": "q", "axis": 1, "axes"', "unknown field `axis`"),
        ("[[4, 8], [0, 6]]", "[[2, 6], [0, 6]]", "[6:8, 0:6] of the imperative array 'qkv' is in no piece"),
        ('"imperative_block": [[4, 8], [0, 6]]', '"imperative_block": [[0, 4], [0, 6]]', "is in no piece"),
        ('"scale": [4]', '"scale": [4], "shift": [4]', "'shift' (4,) is in no piece"),
        ("[[4, 8], [0, 6]]", "[[4, 8], [0, 7]]", "out of the range"),
        ("[[4, 8], [0, 6]]", "[[4, 8]]", "1 axes"),
        ('"split": [2, 2, 6]', '"split": [2, 3, 6]', "does not hold as many"),
        ('"flip": [0]', '"flip": [1]', "flip"),
        ('"q": [6, 4]', '"q": [6, 5]', "does not fit"),
        ('"q": [6, 4]', '"q": [6, -4]', "shapes"),
        ('"name": "steps"', '"name": "stops"', "is 'steps' meant?"),
        ('"schema_version": 1', '"schema_version": 2', "schema 2"),
        ('"schema_version": 1,', "", "schema_version"),
        ('"left_over": {\n    "imperative"', '"left_over": {\n    "declarative"', "left_over"),
        ("}", "", "not readable as a map"),
        ('"notes"', '"note"', "unknown field `note`"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence_that_names_it(saved, old, new, said):
    text = saved.read_text("utf-8")
    assert old in text
    saved.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(MapError) as refused:
        Map.load(saved)
    message = str(refused.value)
    assert message.startswith(f"{saved}: ")
    assert said in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path):
    for call in (Map.load, FUSED.save):
        with pytest.raises(MapError, match=r"map\.json: cannot be"):
            call(tmp_path / "nowhere" / "map.json")
    (tmp_path / "map.json").write_bytes(b"\xff\xfe" + b"[" * 10_000)
    with pytest.raises(MapError, match="not readable as a map"):
        Map.load(tmp_path / "map.json")


def flat(tree):
    """A pytree as arrays by path."""
    arrays = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if hasattr(leaf, "shape"):
            path = "".join(
                f"[{key.idx}]"
                if hasattr(key, "idx")
                else f".{getattr(key, 'key', getattr(key, 'name', key))}"
                for key in keys
            )
            arrays[path.removeprefix(".").removesuffix(".value")] = np.asarray(leaf)
    return arrays


def held(module, seed=0):
    """The state of a module, with numbers that all differ."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=tensor.shape).astype("f4") if tensor.is_floating_point() else tensor.numpy()
        for name, tensor in module.state_dict().items()
    }


def shapes(arrays):
    return {name: np.broadcast_to(np.float32(0), array.shape) for name, array in arrays.items()}


def never(_):
    raise AssertionError("nothing was to be tried")


def check(found, arrays, expected, *, zero=()):
    """Hold a map to a conversion that was written by hand."""
    made = to_functional(arrays, found)
    assert made.keys() == expected.keys()
    for path, array in made.items():
        np.testing.assert_array_equal(array, expected[path], err_msg=path)
    back = to_imperative(expected, found)
    for name in back.keys() - set(zero):
        np.testing.assert_array_equal(back[name], arrays[name], err_msg=name)
    assert not found.left_over["functional"]


class Linears(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))


class LinenMLP(linen.Module):
    widths: tuple

    @linen.compact
    def __call__(self, x):
        for width in self.widths:
            x = linen.Dense(width)(x)
        return x


def test_a_kernel_of_flax_is_the_transpose_of_a_weight_and_a_square_one_too():
    arrays = held(Linears(5, 16, 16, 16, 3))
    tree = flat(LinenMLP((16, 16, 16, 3)).init(KEY, jnp.ones((1, 5))))
    found = match(arrays, tree, score=never)
    expected = {}
    for k in range(4):
        expected[f"params.Dense_{k}.kernel"] = arrays[f"layers.{k}.weight"].T
        expected[f"params.Dense_{k}.bias"] = arrays[f"layers.{k}.bias"]
    check(found, arrays, {path: expected[path] for path in tree})
    assert not found.guesses
    assert not found.left_over["imperative"]
    square = next(piece for piece in found.pieces if piece.functional == "params.Dense_1.kernel")
    assert "convention of the other kernels" in square.evidence


def test_twelve_layers_are_counted_not_sorted_by_alphabet():
    arrays = held(Linears(*[7] * 13))
    tree = flat(LinenMLP((7,) * 12).init(KEY, jnp.ones((1, 7))))
    expected = {}
    for k in range(12):
        expected[f"params.Dense_{k}.bias"] = arrays[f"layers.{k}.bias"]
        expected[f"params.Dense_{k}.kernel"] = arrays[f"layers.{k}.weight"].T
    check(match(arrays, dict(sorted(tree.items())), score=never), arrays, dict(sorted(expected.items())))


def test_lists_of_plain_jax_are_modules_in_a_row():
    arrays = held(Linears(5, 8, 8, 2))
    tree = {"layers": [{"w": jnp.ones((i, o)), "b": jnp.ones(o)} for i, o in ((5, 8), (8, 8), (8, 2))]}
    expected = {
        f"layers[{k}].{n}": arrays[f"layers.{k}.{m}"].T
        for k in range(3)
        for n, m in (("b", "bias"), ("w", "weight"))
    }
    check(match(arrays, flat(tree), score=never), arrays, expected)


def test_weights_of_equinox_are_as_they_are():
    arrays = held(Linears(5, 8, 8, 8))
    tree = flat(eqx.nn.MLP(5, 8, 8, 2, key=KEY))
    check(
        match(arrays, tree, score=never), arrays, arrays_as(tree, arrays, "layers[{}].{}", "layers.{}.{}", 3)
    )


def arrays_as(tree, arrays, path, name, count):
    return {
        path.format(k, kind): arrays[name.format(k, kind)]
        for k in range(count)
        for kind in ("weight", "bias")
        if path.format(k, kind) in tree
    }


def test_haiku_has_in_and_out_the_other_way_round_and_other_words():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Embedding(9, 6), nn.LayerNorm(6)
            self.mlp = Linears(6, 6, 4)

    def forward(x):
        return hk.nets.MLP([6, 4])(hk.LayerNorm(-1, True, True)(hk.Embed(9, 6)(x)))

    arrays, tree = held(Net()), flat(hk.transform(forward).init(jax.random.PRNGKey(0), jnp.ones(2, int)))
    expected = {
        "embed.embeddings": arrays["embed.weight"],
        "layer_norm.offset": arrays["norm.bias"],
        "layer_norm.scale": arrays["norm.weight"],
        "mlp/~/linear_0.b": arrays["mlp.layers.0.bias"],
        "mlp/~/linear_0.w": arrays["mlp.layers.0.weight"].T,
        "mlp/~/linear_1.b": arrays["mlp.layers.1.bias"],
        "mlp/~/linear_1.w": arrays["mlp.layers.1.weight"].T,
    }
    check(match(arrays, tree, score=never), arrays, expected)


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.depth, self.fc = nn.Conv2d(6, 6, 3, groups=6), nn.Linear(6, 4)


class LinenPictures(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=True)(linen.Conv(6, (3, 3))(x))
        x = linen.BatchNorm(use_running_average=True)(linen.Conv(6, (3, 3), use_bias=False)(x))
        return linen.Dense(4)(linen.Conv(6, (3, 3), feature_group_count=6)(x).mean((1, 2)))


def test_images_of_flax_have_their_channels_last_and_their_statistics_elsewhere():
    arrays, tree = held(Pictures()), flat(LinenPictures().init(KEY, jnp.ones((1, 8, 8, 3))))
    expected = {}
    for k, (conv, norm) in enumerate((("conv1", "bn1"), ("conv2", "bn2"))):
        expected |= {f"params.Conv_{k}.kernel": arrays[f"{conv}.weight"].transpose(2, 3, 1, 0)}
        for path, name in (("params.{}.scale", "weight"), ("params.{}.bias", "bias")):
            expected |= {path.format(f"BatchNorm_{k}"): arrays[f"{norm}.{name}"]}
        for kind in ("mean", "var"):
            expected |= {f"batch_stats.BatchNorm_{k}.{kind}": arrays[f"{norm}.running_{kind}"]}
    expected |= {
        "params.Conv_0.bias": arrays["conv1.bias"],
        "params.Conv_2.kernel": arrays["depth.weight"].transpose(2, 3, 1, 0),
        "params.Conv_2.bias": arrays["depth.bias"],
        "params.Dense_0.kernel": arrays["fc.weight"].T,
        "params.Dense_0.bias": arrays["fc.bias"],
    }
    found = match(arrays, tree, score=never)
    check(found, arrays, {path: expected[path] for path in tree})
    assert {(entry.name, entry.reason) for entry in found.left_over["imperative"]} == {
        (f"bn{k}.num_batches_tracked", "an integer counter") for k in (1, 2)
    }


def test_nnx_keeps_statistics_beside_the_weights():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 6, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(6, rngs=rngs)
            self.head = nnx.Linear(6, 6, rngs=rngs)

    arrays = held(
        nn.ModuleDict({"conv": nn.Conv2d(3, 6, 3), "norm": nn.BatchNorm2d(6), "head": nn.Linear(6, 6)})
    )
    tree = {p: a for p, a in flat(nnx.state(Net(nnx.Rngs(0)))).items() if "rngs" not in p}
    expected = {
        "conv.bias": arrays["conv.bias"],
        "conv.kernel": arrays["conv.weight"].transpose(2, 3, 1, 0),
        "head.bias": arrays["head.bias"],
        "head.kernel": arrays["head.weight"].T,
        "norm.bias": arrays["norm.bias"],
        "norm.mean": arrays["norm.running_mean"],
        "norm.scale": arrays["norm.weight"],
        "norm.var": arrays["norm.running_var"],
    }
    check(match(arrays, tree, score=never), arrays, expected)


def test_haiku_keeps_averages_and_more_that_has_no_counterpart():
    def forward(x):
        return hk.BatchNorm(True, True, 0.9)(hk.Conv2D(6, 3)(x), True)

    arrays = held(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)))
    params, state = hk.transform_with_state(forward).init(jax.random.PRNGKey(0), jnp.ones((1, 8, 8, 3)))
    found = match(arrays, flat({"params": params, "state": state}), score=never)
    made = to_functional(arrays, found)
    assert made["params.batch_norm.scale"].ravel().tolist() == arrays["1.weight"].tolist()
    assert made["params.batch_norm.offset"].ravel().tolist() == arrays["1.bias"].tolist()
    for kind in ("mean", "var"):
        average = made[f"state.batch_norm/~/{kind}_ema.average"]
        assert average.ravel().tolist() == arrays[f"1.running_{kind}"].tolist()
    alone = {entry.name.rsplit(".", 1)[1] for entry in found.left_over["functional"]}
    assert alone == {"hidden", "counter"}


def gates(array, count):
    return np.split(array, count)


def test_an_lstm_of_flax_has_a_matrix_for_each_gate_and_one_bias():
    arrays = held(nn.LSTM(6, 4))
    tree = flat(linen.RNN(linen.LSTMCell(4)).init(KEY, jnp.ones((2, 5, 6))))
    found = match(arrays, tree, score=never)
    expected = {}
    for k, gate in enumerate("ifgo"):
        expected[f"params.cell.i{gate}.kernel"] = gates(arrays["weight_ih_l0"], 4)[k].T
        expected[f"params.cell.h{gate}.kernel"] = gates(arrays["weight_hh_l0"], 4)[k].T
        expected[f"params.cell.h{gate}.bias"] = gates(arrays["bias_hh_l0"], 4)[k]
    check(found, arrays, {path: expected[path] for path in tree})
    (alone,) = found.left_over["imperative"]
    assert alone.name == "bias_ih_l0"
    assert alone.zero
    assert not found.guesses


@pytest.mark.parametrize("size", [(6, 4), (4, 4)])
def test_equinox_and_nnx_fuse_the_gates_as_pytorch_does(size):
    arrays = held(nn.LSTM(*size))
    found = match(arrays, flat(eqx.nn.LSTMCell(*size, key=KEY)), score=never)
    made = to_functional(arrays, found)
    np.testing.assert_array_equal(made["weight_ih"], arrays["weight_ih_l0"])
    np.testing.assert_array_equal(made["weight_hh"], arrays["weight_hh_l0"])
    assert [entry.zero for entry in found.left_over["imperative"]] == [True]
    found = match(
        arrays, flat(nnx.state(nnx.OptimizedLSTMCell(*size, rngs=nnx.Rngs(0)), nnx.Param)), score=never
    )
    made = to_functional(arrays, found)
    np.testing.assert_array_equal(made["dense_i.kernel"], arrays["weight_ih_l0"].T)
    np.testing.assert_array_equal(made["dense_h.kernel"], arrays["weight_hh_l0"].T)
    np.testing.assert_array_equal(made["dense_h.bias"], arrays["bias_hh_l0"])


def test_haiku_fuses_input_and_state_too_and_has_its_gates_in_another_order():
    def forward(x):
        cell = hk.LSTM(4)
        return hk.dynamic_unroll(cell, x, cell.initial_state(2))[0]

    arrays = held(nn.LSTM(6, 4))
    tree = flat(hk.transform(forward).init(jax.random.PRNGKey(0), jnp.ones((5, 2, 6))))
    found = match(arrays, tree, score=never)

    def turned(array):
        i, f, g, o = gates(array, 4)
        return np.concatenate([i, g, f, o]).T

    made = to_functional(arrays, found)
    kernels = [turned(arrays["weight_ih_l0"]), turned(arrays["weight_hh_l0"])]
    np.testing.assert_array_equal(made["lstm/linear.w"], np.concatenate(kernels))
    assert made["lstm/linear.b"].tolist() in [
        turned(arrays[f"bias_{kind}_l0"]).tolist() for kind in ("ih", "hh")
    ]


def test_a_gru_of_flax_leaves_a_part_of_a_bias_over():
    arrays = held(nn.GRU(6, 4))
    tree = flat(linen.RNN(linen.GRUCell(4)).init(KEY, jnp.ones((2, 5, 6))))
    found = match(arrays, tree, score=never)
    expected = {"params.cell.hn.bias": gates(arrays["bias_hh_l0"], 3)[2]}
    for k, gate in enumerate("rzn"):
        expected[f"params.cell.i{gate}.kernel"] = gates(arrays["weight_ih_l0"], 3)[k].T
        expected[f"params.cell.h{gate}.kernel"] = gates(arrays["weight_hh_l0"], 3)[k].T
        expected[f"params.cell.i{gate}.bias"] = gates(arrays["bias_ih_l0"], 3)[k]
    check(found, arrays, {path: expected[path] for path in tree}, zero=["bias_hh_l0"])
    (alone,) = found.left_over["imperative"]
    assert (alone.name, alone.block, alone.zero) == ("bias_hh_l0", ((0, 8),), True)


def test_a_gru_of_equinox_has_one_bias_and_a_part_of_another():
    arrays = held(nn.GRU(6, 4))
    found = match(arrays, flat(eqx.nn.GRUCell(6, 4, key=KEY)), score=never)
    made = to_functional(arrays, found)
    np.testing.assert_array_equal(made["bias"], arrays["bias_ih_l0"])
    np.testing.assert_array_equal(made["bias_n"], gates(arrays["bias_hh_l0"], 3)[2])


def test_layers_and_directions_of_an_lstm_find_their_cells():
    arrays = held(nn.LSTM(4, 4, num_layers=2, bidirectional=True))
    tree = {
        f"layers[{layer}].{direction}.{name}": np.ones(
            arrays[f"weight_ih_l{layer}"].shape if "ih" in name else (16, 4)
        )
        for layer in (0, 1)
        for direction in ("backward", "forward")
        for name in ("weight_hh", "weight_ih")
    }
    made = to_functional(arrays, match(arrays, tree, score=never))
    for layer in (0, 1):
        for kind in ("weight_ih", "weight_hh"):
            np.testing.assert_array_equal(made[f"layers[{layer}].forward.{kind}"], arrays[f"{kind}_l{layer}"])
            back = made[f"layers[{layer}].backward.{kind}"]
            np.testing.assert_array_equal(back, arrays[f"{kind}_l{layer}_reverse"])


def heads(weight, bias, count):
    """A projection to heads, as flax has it."""
    return weight.T.reshape(weight.shape[1], count, -1), bias.reshape(count, -1)


def test_fused_attention_finds_its_queries_keys_and_values_in_their_heads():
    arrays = held(nn.MultiheadAttention(12, 3))
    tree = flat(linen.MultiHeadDotProductAttention(num_heads=3).init(KEY, *[jnp.ones((1, 2, 12))] * 2))
    expected = {}
    for k, name in enumerate(("query", "key", "value")):
        kernel, bias = heads(gates(arrays["in_proj_weight"], 3)[k], gates(arrays["in_proj_bias"], 3)[k], 3)
        expected |= {f"params.{name}.kernel": kernel, f"params.{name}.bias": bias}
    expected["params.out.kernel"] = arrays["out_proj.weight"].T.reshape(3, 4, 12)
    expected["params.out.bias"] = arrays["out_proj.bias"]
    found = match(arrays, tree, score=never)
    check(found, arrays, {path: expected[path] for path in tree})
    assert not found.guesses


def test_split_attention_finds_what_is_fused_on_the_other_side():
    arrays = held(nn.ModuleDict({name: nn.Linear(6, 6) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}))
    tree = {"attn.qkv.kernel": np.ones((6, 18)), "attn.qkv.bias": np.ones(18)}
    tree |= {"attn.out.kernel": np.ones((6, 6)), "attn.out.bias": np.ones(6)}
    kernels = [arrays[f"{name}_proj.weight"].T for name in "qkv"]
    expected = {
        "attn.qkv.kernel": np.concatenate(kernels, axis=1),
        "attn.qkv.bias": np.concatenate([arrays[f"{name}_proj.bias"] for name in "qkv"]),
        "attn.out.kernel": arrays["o_proj.weight"].T,
        "attn.out.bias": arrays["o_proj.bias"],
    }
    check(match(arrays, tree, score=never), arrays, expected)


def test_keys_and_values_may_be_smaller_than_queries():
    arrays = held(nn.ModuleDict({"qkv": nn.Linear(8, 8 + 2 * 2, bias=False)}))
    tree = {f"attn.{name}.kernel": np.ones((8, size)) for name, size in (("k", 2), ("q", 8), ("v", 2))}
    weight = arrays["qkv.weight"]
    expected = {
        "attn.k.kernel": weight[8:10].T,
        "attn.q.kernel": weight[:8].T,
        "attn.v.kernel": weight[10:].T,
    }
    check(match(arrays, tree, score=never), arrays, expected)


class Blocks(nn.Module):
    def __init__(self, layers=3, width=8):
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 16) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 11)


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x, _=None):
        x = linen.LayerNorm(name="ln1")(x + linen.MultiHeadDotProductAttention(2, name="attention")(x, x))
        h = linen.Dense(8, name="linear2")(linen.Dense(16, name="linear1")(x))
        return linen.LayerNorm(name="ln2")(x + h), None


class LinenBlocks(linen.Module):
    scanned: bool

    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(11, 8, name="embed")(tokens)
        if self.scanned:
            scan = linen.scan(LinenBlock, {"params": 0}, split_rngs={"params": True}, length=3)
            x, _ = scan(name="blocks")(x, None)
        else:
            for k in range(3):
                x, _ = LinenBlock(name=f"blocks_{k}")(x)
        return linen.Dense(11, name="head")(linen.LayerNorm(name="norm")(x))


def blocks_by_hand(arrays, layer):
    from_, to = f"blocks.{layer}.", {}
    for k, name in enumerate(("query", "key", "value")):
        fused = (gates(arrays[f"{from_}self_attn.in_proj_{kind}"], 3)[k] for kind in ("weight", "bias"))
        to[f"attention.{name}.kernel"], to[f"attention.{name}.bias"] = heads(*fused, 2)
    to["attention.out.kernel"] = arrays[f"{from_}self_attn.out_proj.weight"].T.reshape(2, 4, 8)
    to["attention.out.bias"] = arrays[f"{from_}self_attn.out_proj.bias"]
    for k in (1, 2):
        to |= {
            f"linear{k}.kernel": arrays[f"{from_}linear{k}.weight"].T,
            f"linear{k}.bias": arrays[f"{from_}linear{k}.bias"],
        }
        to |= {
            f"ln{k}.scale": arrays[f"{from_}norm{k}.weight"],
            f"ln{k}.bias": arrays[f"{from_}norm{k}.bias"],
        }
    return to


@pytest.mark.parametrize("scanned", [False, True])
def test_a_transformer_finds_its_layers_in_a_row_or_stacked_under_a_scan(scanned):
    arrays, tree = held(Blocks()), flat(LinenBlocks(scanned).init(KEY, jnp.ones((1, 4), int)))
    layers = [blocks_by_hand(arrays, layer) for layer in range(3)]
    if scanned:
        expected = {
            f"params.blocks.{name}": np.stack([layer[name] for layer in layers]) for name in layers[0]
        }
    else:
        expected = {
            f"params.blocks_{k}.{name}": array
            for k, layer in enumerate(layers)
            for name, array in layer.items()
        }
    expected |= {
        "params.embed.embedding": arrays["embed.weight"],
        "params.norm.scale": arrays["norm.weight"],
        "params.norm.bias": arrays["norm.bias"],
        "params.head.kernel": arrays["head.weight"].T,
        "params.head.bias": arrays["head.bias"],
    }
    found = match(shapes(arrays), shapes(tree), score=never)
    check(found, arrays, {path: expected[path] for path in tree})
    assert not found.guesses


def test_imperative_stacks_find_functional_layers():
    arrays = {"experts": np.random.default_rng(0).normal(size=(3, 8, 6))}
    tree = {f"expert_{k}.w": np.ones((6, 8)) for k in range(3)}
    expected = {f"expert_{k}.w": arrays["experts"][k].T for k in range(3)}
    check(match(arrays, tree, score=never), arrays, expected)


def test_a_stack_may_lie_along_another_axis_than_the_first():
    arrays = held(Linears(5, 7, 5, 7, 5))
    arrays = {name: array for name, array in arrays.items() if "weight" in name}
    tree = {"up.kernel": np.ones((5, 2, 7)), "down.kernel": np.ones((7, 2, 5))}
    named = {
        f"blocks.{k // 2}.{('up', 'down')[k % 2]}.weight": arrays[f"layers.{k}.weight"] for k in range(4)
    }
    expected = {
        f"{name}.kernel": np.stack([named[f"blocks.{k}.{name}.weight"].T for k in (0, 1)], axis=1)
        for name in ("up", "down")
    }
    check(match(named, tree, score=never), named, expected)


def test_blocks_that_are_counted_on_through_all_stages_find_theirs():
    names, tree, truth = {}, {}, {}

    def norm(name, path, width):
        for kind, there, tail in (
            ("weight", "params", "scale"),
            ("bias", "params", "bias"),
            ("running_var", "batch_stats", "var"),
        ):
            names[f"{name}.{kind}"] = tree[f"{there}.{path}.{tail}"] = np.ones(width)
            truth[f"{there}.{path}.{tail}"] = f"{name}.{kind}"

    def conv(name, path, out, inputs, size=3):
        names[f"{name}.weight"] = np.ones((out, inputs, size, size))
        tree[f"params.{path}.kernel"] = np.ones((size, size, inputs, out))
        truth[f"params.{path}.kernel"] = f"{name}.weight"

    inputs, count = 4, 0
    for stage, width in enumerate((4, 8, 16), start=1):
        for block in range(2):
            name, path = f"layer{stage}.{block}", f"ResNetBlock_{count}"
            for k, fan in ((1, inputs), (2, width)):
                conv(f"{name}.conv{k}", f"{path}.Conv_{k - 1}", width, fan)
                norm(f"{name}.bn{k}", f"{path}.BatchNorm_{k - 1}", width)
            if inputs != width:
                conv(f"{name}.downsample.0", f"{path}.conv_proj", width, inputs, 1)
                norm(f"{name}.downsample.1", f"{path}.norm_proj", width)
            inputs, count = width, count + 1
    found = match(names, dict(sorted(tree.items())))
    assert {piece.functional: piece.imperative for piece in found.pieces} == truth


def test_weights_that_pytorch_has_as_in_and_out_stay_so():
    names, tree, truth = {}, {}, {}
    for k in range(2):
        for module, (i, o) in {"attn.c_attn": (6, 18), "attn.c_proj": (6, 6), "mlp.c_fc": (6, 24)}.items():
            names |= {f"h.{k}.{module}.weight": np.ones((i, o)), f"h.{k}.{module}.bias": np.ones(o)}
            tree |= {f"blocks[{k}].{module}.w": np.ones((i, o)), f"blocks[{k}].{module}.b": np.ones(o)}
            truth |= {f"blocks[{k}].{module}.w": (f"h.{k}.{module}.weight", (0, 1))}
    found = match(names, tree, score=never)
    layouts = {piece.functional: (piece.imperative, piece.axes) for piece in found.pieces}
    assert {path: layout for path, layout in layouts.items() if path.endswith("w")} == truth


def test_what_is_asked_of_one_layer_is_asked_of_all():
    arrays = held(
        nn.ModuleList(
            nn.ModuleDict({n: nn.Linear(4, 6, bias=False) for n in ("gate_proj", "up_proj")})
            for _ in range(5)
        )
    )
    expected = {
        f"layers.wi_{n}.kernel": np.stack([arrays[f"{k}.{name}_proj.weight"].T for k in range(5)])
        for n, name in enumerate(("up", "gate"))
    }
    score = agreeing(arrays, expected)
    check(match(arrays, shapes(expected), score=score), arrays, expected)
    assert score.calls == 2


@pytest.mark.parametrize("channels", [(4, 6), (5, 5)])
@pytest.mark.parametrize("library", ["linen", "linen transposed", "haiku", "equinox"])
def test_a_transposed_convolution_runs_backwards_where_the_library_says_so(library, channels):
    module = nn.ConvTranspose2d(*channels, 3, bias=False)
    arrays = {"up.weight": held(module)["weight"]}
    image = np.random.default_rng(1).normal(size=(1, channels[0], 5, 5)).astype("f4")
    with torch.no_grad():
        module.weight.copy_(torch.tensor(arrays["up.weight"]))
        truth = module(torch.tensor(image)).numpy()
    last = jnp.asarray(image.transpose(0, 2, 3, 1))
    if library == "equinox":
        layer = eqx.nn.ConvTranspose2d(*channels, 3, use_bias=False, key=KEY)
        tree = {"up_transpose.weight": np.asarray(layer.weight)}

        def apply(weight):
            return eqx.tree_at(lambda c: c.weight, layer, jnp.asarray(weight))(jnp.asarray(image[0]))[None]
    elif library == "haiku":

        def forward(x):
            return hk.Conv2DTranspose(channels[1], 3, padding="VALID", with_bias=False)(x)

        net = hk.without_apply_rng(hk.transform(forward))
        tree = flat(net.init(jax.random.PRNGKey(0), last))

        def apply(weight):
            return net.apply({"conv2_d_transpose": {"w": weight}}, last).transpose(0, 3, 1, 2)
    else:
        layer = linen.ConvTranspose(
            channels[1], (3, 3), padding="VALID", use_bias=False, transpose_kernel="transposed" in library
        )
        tree = {"up_transpose.kernel": np.asarray(layer.init(KEY, last)["params"]["kernel"])}

        def apply(weight):
            return layer.apply({"params": {"kernel": weight}}, last).transpose(0, 3, 1, 2)

    (path,) = tree

    def score(found):
        made = np.asarray(apply(to_functional(arrays, found)[path]))
        return float(np.allclose(made, truth, atol=1e-4))  # two libraries round; a wrong layout is off by 1

    found = match(arrays, tree, score=score)
    assert score(found) == 1
    assert "score 1, others 0" in found.pieces[0].evidence


def test_a_tied_head_goes_where_its_table_goes():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9, bias=False)
            self.head.weight = self.embed.weight

    arrays = held(Language())
    arrays["head.weight"] = arrays["embed.weight"]
    tree = {"embed.embedding": np.ones((9, 6)), "mix.kernel": np.ones((6, 6)), "mix.bias": np.ones(6)}
    found = match(arrays, tree, tied=[["embed.weight", "head.weight"]], score=never)
    expected = {
        "embed.embedding": arrays["embed.weight"],
        "mix.kernel": arrays["mix.weight"].T,
        "mix.bias": arrays["mix.bias"],
    }
    check(found, arrays, expected)
    assert found.tied == {"imperative": (), "functional": ("embed.embedding",)}
    assert not found.left_over["imperative"]


def test_a_name_that_is_left_out_for_its_twin_still_finds_its_copy():
    arrays = {"embed.weight": np.random.default_rng(0).normal(size=(9, 6))}
    tree = {"embed.embedding": np.ones((9, 6)), "head.kernel": np.ones((6, 9))}
    found = match(arrays, tree, tied=[["embed.weight", "head.weight"]], score=never)
    check(found, arrays, {"embed.embedding": arrays["embed.weight"], "head.kernel": arrays["embed.weight"].T})
    assert found.tied["imperative"] == ("embed.weight",)
    with pytest.raises(MapError, match="differs from the others"):
        to_imperative({"embed.embedding": np.ones((9, 6)), "head.kernel": np.zeros((6, 9))}, found)


def test_a_table_stays_as_it_is_among_kernels_even_if_it_is_square():
    arrays = held(
        nn.ModuleDict({"position": nn.Embedding(8, 8), "mix": nn.Linear(8, 8), "out": nn.Linear(8, 3)})
    )
    tree = {
        "position": np.ones((8, 8)),
        "mix.w": np.ones((8, 8)),
        "mix.b": np.ones(8),
        "out.w": np.ones((8, 3)),
        "out.b": np.ones(3),
    }
    made = to_functional(arrays, match(arrays, tree, score=never))
    np.testing.assert_array_equal(made["position"], arrays["position.weight"])
    np.testing.assert_array_equal(made["mix.w"], arrays["mix.weight"].T)


def test_a_vision_transformer_finds_its_tokens_and_its_patches():
    class Vision(nn.Module):
        def __init__(self):
            super().__init__()
            self.cls_token, self.pos_embed = (
                nn.Parameter(torch.zeros(1, 1, 8)),
                nn.Parameter(torch.zeros(1, 5, 8)),
            )
            self.patch_embed = nn.Conv2d(3, 8, 4, 4)
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16)])
            self.head = nn.Linear(8, 3)

    arrays = held(Vision())
    tree = {
        "params.cls": np.ones((1, 1, 8)),
        "params.posembed.pos_embedding": np.ones((1, 5, 8)),
        "params.embedding.kernel": np.ones((4, 4, 3, 8)),
        "params.embedding.bias": np.ones(8),
        "params.head.kernel": np.ones((8, 3)),
        "params.head.bias": np.ones(3),
    }
    block = blocks_by_hand(arrays, 0)
    tree |= {f"params.Encoder.block_0.{name}": np.ones(array.shape) for name, array in block.items()}
    expected = {
        "params.cls": arrays["cls_token"],
        "params.posembed.pos_embedding": arrays["pos_embed"],
        "params.embedding.kernel": arrays["patch_embed.weight"].transpose(2, 3, 1, 0),
        "params.embedding.bias": arrays["patch_embed.bias"],
        "params.head.kernel": arrays["head.weight"].T,
        "params.head.bias": arrays["head.bias"],
    } | {f"params.Encoder.block_0.{name}": array for name, array in block.items()}
    check(match(arrays, tree, score=never), arrays, expected)


def test_patches_may_be_a_dense_layer():
    arrays = {
        "patch.weight": np.random.default_rng(0).normal(size=(8, 3, 4, 4)),
        "patch.bias": np.arange(8.0),
    }
    tree = {"patch.kernel": np.ones((48, 8)), "patch.bias": np.ones(8)}
    rows = {"channels last": (2, 3, 1, 0), "channels first": (1, 2, 3, 0)}
    for axes in rows.values():
        truth = arrays["patch.weight"].transpose(axes).reshape(48, 8)

        def score(found, truth=truth):
            return float(np.array_equal(to_functional(arrays, found)["patch.kernel"], truth))

        found = match(arrays, tree, score=score)
        assert score(found) == 1
    assert "guessed" in match(arrays, tree).pieces[0].evidence


def test_scalars_and_axes_of_one_entry_find_each_other():
    arrays = {"temperature": np.array(2.0), "scale": np.array([3.0]), "token": np.ones((1, 1, 5))}
    tree = {"scale": np.array(1.0), "temperature": np.ones((1, 1)), "token": np.ones(5)}
    made = to_functional(arrays, match(arrays, tree, score=never))
    assert (made["scale"].item(), made["temperature"].item(), made["token"].shape) == (3, 2, (5,))


def test_integers_are_no_counterparts_of_floats_and_counters_of_nothing():
    arrays = {"weight": np.ones((4, 4)), "index": np.arange(12).reshape(4, 3), "steps": np.array(3)}
    tree = {
        "table": np.arange(12).reshape(4, 3),
        "kernel": np.ones((4, 4)),
        "count": np.array(1),
        "key": np.ones(2, "u4"),
    }
    found = match(arrays, tree, score=never)
    assert {(p.imperative, p.functional) for p in found.pieces} == {("weight", "kernel"), ("index", "table")}
    assert [entry.reason for entry in found.left_over["imperative"]] == ["an integer counter"]
    assert [entry.reason for entry in found.left_over["functional"]] == ["an integer counter", "a random key"]


def test_all_that_has_no_counterpart_is_named_on_both_sides():
    arrays = held(nn.ModuleDict({"fc": nn.Linear(5, 4), "extra": nn.Linear(7, 3)}))
    tree = {"fc.kernel": np.ones((5, 4)), "scale": np.ones(11)}
    found = match(arrays, tree, score=never)
    assert [entry.name for entry in found.left_over["imperative"]] == [
        "fc.bias",
        "extra.weight",
        "extra.bias",
    ]
    assert [entry.name for entry in found.left_over["functional"]] == ["scale"]
    assert {entry.reason for entry in found.left_over["imperative"]} == {"no counterpart"}


def test_a_bias_is_no_scale_even_if_nothing_else_is_left():
    found = match({"norm.bias": np.ones(8)}, {"norm.scale": np.ones(8)}, score=never)
    assert not found.pieces


def lettered(shapes):
    return {letter: np.ones(shape) for letter, shape in zip(string.ascii_lowercase, shapes, strict=False)}


def test_letters_of_the_alphabet_are_told_by_their_shapes():
    arrays = held(Linears(5, 9, 4, 3))
    shuffled = [(9, 4), (3,), (5, 9), (9,), (4, 3), (4,)]
    found = match(arrays, lettered(shuffled), score=never)
    expected = {
        "a": arrays["layers.1.weight"].T,
        "b": arrays["layers.2.bias"],
        "c": arrays["layers.0.weight"].T,
        "d": arrays["layers.0.bias"],
        "e": arrays["layers.2.weight"].T,
        "f": arrays["layers.1.bias"],
    }
    check(found, arrays, expected)
    assert {piece.evidence for piece in found.pieces} == {"only shape that fits"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=3, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_any_network_with_distinct_shapes_is_found_under_any_names(widths, randomness):
    sizes = {*widths[1:], *(i * o for i, o in pairwise(widths))}
    assume(len(sizes) == 2 * len(widths) - 2)
    arrays = held(Linears(*widths))
    truth = {name: array.T for name, array in arrays.items()}
    names = [*truth]
    randomness.shuffle(names)
    letters = dict(zip(names, string.ascii_lowercase, strict=False))
    expected = {letters[name]: truth[name] for name in names}
    check(match(arrays, {path: np.ones(array.shape) for path, array in expected.items()}), arrays, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 4), st.randoms(use_true_random=False))
def test_the_order_of_a_tree_does_not_matter_where_names_say_enough(layers, width, randomness):
    arrays = held(Linears(*[width] * (layers + 1)))
    expected = {
        f"params.layers_{k}.{path}": arrays[f"layers.{k}.{name}"].T
        for k in range(layers)
        for path, name in (("kernel", "weight"), ("bias", "bias"))
    }
    paths = [*expected]
    randomness.shuffle(paths)
    check(
        match(arrays, {path: np.ones(expected[path].shape) for path in paths}),
        arrays,
        {p: expected[p] for p in paths},
    )


def test_the_order_of_use_tells_apart_what_names_do_not():
    arrays = held(nn.ModuleDict({name: nn.Linear(4, 4) for name in ("one", "two", "other")}))
    tree = {
        f"{name}.{kind}": np.ones((4,) * n)
        for name in ("apple", "bread", "cheese")
        for kind, n in (("bias", 1), ("kernel", 2))
    }
    order = {
        "imperative": [f"{name}.{kind}" for name in ("two", "other", "one") for kind in ("weight", "bias")],
        "functional": [
            f"{name}.{kind}" for name in ("cheese", "apple", "bread") for kind in ("kernel", "bias")
        ],
    }
    found = match(arrays, tree, order=order, score=never)
    pairs = {(p.imperative.split(".")[0], p.functional.split(".")[0]) for p in found.pieces}
    assert pairs == {("two", "cheese"), ("other", "apple"), ("one", "bread")}
    assert all("order of first use" in piece.evidence for piece in found.pieces)


def test_an_order_of_use_that_lacks_some_names_is_of_use_for_the_others():
    arrays = held(nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in ("one", "two", "unused")}))
    tree = {"p.kernel": np.ones((4, 4)), "q.kernel": np.ones((4, 4)), "unused.kernel": np.ones((4, 4))}
    order = {"imperative": ["two.weight", "one.weight"], "functional": ["p.kernel", "q.kernel"]}
    found = match(arrays, tree, order=order, score=never)
    pairs = {(p.imperative.split(".")[0], p.functional.split(".")[0]) for p in found.pieces}
    assert pairs == {("two", "p"), ("one", "q"), ("unused", "unused")}


def test_equal_names_outweigh_the_order_of_use_so_that_swapped_layers_stay_swapped():
    arrays = held(nn.ModuleDict({name: nn.Linear(4, 4) for name in ("down", "up")}))
    tree = {
        f"{name}.{kind}": np.ones((4,) * n) for name in ("down", "up") for kind, n in (("b", 1), ("w", 2))
    }
    order = {
        "imperative": [f"{name}.{kind}" for name in ("up", "down") for kind in ("weight", "bias")],
        "functional": [f"{name}.{kind}" for name in ("down", "up") for kind in ("w", "b")],
    }
    found = match(arrays, tree, order=order)
    assert all(p.imperative.split(".")[0] == p.functional.split(".")[0] for p in found.pieces)


def agreeing(arrays, expected):
    """A score that counts what is converted as it should be, and how often it was asked."""

    def score(found):
        score.calls += 1
        made = to_functional(arrays, found)
        return sum(np.array_equal(made[path], expected[path]) for path in expected)

    score.calls = 0
    return score


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_score_decides_where_nothing_else_does(order):
    arrays = held(Linears(6, 6, 6, 6))
    letters = [string.ascii_lowercase[2 * k : 2 * k + 2] for k in order]
    expected = {}
    for k, (first, second) in enumerate(letters):
        expected |= {first: arrays[f"layers.{k}.weight"].T, second: arrays[f"layers.{k}.bias"]}
    expected = dict(sorted(expected.items()))
    score = agreeing(arrays, expected)
    found = match(arrays, shapes(expected), score=score)
    check(found, arrays, expected)
    assert score.calls <= MOST_SCORES
    assert all("score" in piece.evidence for piece in found.pieces)


def test_without_a_score_what_nothing_decides_is_said_to_be_guessed():
    arrays = held(Linears(6, 6, 6))
    tree = lettered([(6, 6), (6,), (6, 6), (6,)])
    found = match(arrays, tree)
    assert len(found.guesses) == 4
    assert "c would fit as well" in next(p for p in found.pieces if p.functional == "a").evidence
    assert found.notes == ("guessed: 4 of 4 pieces; correct those that are wrong.",)


def test_a_score_that_tells_nothing_leaves_a_guess_and_says_so():
    arrays = held(Linears(6, 6, 6))
    found = match(arrays, lettered([(6, 6), (6,), (6, 6), (6,)]), score=lambda _: 7)
    assert all("guessed" in piece.evidence for piece in found.pieces)
    assert all("others score 7 too" in piece.evidence for piece in found.pieces)


def test_a_score_is_asked_no_more_often_than_it_may_be():
    arrays = held(Linears(*[6] * 15))
    calls = []
    match(
        arrays,
        lettered([(6, 6) if k % 2 == 0 else (6,) for k in range(26)]),
        score=lambda m: calls.append(m) or 0,
    )
    assert len(calls) <= MOST_SCORES


def test_one_answer_is_given_for_all_weights_of_a_name_so_that_one_used_otherwise_stays_wrong():
    arrays = held(Linears(6, 6, 6, 6))
    tree = {f"layers[{k}].w": np.ones((6, 6)) for k in range(3)} | {
        f"layers[{k}].b": np.ones(6) for k in range(3)
    }
    expected = {f"layers[{k}].w": arrays[f"layers.{k}.weight"] for k in range(3)}
    expected["layers[1].w"] = arrays["layers.1.weight"].T  # as if it were used the wrong way round
    score = agreeing(arrays, expected)
    found = match(arrays, tree, score=score)
    made = to_functional(arrays, found)
    for k in range(3):
        np.testing.assert_array_equal(made[f"layers[{k}].w"], arrays[f"layers.{k}.weight"])
    assert score.calls == 2


@pytest.mark.parametrize("library", ["flax", "haiku", "equinox"])
def test_a_single_square_weight_that_is_used_wrongly_stays_wrong(library):
    name = {"flax": "kernel", "haiku": "w", "equinox": "weight"}[library]
    arrays, tree = {"mix.weight": np.arange(9.0).reshape(3, 3)}, {f"mix.{name}": np.ones((3, 3))}
    made = to_functional(arrays, match(arrays, tree, score=never))
    truth = arrays["mix.weight"] if library == "equinox" else arrays["mix.weight"].T
    np.testing.assert_array_equal(made[f"mix.{name}"], truth)


def test_a_convention_that_others_establish_outweighs_what_a_name_means():
    arrays = held(Linears(5, 6, 6, 4))
    tree = {f"layers_{k}.kernel": np.ones(arrays[f"layers.{k}.weight"].shape) for k in range(3)}
    tree |= {f"layers_{k}.bias": np.ones(arrays[f"layers.{k}.bias"].shape) for k in range(3)}
    made = to_functional(arrays, match(arrays, tree, score=never))
    np.testing.assert_array_equal(made["layers_1.kernel"], arrays["layers.1.weight"])


def test_equal_values_decide_layout_and_pair():
    arrays = held(Linears(6, 6, 6))
    expected = dict(
        zip(
            "abcd",
            [
                arrays["layers.1.weight"],
                arrays["layers.0.bias"],
                arrays["layers.0.weight"].T,
                arrays["layers.1.bias"],
            ],
            strict=True,
        )
    )
    found = match(arrays, expected, values=True, score=never)
    check(found, arrays, expected)
    assert all(set(piece.evidence.split("; ")) == {"values agree"} for piece in found.pieces)


def test_equal_values_decide_the_order_of_gates_and_of_flattened_images():
    lstm = held(nn.LSTM(3, 4, bias=False))
    turned = {name: np.concatenate([gates(lstm[name], 4)[k] for k in (3, 1, 0, 2)]).T for name in lstm}
    check(match(lstm, turned, values=True, score=never), lstm, turned)
    dense = {"fc.weight": np.random.default_rng(0).normal(size=(5, 12))}
    rows = {"fc.kernel": dense["fc.weight"].reshape(5, 3, 4).transpose(2, 1, 0).reshape(12, 5)}
    check(match(dense, rows, values=True, score=never), dense, rows)


def test_values_that_are_all_the_same_decide_nothing():
    arrays = {"layers.0.weight": np.zeros((4, 4)), "layers.1.weight": np.zeros((4, 6))}
    tree = {"layers_0.kernel": np.zeros((4, 4)), "layers_1.kernel": np.zeros((6, 4))}
    found = match(arrays, tree, values=True, score=never)
    assert found.pieces[0].axes == (1, 0)
    assert "convention" in found.pieces[0].evidence


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_score_tells_in_which_order_an_image_is_flattened(channels_last):
    arrays = held(nn.ModuleDict({"conv": nn.Conv2d(2, 6, 3), "fc": nn.Linear(6 * 4, 5)}))
    tree = {
        "conv.kernel": np.ones((3, 3, 2, 6)),
        "conv.bias": np.ones(6),
        "fc.kernel": np.ones((24, 5)),
        "fc.bias": np.ones(5),
    }
    weight = arrays["fc.weight"]
    truth = weight.reshape(5, 6, 4).transpose(2, 1, 0).reshape(24, 5) if channels_last else weight.T
    found = match(arrays, tree, score=agreeing(arrays, {"fc.kernel": truth}))
    np.testing.assert_array_equal(to_functional(arrays, found)["fc.kernel"], truth)
    guess = next(piece for piece in match(arrays, tree).pieces if piece.functional == "fc.kernel")
    assert "guessed" in guess.evidence


def test_a_score_tells_the_order_of_gates_that_no_name_tells():
    arrays = held(nn.GRU(3, 4, bias=False))
    tree = {"cell.kernel": np.ones((3, 12)), "cell.recurrent_kernel": np.ones((4, 12))}
    r, z, n = gates(arrays["weight_ih_l0"], 3)
    truth = {"cell.kernel": np.concatenate([z, r, n]).T}
    found = match(arrays, tree, score=agreeing(arrays, truth))
    made = to_functional(arrays, found)
    np.testing.assert_array_equal(made["cell.kernel"], truth["cell.kernel"])
    r, z, n = gates(arrays["weight_hh_l0"], 3)
    np.testing.assert_array_equal(made["cell.recurrent_kernel"], np.concatenate([z, r, n]).T)


def test_a_score_tells_in_which_order_unnamed_parts_are_fused_in_all_layers_at_once():
    arrays = held(nn.ModuleDict({f"block{k}": nn.ModuleDict({"up": nn.Linear(4, 12)}) for k in range(3)}))
    expected = {}
    for k in range(3):
        gate, value = gates(arrays[f"block{k}.up.weight"], 2)[::-1]
        bias = gates(arrays[f"block{k}.up.bias"], 2)[::-1]
        for name, kernel, b in zip(("gate", "value"), (gate, value), bias, strict=True):
            expected |= {f"block{k}.{name}.kernel": kernel.T, f"block{k}.{name}.bias": b}
    score = agreeing(arrays, expected)
    check(match(arrays, shapes(expected), score=score), arrays, expected)
    assert score.calls == 2


def test_the_layout_and_the_gates_of_one_weight_may_both_be_open():
    arrays = held(nn.GRU(12, 4, bias=False))
    tree = {"cell.input": np.ones((12, 12)), "cell.state": np.ones((4, 12))}
    r, z, n = gates(arrays["weight_ih_l0"], 3)
    truth = {"cell.input": np.concatenate([z, r, n]).T}
    found = match(arrays, tree, score=agreeing(arrays, truth))
    np.testing.assert_array_equal(to_functional(arrays, found)["cell.input"], truth["cell.input"])


def test_two_questions_that_only_together_can_be_answered_are_asked_together():
    arrays = held(Linears(6, 6, 6))
    expected = {
        "a": arrays["layers.1.weight"].T,
        "b": arrays["layers.1.bias"],
        "c": arrays["layers.0.weight"].T,
        "d": arrays["layers.0.bias"],
    }
    inner = agreeing(arrays, expected)
    found = match(arrays, shapes(expected), score=lambda m: float(inner(m) == 4))
    check(found, arrays, expected)


def test_a_correction_joins_two_and_the_rest_follows():
    arrays = held(nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in ("one", "two")}))
    tree = {"apple.kernel": np.ones((4, 4)), "bread.kernel": np.ones((4, 4))}
    found = match(arrays, tree, corrections={"one.weight": "bread.kernel"}, score=never)
    pairs = {p.imperative: (p.functional, p.evidence.split(";")[0]) for p in found.pieces}
    assert pairs["one.weight"] == ("bread.kernel", "correction")
    assert pairs["two.weight"][0] == "apple.kernel"


def test_a_correction_may_leave_something_out():
    arrays, tree = {"one": np.ones(4), "two": np.ones(4)}, {"one": np.ones(4)}
    found = match(arrays, tree, corrections={"one": None}, score=never)
    assert [(p.imperative, p.functional) for p in found.pieces] == [("two", "one")]
    assert found.left_over["imperative"] == (Leftover("one", "correction"),)


def test_corrections_may_join_the_parts_of_what_is_fused():
    arrays = held(nn.MultiheadAttention(6, 2, bias=False))
    tree = {f"{name}.kernel": np.ones((6, 6)) for name in ("a", "b", "c", "out")}
    found = match(arrays, tree, corrections={"out_proj.weight": "c.kernel"}, score=lambda _: 0)
    assert next(p for p in found.pieces if p.imperative == "out_proj.weight").functional == "c.kernel"
    assert {p.functional for p in found.pieces if p.imperative == "in_proj_weight"} == {
        "a.kernel",
        "b.kernel",
        "out.kernel",
    }


@pytest.mark.parametrize(
    ("corrections", "said"),
    [
        ({"one.wieght": "apple.kernel"}, "unknown imperative array 'one.wieght'; is 'one.weight'"),
        ({"one.weight": "aple.kernel"}, "unknown functional array 'aple.kernel'; is 'apple.kernel'"),
        ({"one.weight": "bias"}, "no layout takes the one to the other"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_in_one_sentence(corrections, said):
    arrays = held(nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in ("one", "two")}))
    tree = {"apple.kernel": np.ones((4, 4)), "bread.kernel": np.ones((4, 4)), "bias": np.ones(4)}
    with pytest.raises(MapError) as refused:
        match(arrays, tree, corrections=corrections)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_map_as_a_correction_is_taken_as_it_is():
    arrays = held(Linears(4, 4, 3))
    tree = flat(LinenMLP((4, 3)).init(KEY, jnp.ones((1, 4))))
    names = {"layers.0.weight": (4, 4)}, {"params.Dense_0.kernel": (4, 4)}
    known = simple([Piece("layers.0.weight", "params.Dense_0.kernel", (0, 1))], *names)
    found = match(arrays, tree, corrections=known, score=never)
    assert (found.pieces[0].axes, found.pieces[0].evidence) == ((0, 1), "correction")
    assert len(found.pieces) == 4
    again = match(arrays, tree, corrections=found, score=never)
    assert equal(to_functional(arrays, again), to_functional(arrays, found))
    assert {piece.evidence for piece in again.pieces} == {"correction"}


def test_a_map_of_other_arrays_is_no_correction():
    piece = Piece("layers.0.weight", "params.Dense_0.kernel", (0, 1))
    other = simple([piece], {"layers.0.weight": (3, 4)}, {"params.Dense_0.kernel": (3, 4)})
    tree = flat(LinenMLP((4, 3)).init(KEY, jnp.ones((1, 4))))
    with pytest.raises(MapError, match=r"\(3, 4\); it is \(4, 4\)"):
        match(held(Linears(4, 4, 3)), tree, corrections=other)


def test_only_shapes_are_looked_at_unless_values_mean_something():
    big = np.broadcast_to(np.float32(0), (50_000, 40_000))  # eight gigabytes, if anyone looked
    found = match({"embed.weight": big}, {"embed.embedding": big}, score=never)
    assert found.pieces[0].axes == (0, 1)


def test_nothing_to_match_is_an_empty_map():
    assert match({}, {}).pieces == ()
    assert str(match({}, {})) == ""
