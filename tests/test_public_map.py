"""Maps and conversions of what users hold: a state_dict and a pytree."""

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from flax import linen, nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from torch import nn

import compare

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def expected():
    return network()(torch.from_numpy(X)).detach().numpy()


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(2)(jnp.tanh(linen.Dense(5)(x)))


class Nnx(nnx.Module):
    def __init__(self):
        self.first, self.second = (nnx.Linear(*shape, rngs=nnx.Rngs(0)) for shape in ((3, 5), (5, 2)))

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


def test_variables_of_flax_are_filled_from_a_state_dict_and_compute_the_same():
    shapes = jax.eval_shape(Linen().init, jax.random.key(0), X)
    by = compare.match(network().state_dict(), shapes)
    variables = compare.to_functional(network().state_dict(), by, like=shapes)
    assert jax.tree.structure(variables) == jax.tree.structure(shapes)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(variables))
    np.testing.assert_allclose(Linen().apply(variables, X), expected(), rtol=1e-5)


def test_a_state_of_nnx_is_filled_and_updates_its_module():
    module = Nnx()
    state = nnx.state(module)
    by = compare.match(network(), state)
    nnx.update(module, compare.to_functional(network(), by, like=state))
    np.testing.assert_allclose(module(X), expected(), rtol=1e-5)


def test_a_module_of_equinox_is_filled_as_a_whole():
    module = eqx.nn.MLP(3, 2, 5, 1, activation=jnp.tanh, key=jax.random.key(0))
    by = compare.match(network(), module)
    made = compare.to_functional(network(), by, like=module)
    assert type(made) is type(module)
    np.testing.assert_allclose(jax.vmap(made)(X), expected(), rtol=1e-5)


def test_a_module_of_torch_loads_what_a_pytree_holds():
    shapes = jax.eval_shape(Linen().init, jax.random.key(0), X)
    variables = Linen().init(jax.random.key(7), X)
    module = network()
    assert str(module.load_state_dict(compare.to_imperative(variables, compare.match(module, shapes))))
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach(), Linen().apply(variables, X), rtol=1e-5)


def test_without_a_structure_what_is_returned_is_nested_by_path():
    tree = {"layers": [{"w": np.zeros((3, 5)), "b": np.zeros(5)}, {"w": np.zeros((5, 2)), "b": np.zeros(2)}]}
    made = compare.to_functional(network(), compare.match(network(), tree))
    assert jax.tree.structure(made) == jax.tree.structure(tree)
    np.testing.assert_array_equal(made["layers"][1]["w"], network()[2].weight.detach().numpy().T)


def test_a_map_prints_is_saved_read_and_corrected(tmp_path):
    tree = {"one": np.zeros((3, 3)), "two": np.zeros((3, 3))}
    state = {"a": torch.zeros(3, 3), "b": torch.zeros(3, 3)}
    by = compare.match(state, tree, corrections={"a": "two"})
    assert {piece.imperative: piece.functional for piece in by.pieces} == {"a": "two", "b": "one"}
    assert "a (3, 3) → two (3, 3)" in str(by)
    by.save(tmp_path / "map.json")
    assert compare.Map.load(tmp_path / "map.json") == by
    again = compare.match(state, tree, corrections=compare.Map.load(tmp_path / "map.json"))
    assert [(piece.imperative, piece.functional) for piece in again.pieces] == [("a", "two"), ("b", "one")]


def test_what_is_left_over_is_listed_and_taken_from_where_one_says():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    tree = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(4, np.float32), "note": "kept"} | {
        name: jnp.ones(4) for name in ("scale", "bias", "mean", "var")
    }
    by = compare.match(module, tree)
    assert [entry.name for entry in by.left_over["imperative"]] == ["1.num_batches_tracked"]
    assert "left over on the imperative side" in str(by)
    made = compare.to_functional(module, by, like=tree)
    assert made["note"] == "kept"
    assert isinstance(made["w"], np.ndarray)
    assert "1.num_batches_tracked" not in compare.to_imperative(made, by)
    whole = compare.to_imperative(made, by, like=module)
    assert str(module.load_state_dict(whole)) == "<All keys matched successfully>"


def test_tied_tensors_are_filled_from_one_array():
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    by = compare.match(module, {"w": np.zeros((3, 3))})
    made = compare.to_imperative({"w": np.arange(9.0).reshape(3, 3)}, by)
    assert made.keys() == module.state_dict().keys()
    assert torch.equal(made["0.weight"], made["1.weight"])


def test_nothing_that_is_converted_shares_memory():
    module, tree = network(), {n: np.zeros(s) for n, s in (("w", (3, 5)), ("b", 5), ("v", (5, 2)), ("c", 2))}
    by = compare.match(module, tree)
    made = compare.to_functional(module, by, like=tree)
    back = compare.to_imperative(made, by)
    before = module.state_dict()["0.bias"].clone()
    made["b"][:] = 7
    assert torch.equal(module.state_dict()["0.bias"], before)
    assert torch.equal(back["0.bias"], before)


DTYPES = ["float16", "float32", "float64", "int64", "uint8", ml_dtypes.bfloat16]


@st.composite
def bits(draw, shape, dtype):
    """Arrays of any bits, NaNs with whatever payload among them."""
    size = np.dtype(dtype).itemsize
    return draw(nps.arrays(np.uint8, (*shape, size))).view(dtype)[..., 0]


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(DTYPES), st.booleans())
def test_the_way_there_and_back_keeps_every_bit(data, dtype, of_jax):
    names = {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (2, 5), "2.bias": (2,)}
    arrays = {name: data.draw(bits(shape, dtype)) for name, shape in names.items()}
    shapes = {"w": (3, 5), "b": (5,), "v": (5, 2), "c": (2,)}
    tree = {n: jax.ShapeDtypeStruct(s, jnp.float32) if of_jax else np.zeros(s) for n, s in shapes.items()}
    by = compare.match({name: np.zeros(shape) for name, shape in names.items()}, tree)
    there = compare.to_functional(arrays, by, like=tree)
    assert all(leaf.dtype == dtype for leaf in there.values())
    back = compare.to_imperative(there, by)
    again = compare.to_functional(back, by, like=tree)
    for name, array in arrays.items():
        assert back[name].contiguous().view(torch.uint8).numpy().tobytes() == array.tobytes()
    for name, array in there.items():
        assert np.asarray(again[name]).tobytes() == np.asarray(array).tobytes()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda s, t, m: compare.to_functional({**s, "2.bais": s["2.bias"]}, m),
            "is '2.bias' or '0.bias' meant",
        ),
        (lambda s, t, m: compare.to_functional({"0.weight": s["0.weight"]}, m), "'0.bias' is missing"),
        (lambda s, t, m: compare.to_functional(s, m, like={**t, "b": np.zeros(4)}), "'b' has the shape (4,)"),
        (lambda s, t, m: compare.to_functional(s, m, like={"w": t["w"]}), "there is no functional array"),
        (lambda s, t, m: compare.to_imperative({**t, "more": t["b"]}, m), "lists no functional array 'more'"),
        (lambda s, t, m: compare.match(s, t, corrections={"0.wieght": "w"}), "'0.wieght'"),
    ],
)
def test_what_does_not_fit_a_map_is_named_in_a_sentence(call, sentence):
    tree = {n: np.zeros(s) for n, s in (("w", (3, 5)), ("b", 5), ("v", (5, 2)), ("c", 2))}
    state = network().state_dict()
    with pytest.raises(compare.MapError) as refused:
        call(state, tree, compare.match(state, tree))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
