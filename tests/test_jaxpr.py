"""The jaxpr as a graph, by its properties: they hold with whichever jax is installed, and count nothing."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import scenarios
from functional import jaxpr
from functional.arrays import running
from functional.drawn import drawn
from functional.jaxpr import graph as graphs

HERE = Path(__file__).name
NAMES = [statement.name for statement in scenarios.ALL]
FLOATING = {"float32", "float64"}

every_scenario = pytest.mark.parametrize("name", NAMES)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
both_graphs = pytest.mark.parametrize("of", ["forward", "gradient"])


# What must hold of a graph. Each raises an AssertionError where it does not.

# Rounded at most once by whoever computes them: NumPy must find the same bits.
VALUES = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "convert_element_type": np.asarray,
    "div": np.divide,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "select_n": lambda which, *cases: np.choose(np.asarray(which, dtype=int), cases),
    "sub": np.subtract,
}

# These move entries, and neither lose one nor invent one.
MOVES = {"broadcast_in_dim", "copy", "reshape", "squeeze", "stop_gradient", "transpose"}

# What these call stands in their place.
CALLS = {"checkpoint", "closed_call", "core_call", "jit", "pjit", "remat", "remat2"}

# By operation, what flows back to each input, given what arrives at its output.
FLOWS = {
    "add": lambda g, node, a, b: (g, g),
    "convert_element_type": lambda g, node, a: (g,),
    "div": lambda g, node, a, b: (g / b, -g * a / b**2),
    "integer_pow": lambda g, node, a: (g * node.kept["y"] * a ** (node.kept["y"] - 1),),
    "max": lambda g, node, a, b: (g * ((a > b) + (a == b) / 2), g * ((b > a) + (a == b) / 2)),
    "mul": lambda g, node, a, b: (g * b, g * a),
    "neg": lambda g, node, a: (-g,),
    "reshape": lambda g, node, a: (g.reshape(a.shape),),
    "select_n": lambda g, node, which, a, b: (0 * g, g * (which == 0), g * (which == 1)),
    "squeeze": lambda g, node, a: (g.reshape(a.shape),),
    "sub": lambda g, node, a, b: (g, -g),
}


def inputs(graph, node):
    return [graph[name].value for name in node.inputs]


def in_order(graph):
    before = set()
    for node in graph.nodes:
        assert node.name not in before, "a name twice"
        assert set(node.inputs) <= before, "an input that does not stand before"
        assert bool(node.operation) == (node.kind == "operation")
        assert node.operation not in CALLS, "a call is drawn, and not what it calls"
        before.add(node.name)
    assert set(graph.outputs.values()) <= before


def typed(graph):
    for node in graph.nodes:
        for array in (node.value, node.gradient):
            assert array is None or (node.shape, node.dtype) == (array.shape, str(array.dtype)), node.name
        assert node.gradient is None or node.dtype.startswith(("float", "bfloat", "complex")), node.name


def computed(graph, roundings):
    for node in graph.nodes:
        given_to = inputs(graph, node)
        if node.operation in VALUES:
            value = VALUES[node.operation](*given_to)
            assert np.array_equal(np.asarray(value, dtype=node.dtype), node.value), node.name
        elif node.operation in MOVES:
            (value,) = given_to
            assert np.array_equal(np.unique(value), np.unique(node.value)), node.name
        elif node.operation == "integer_pow":
            power = given_to[0] ** node.kept["y"]
            bound = roundings(node, node.kept["y"]) * np.abs(power)
            assert np.all(np.abs(node.value - power) <= bound), node.name


def flowing(graph, roundings):
    """Every gradient is what arrives from whoever takes the value, and a one where the value is an output."""
    results = list(graph.outputs.values())
    lost = {node.gradient is None for node in graph.nodes if node.operation and node.dtype in FLOATING}
    assert len(lost) <= 1, "some have a gradient, and others have none"
    for node in graph.nodes:
        heads = [head for head in graph.nodes if node.name in head.inputs and head.dtype in FLOATING]
        if node.gradient is None or any(h.operation not in FLOWS or h.gradient is None for h in heads):
            continue
        terms = [np.ones(node.shape)] * results.count(node.name)
        for head in heads:
            parts = FLOWS[head.operation](head.gradient, head, *inputs(graph, head))
            for name, part in zip(head.inputs, parts, strict=True):
                if name == node.name:
                    terms += gathered(part, node.shape)
        bound = roundings(node, len(terms)) * sum(map(np.abs, terms))
        assert np.all(np.abs(sum(terms) - node.gradient) <= bound), node.name


def gathered(part, shape):
    """What flows back to an array of a shape from all that it was spread over, as arrays of that shape."""
    wide = (1,) * (part.ndim - len(shape)) + shape
    spread_over = [axis for axis, length in enumerate(wide) if length == 1]
    rest = [axis for axis, length in enumerate(wide) if length != 1]
    return list(np.transpose(part, spread_over + rest).reshape(-1, *shape))


def exactly(node, terms):
    """By how much of its terms' sizes a sum may be off where nothing is rounded."""
    return 0


def rounded(node, terms):
    """The same where each term, and each sum, is rounded: three products at most make a term."""
    return (terms + 3) * np.finfo(node.dtype).eps


def ancestors(graph):
    """What an output is computed from, by name."""
    reached = set(graph.outputs.values())
    for node in reversed(graph.nodes):
        if node.name in reached:
            reached |= set(node.inputs)
    return reached


def faithful(graph, run, leaves):
    """The outputs are what ``run`` returns."""
    wanted = jax.tree.leaves(run(**leaves))
    assert len(graph.outputs) == len(wanted)
    for node, want in zip(graph.outputs.values(), wanted, strict=True):
        assert graph[node].dtype == str(want.dtype)
        assert np.array_equal(graph[node].value, want), node


def hanging(graph, run, leaves):
    """A leaf that moves an output is one of its ancestors."""
    wanted = jax.tree.leaves(run(**leaves))
    for name, leaf in leaves.items():
        moved = jax.tree.leaves(run(**{**leaves, name: leaf + 1}))
        if not all(np.array_equal(a, b) for a, b in zip(moved, wanted, strict=True)):
            assert name in ancestors(graph), name


def differentiated(graph, run, leaves, by):
    """The leaves that one differentiates by have the gradient that jax.grad finds, and no other has one."""
    gradients = slopes(run, by, leaves)
    for name in leaves:
        assert (graph[name].kind == "leaf") == (name in by)
        if name in gradients:
            assert np.array_equal(graph[name].gradient, gradients[name]), name
        else:
            assert graph[name].gradient is None


def slopes(run, by, leaves):
    """The gradient of the sum of the outputs; empty where there is no reverse mode."""

    def total(moving):
        outputs = jax.tree.leaves(run(**{**leaves, **moving}))
        return sum(jnp.sum(output) for output in outputs if str(output.dtype) in FLOATING)

    try:
        return jax.grad(total)({name: leaves[name] for name in by})
    except ValueError as error:
        assert "Reverse-mode differentiation does not work" in str(error)  # noqa: PT017
        return {}


def plain(graph, draw):
    """The text is the same whenever the graph is drawn, and holds nothing of the process."""
    with mock.patch.object(graphs, "_cotangents", return_value={}):  # the text has none, and they take long
        assert draw().text() == graph.text()
    assert not re.search(r"0x| at ", graph.text())


def written_in(graph, *files):
    """Every operation names its line."""
    for node in graph.nodes:
        file, _, line = node.source.partition(":")
        assert (file in files and int(line) > 0) if node.operation else node.source == "", node.name


def hold(graph, run, leaves, by, roundings=exactly):
    in_order(graph)
    typed(graph)
    computed(graph, roundings)
    faithful(graph, run, leaves)
    if graph.of == "forward":
        hanging(graph, run, leaves)
        flowing(graph, roundings)
        differentiated(graph, run, leaves, by)


# The note's P = Q² at a = 2, b = 8, with Q = −16: value and gradient of a, a³, b, 3b, Q and P.
TRUTH = [(2, -384), (8, -32), (8, 96), (24, 32), (-16, -32), (256, 1)]


def composed(a, b):
    return (a**3 - 3 * b) ** 2


def test_every_value_and_cotangent_is_that_of_the_closed_form():
    with running("float64", "cpu"):
        graph = jaxpr.draw(composed, jnp.array([2.0]), jnp.array([8.0]))
    told = [(n.value.item(), n.gradient.item()) for n in graph.nodes if n.kind != "constant"]
    assert sorted(told) == sorted(TRUTH)
    assert graph.outputs == {"output": "output"}


def line_of(function, after=1):
    return f"{HERE}:{function.__code__.co_firstlineno + after}"


def test_a_function_that_is_jitted_is_drawn_in_its_place():
    @jax.jit
    def square(x):
        return x * x

    with running("float64", "cpu"):
        graph = jaxpr.draw(lambda x: square(x) + 1, jnp.array([3.0]))
    (product,) = [n for n in graph.nodes if n.operation == "mul"]
    assert product.group == ("square",)
    assert graph["x"].gradient.item() == 6


def test_a_function_with_a_derivative_of_its_own_is_one_operation_with_that_derivative():
    with running("float64", "cpu"):
        graph = jaxpr.draw(jax.nn.relu, jnp.array([-1.0, 0.0, 2.0]))
    assert (graph["output"].operation, graph["output"].inputs) == ("relu", ("x",))
    assert graph["x"].gradient.tolist() == [0, 0, 1]  # max(x, 0) alone would have 0.5 at 0


def test_a_loop_and_a_choice_are_one_operation_each():
    def function(x):
        looped, _ = lax.scan(lambda c, _: (2 * c, None), x, length=3)
        return lax.cond(x > 0, lambda v: v, lambda v: -v, looped)

    with running("float64", "cpu"):
        graph = jaxpr.draw(function, jnp.array(3.0))
    assert {"scan", "cond"} <= {n.operation for n in graph.nodes}
    assert graph["output"].value == 24
    assert graph["x"].gradient == 8


@pytest.mark.parametrize(
    "function",
    [
        lambda x: lax.while_loop(lambda v: v < 10, lambda v: 2 * v, x),
        lambda x: x + jax.random.normal(jax.random.key(0), ()),
        lambda x: jnp.exp(1j * x),
    ],
)
def test_what_jax_cannot_differentiate_backwards_is_drawn_without_cotangents_or_with(function):
    with running("float64", "cpu"):
        graph = jaxpr.draw(function, jnp.array(3.0))
        assert np.allclose(graph["output"].value, function(jnp.array(3.0)))


@pytest.mark.parametrize("still", [lambda x: jnp.ones(2).sum(), lambda x: lax.stop_gradient(2 * x)])
def test_a_loop_that_no_leaf_moves_takes_no_gradient_away(still):
    def function(x):
        return x * lax.while_loop(lambda v: v < 10, lambda v: 2 * v, still(x))

    with running("float64", "cpu"):
        graph = jaxpr.draw(function, jnp.array(1.0))
    assert (graph["output"].value, graph["x"].gradient) == (16, 16)


def test_a_leaf_to_differentiate_by_that_does_not_exist_is_named():
    with running("float64", "cpu"), pytest.raises(ValueError, match="no leaf is called axb: there are a, b"):
        jaxpr.draw(composed, jnp.array([2.0]), jnp.array([8.0]), by=["a", "axb"])


def test_only_what_one_asks_for_is_differentiated_by():
    with running("float64", "cpu"):
        values = {"a": jnp.array(2.0), "k": jnp.array(3), "x": jnp.array(5.0)}
        graph = jaxpr.draw(lambda t: t["a"] * t["x"] * t["k"], values, by=["a"])
        assert [graph[name].kind for name in ("a", "k", "x")] == ["leaf", "constant", "constant"]
        assert (graph["a"].gradient, graph["x"].gradient) == (15, None)
        slopes = jaxpr.draw(lambda t: t["a"] * t["x"] * t["k"], values, by=["a"], of="gradient")
        assert list(slopes.outputs) == ["da"]
        with pytest.raises(ValueError, match="nothing to differentiate by: choose of a, k, x"):
            jaxpr.draw(lambda t: t["k"], values, by=["k"])


def test_an_output_that_is_an_argument_or_a_number_is_drawn():
    with running("float64", "cpu"):
        graph = jaxpr.draw(lambda a: (a, 1.0, a * a), jnp.array(3.0))
    assert {n: float(graph[node].value) for n, node in graph.outputs.items()} == {
        "output[0]": 3,
        "output[1]": 1,
        "output[2]": 9,
    }


def test_the_wrong_number_of_names_is_refused():
    with running("float64", "cpu"), pytest.raises(ValueError, match="1 names for 2 leaves: a"):
        jaxpr.draw(composed, jnp.array([2.0]), jnp.array([8.0]), names=["a"])


@pytest.mark.parametrize(
    ("leaves", "outputs"),
    [
        ({"a": 2.0, "%1": 3.0, "%3": 5.0}, lambda t: {"b": 2 * t["a"], "output": {"b": 3 * t["%1"]}}),
        ({"a": [2.0], "a[0]": 3.0}, lambda t: {"c": [2 * t["a"][0]], "c[0]": 3 * t["a[0]"]}),
        ({"t": {"a": 2.0}, "a": 3.0}, lambda t: {"%1": 2 * t["t"]["a"], "t": 3 * t["a"]}),
    ],
)
def test_whatever_leaves_and_outputs_are_called_none_is_lost(leaves, outputs):
    with running("float64", "cpu"):
        graph = jaxpr.draw(outputs, leaves)
        slope = jaxpr.draw(outputs, leaves, of="gradient")
    in_order(graph)
    assert sorted(float(graph[node].value) for node in graph.outputs.values()) == [4, 9]
    assert {float(node.gradient) for node in graph.nodes if node.kind == "leaf"} >= {2, 3}
    assert {float(slope[node].value) for node in slope.outputs.values()} >= {2, 3}
    assert len(slope.outputs) == len(jax.tree.leaves(leaves))


def test_what_a_library_traced_for_somebody_else_names_the_line_that_calls_it_now():
    def one(x):
        return jnp.where(x > 0, jax.nn.softmax(x), x)

    def other(x):
        return jnp.where(x > 0, jax.nn.softmax(x), x)

    with running("float64", "cpu"):
        for function in (one, other):
            graph = jaxpr.draw(function, jnp.array([1.0, -2.0]))
            sources = {node.source for node in graph.nodes if node.kind == "operation"}
            assert sources == {line_of(function)}


# The nine scenarios.


def scenario(name, of, dtype):
    """The graph that is drawn of a scenario, the function that it is drawn of, and its leaves by name."""
    with mock.patch.object(jaxpr, "draw", wraps=jaxpr.draw) as draw:
        graph = drawn(scenarios.get(name), of, dtype=dtype)
    (function, *arguments), options = draw.call_args
    options = {key: option for key, option in options.items() if key not in {"of", "by"}}
    flat, shape = jax.tree.flatten_with_path((arguments, options))
    names = [path[-1].key for path, _ in flat]

    def by_name(**leaves):
        positional, options = jax.tree.unflatten(shape, [leaves[key] for key in names])
        return function(*positional, **options)

    return graph, by_name, {key: leaf for key, (_, leaf) in zip(names, flat, strict=True)}


@every_scenario
@both_dtypes
@both_graphs
def test_every_property_holds_of_every_scenario(name, dtype, of):
    graph, function, leaves = scenario(name, of, dtype)
    by = sorted(scenarios.get(name).start)
    run = function if of == "forward" else lambda **leaves: slopes(function, by, leaves)
    # Each operation by itself, as the graph runs them: then nothing may differ by a bit.
    with running(dtype, "cpu"), jax.disable_jit():
        hold(graph, run, leaves, by, rounded)
    plain(graph, partial(drawn, scenarios.get(name), of, dtype=dtype))
    if of == "forward":
        written_in(graph, f"{name}.py", "drawn.py")
    else:
        assert set(graph.outputs) == {f"d{key}" for key in by}


def truths(statement):
    """Values by output and gradients by leaf: closed forms, or complex steps through the objective."""
    last = {"graph_walk": "Q", "chain_rule": "P", "root_finding": "P"}.get(statement.name, "loss")
    values = {key.removeprefix("values."): value for key, value in statement.truth.items()}
    values["output"] = values.get(last)
    gradients = {
        key.removeprefix("gradients."): value
        for key, value in statement.truth.items()
        if key.startswith("gradients.")
    }
    if statement.name == "leaves":  # a and its square are both outputs
        gradients = {"a": 1 + 2 * statement.start["a"]}
    if statement.name == "activations":  # all three are
        gradients = {"x": sum(gradients.values())}
    if statement.objective is not None:
        gradients = complex_steps(statement) | gradients
    return values, gradients


def complex_steps(statement):
    """The derivative of the objective by every entry, without a difference that could cancel."""
    gradients = {}
    for key, start in statement.start.items():
        gradients[key] = np.empty_like(start)
        for index in np.ndindex(start.shape):
            moved = np.array(start, dtype=complex)
            moved[index] += 1e-200j
            gradients[key][index] = statement.objective({**statement.start, key: moved}).imag / 1e-200
    return gradients


@every_scenario
@both_dtypes
def test_values_and_gradients_of_every_scenario_are_the_statements_truth(name, dtype):
    statement = scenarios.get(name)
    graph = drawn(statement, dtype=dtype)
    values, gradients = truths(statement)
    # Fewer than a thousand roundings lie between a leaf and a loss of the note's.
    share = 1000 * np.finfo(dtype).eps
    for key, node in graph.outputs.items():
        if key not in {"a", "c"}:  # the leaves themselves
            assert np.max(np.abs(graph[node].value - values[key])) <= share * np.max(np.abs(values[key]))
    largest = max(np.max(np.abs(gradients[key])) for key in statement.start)
    for key in statement.start:
        assert np.max(np.abs(graph[key].gradient - gradients[key])) <= share * largest


# Programs drawn at random. All numbers in them are small integers or halves of them, and sums and products of
# those are exact: however jit fuses them, no bit may differ, neither of a value nor of a gradient.


def doubled(x, n):
    return 2 * x


def raised(x, n):
    return x + 1


def turned(x, n):
    return -x


def squared(x, n):
    return x**2


def times(x, n):
    return x * n


def folded(x, n):
    return jnp.where(x > 0, x, -x)


def rectified(x, n):
    return jax.nn.relu(x)


def largest(x, n):
    return jnp.maximum(x, 0)


def spread(x, n):
    return x + x.sum()


def looked_up(x, n):
    return x * jnp.asarray(TABLE, x.dtype)[n]


def counted(x, n):
    return x * lax.while_loop(lambda c: c < 2, lambda c: c + 2, n)


def frozen(x, n):
    return x + lax.while_loop(lambda c: c.sum() < 0, lambda c: -c, lax.stop_gradient(x))


def repeated(x, n):
    return lax.while_loop(lambda c: c.sum() < 0, lambda c: -c, x)


TABLE = np.array([0.0, 1.0, 2.0])
SIMPLE = (
    doubled,
    raised,
    turned,
    squared,
    times,
    folded,
    rectified,
    largest,
    spread,
    looked_up,
    counted,
    frozen,
    repeated,  # nothing before it has a gradient
)


def chained(f, g):
    return lambda x, n: g(f(x, n), n)


def added(f, g):
    return lambda x, n: f(x, n) + g(x, n)


def multiplied(f, g):
    return lambda x, n: f(x, n) * g(x, n)


def chosen(f, g):
    return lambda x, n: lax.cond(x.sum() > 0, f, g, x, n)


def jitted(f):
    return jax.jit(f)


def saved(f):
    return jax.checkpoint(f)


def mapped(f):
    return jax.vmap(f, in_axes=(0, None))


def mapped_over_a_number(f):
    return lambda x, n: mapped(f)(jnp.atleast_1d(x), n).reshape(x.shape)


def looped(f):
    def function(x, n):
        last, stacked = lax.scan(lambda c, _: (f(c, n), c), x, length=2)
        return last + stacked.sum(axis=0)

    return function


def own_reverse(f):
    """``f`` with a derivative that is not its own, by which one knows whose was taken."""
    own = jax.custom_vjp(f)
    own.defvjp(lambda x, n: (f(x, n), None), lambda _, g: (3 * g, None))
    return own


def own_forward(f):
    own = jax.custom_jvp(f)
    own.defjvp(lambda primals, tangents: (own(*primals), 3 * tangents[0]))
    return own


ALONE = (jitted, saved, mapped_over_a_number, looped, own_reverse, own_forward)
PAIRED = (chained, added, multiplied, chosen)


def built(tree):
    return tree if callable(tree) else tree[0](*map(built, tree[1:]))


def combined(parts):
    return st.tuples(st.sampled_from(ALONE), parts) | st.tuples(st.sampled_from(PAIRED), parts, parts)


# Two levels: a third could leave what float32 holds exactly.
simple = st.sampled_from(SIMPLE)
trees = combined(simple | combined(simple))
numbers = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
precisions = st.sampled_from([("float32", "float32"), ("float32", "float64"), ("float64", "float64")])


def program(first, second, kept):
    """Of two vectors and an integer; what is computed and not kept is a part of the program all the same."""

    def function(x, y, n):
        results = {"first": built(first)(x, n), "second": built(second)(x * y, n), "third": n}
        return {key: results[key] for key in kept}

    return function


def whole(function, leaves, dtype):
    """Draw a function that this file wrote, and check all of it."""
    graph = jaxpr.draw(function, *leaves.values())
    for node in graph.nodes:  # otherwise something was rounded after all
        for array in (node.value, node.gradient):
            assert array is None or np.max(np.abs(array), initial=0) < 2 ** np.finfo(dtype).nmant
    hold(graph, jax.jit(function), leaves, ["x", "y"])
    plain(graph, partial(jaxpr.draw, function, *leaves.values()))
    written_in(graph, HERE)
    return graph


@settings(max_examples=20, deadline=None)
@given(
    trees,
    simple,
    st.sampled_from([("first",), ("second", "third"), ("first", "second")]),
    numbers,
    numbers,
    st.integers(-2, 2),
    precisions,
)
def test_every_property_holds_of_random_programs(first, second, kept, x, y, n, precision):
    dtype, running_in = precision
    with running(running_in, "cpu"):
        leaves = {"x": jnp.array(x, dtype), "y": jnp.array(y, dtype), "n": jnp.array(n)}
        graph = whole(program(first, second, kept), leaves, dtype)
    for operation, function in {"integer_pow": squared, "relu": rectified}.items():
        sources = {node.source for node in graph.nodes if node.operation == operation}
        assert sources <= {line_of(function)}


@settings(max_examples=20, deadline=None)
@given(trees, simple, numbers, numbers, st.integers(-2, 2))
def test_what_moves_with_a_leaf_depends_on_it_in_the_traced_program(first, second, x, y, n):
    function = program(first, second, ("first", "second", "third"))
    leaves = {"x": jnp.array(x), "y": jnp.array(y), "n": jnp.array(n)}
    traced = jaxpr.trace(function, **leaves)
    before = function(**leaves)
    for name, leaf in leaves.items():
        after = function(**{**leaves, name: leaf + 1})
        moved = {traced.outputs[key] for key in before if not np.array_equal(before[key], after[key])}
        assert moved <= traced.depends_on({name})


# What the properties are worth: what is damaged does not hold.


def studied(x, y, n):
    q = x**3 - 3 * y
    kept = jnp.where(x > 0, x, -x)
    return {"p": jax.jit(lambda v: v * v)(q) + kept, "q": q * n}


STUDIED = {"x": [1.0, 2.0, -1.0], "y": [2.0, -1.0, 1.0], "n": 2}


def damaged(graph, node, **what):
    return replace(graph, nodes=tuple(replace(n, **what) if n is node else n for n in graph.nodes))


# By what is wrong: graphs in which that is wrong at one place each.
DAMAGES = {
    "a gradient is another": lambda graph: [
        damaged(graph, node, gradient=np.asarray(node.gradient + 1))
        for node in graph.nodes
        if node.gradient is not None
    ],
    "a gradient is lost": lambda graph: [
        damaged(graph, node, gradient=None) for node in graph.nodes if node.gradient is not None
    ],
    "a value is another": lambda graph: [
        damaged(graph, node, value=np.asarray(node.value + 1))
        for node in graph.nodes
        if node.dtype == "float64"
    ],
    "two edges are swapped": lambda graph: [
        damaged(graph, node, inputs=(*node.inputs[:-2], *node.inputs[:-3:-1]))
        for node in graph.nodes
        if node.operation in {"gt", "select_n", "sub"}
    ],
    "an edge comes from elsewhere": lambda graph: [
        damaged(graph, node, inputs=("y", *node.inputs[1:]))
        for node in graph.nodes
        if node.operation in {"add", "integer_pow", "mul", "sub"} and node.inputs[0] != "y"
    ],
    "an edge comes from a later node": lambda graph: [
        damaged(graph, node, inputs=("q", *node.inputs[1:])) for node in graph.nodes if node.inputs
    ],
    "two nodes have one name": lambda graph: [
        damaged(graph, node, name=graph.nodes[0].name) for node in graph.nodes[1:]
    ],
    "a type is another": lambda graph: [damaged(graph, node, dtype="float16") for node in graph.nodes],
    "a shape is another": lambda graph: [
        damaged(graph, node, shape=(*node.shape, 1)) for node in graph.nodes
    ],
    "the outputs are exchanged": lambda graph: [replace(graph, outputs={"p": "q", "q": "p"})],
    "an output is lost": lambda graph: [replace(graph, outputs={"p": "p"})],
    "a leaf is cut off": lambda graph: [
        replace(
            graph,
            nodes=tuple(
                replace(node, inputs=(), operation="", kind="constant") if leaf in node.inputs else node
                for node in graph.nodes
            ),
        )
        for leaf in STUDIED
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_graph_that_is_damaged_anywhere_is_caught(damage):
    with running("float64", "cpu"):
        leaves = {name: jnp.array(value) for name, value in STUDIED.items()}
        graph = whole(studied, leaves, "float64")
        wrongs = DAMAGES[damage](graph)
        assert wrongs
        for wrong in wrongs:
            with pytest.raises(AssertionError):
                hold(wrong, jax.jit(studied), leaves, ["x", "y"])


# By the name of a part of the module: a wrong one for it, or one that is made of the right one.
MUTANTS = {
    "_cotangents": lambda right: lambda *given: {of: 2 * found for of, found in right(*given).items()},
    "floating": lambda right: lambda leaf: right(leaf) or str(jnp.result_type(leaf)).startswith("int"),
    "_free": lambda right: lambda name, others, taken: "q" if name == "%5" else name,
    "called": lambda right: lambda equation: None,
    "operation": lambda right: lambda equation: f"{right(equation)} at {id(equation):#x}",
    "_users": lambda right: lambda *given: iter([""]),
    "_total": lambda right: lambda tree: -right(tree),
}


@pytest.mark.parametrize("part", MUTANTS)
def test_a_module_that_is_wrong_in_one_part_is_caught(part, monkeypatch):
    monkeypatch.setattr(graphs, part, MUTANTS[part](getattr(graphs, part)))
    with running("float64", "cpu"):
        leaves = {name: jnp.array(value) for name, value in STUDIED.items()}
        with pytest.raises((AssertionError, TypeError)):
            whole(studied, leaves, "float64")
