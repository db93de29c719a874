"""The tape and the jaxpr as graphs: values and gradients are true, and the two are laid beside each other."""

from pathlib import Path
from xml.etree import ElementTree as ET

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import scenarios
from compare.graph_formats import FORMATS, placed
from compare.graphs import align, drawn
from functional import jaxpr
from functional.arrays import running
from imperative import tape
from scenarios.graph import Graph, Node
from scenarios.layout import layout


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def composed(a, b):
    return (a**3 - 3 * b) ** 2


# The note's P = Q² at a = 2, b = 8, with Q = −16: value and gradient of every step, in the order of the data.
TRUTH = {"a": (2, -384), "a³": (8, -32), "b": (8, 96), "3b": (24, 32), "Q": (-16, -32), "P": (256, 1)}


def told(graph):
    return [(n.value.item(), n.gradient.item()) for n in graph.nodes if n.kind != "constant"]


def test_every_value_and_gradient_of_a_tape_is_that_of_the_closed_form():
    graph = tape.draw(composed, leaf(2.0), leaf(8.0))
    assert told(graph) == list(TRUTH.values())
    assert [node.name for node in graph.nodes] == ["a", "%1", "b", "%3", "%4", "output"]


@pytest.mark.parametrize("draw", ["tape", "jaxpr"])
def test_the_gradient_function_is_drawn_and_computes_the_gradient(draw):
    if draw == "tape":
        graph = tape.draw(composed, leaf(2.0), leaf(8.0), of="gradient")
    else:
        with running("float64", "cpu"):
            graph = jaxpr.draw(composed, jnp.array([2.0]), jnp.array([8.0]), of="gradient")
    assert {name: graph[node].value.item() for name, node in graph.outputs.items()} == {"da": -384, "db": 96}
    assert graph.of == "gradient"


def test_a_tensor_is_drawn_with_the_names_that_one_gives():
    a, b = leaf(2.0), leaf(8.0)
    Q = a**3 - 3 * b
    graph = tape.draw(Q**2, names={a: "a", b: "b", Q: "Q"})
    assert graph["Q"].inputs == ("%1", "%3")
    assert graph["Q"].gradient.item() == -32
    assert graph["%1"].kept["exponent"] == 3


def test_drawing_changes_no_grad_and_leaves_the_tape_to_the_backward():
    a = leaf(2.0)
    a.grad = torch.tensor([5.0], dtype=torch.float64)
    P = a**2
    tape.draw(P)
    tape.draw(P, of="gradient")
    assert a.grad.item() == 5
    P.backward()
    assert a.grad.item() == 9


def test_a_tape_that_has_been_freed_still_shows_its_structure():
    a = leaf(2.0)
    P = (a * a).exp()
    before = tape.draw(P)
    P.backward()
    after = tape.draw(P)
    assert [n.operation for n in after.nodes] == [n.operation for n in before.nodes]
    assert after.nodes[0].value.item() == 2
    assert all(node.gradient is None for node in after.nodes)
    assert after.nodes[1].value is None  # what nobody saw, or saved
    assert after.nodes[-1].value.item() == pytest.approx(np.exp(4))  # the tensor itself
    assert "result" in before.nodes[-1].kept
    assert "result" not in after.nodes[-1].kept


@pytest.mark.parametrize("target", [leaf(2.0), torch.ones(2), lambda: torch.ones(2), lambda: 3])
def test_what_was_not_recorded_cannot_be_drawn(target):
    with pytest.raises(ValueError, match="nothing was recorded"):
        tape.draw(target)


def test_a_constant_gradient_has_no_tape():
    with pytest.raises(ValueError, match="the gradient is constant"):
        tape.draw(lambda a: 3 * a, leaf(2.0), of="gradient")


def test_names_are_the_same_whenever_a_graph_is_drawn():
    texts = {tape.draw(composed, leaf(2.0), leaf(8.0)).text() for _ in range(3)}
    assert len(texts) == 1
    assert "0x" not in texts.pop()


def test_a_tape_of_ten_thousand_steps_is_drawn():
    a = leaf(1.0)
    value = a
    for _ in range(10_000):
        value = value + 1
    assert len(tape.draw(value).nodes) == 10_001


def test_a_gradient_that_flows_along_two_ways_is_their_sum():
    graph = tape.draw(lambda a: (a**2) * (a**2), leaf(3.0))
    with running("float64", "cpu"):
        other = jaxpr.draw(lambda a: (b := a**2) * b, jnp.array([3.0]))
    assert [n.gradient.item() for n in graph.nodes] == [108, 9, 9, 1]
    assert [n.gradient.item() for n in other.nodes] == [108, 18, 1]


def test_each_result_of_an_operation_has_its_own_value_gradient_and_name():
    def weighed(a):
        one, two = a.unbind()
        return 10 * one + 100 * two

    graph = tape.draw(weighed, leaf(1.0, 2.0))
    parts = [n for n in graph.nodes if n.operation == "UnbindBackward0"]
    assert [(n.value.item(), n.gradient.item()) for n in parts] == [(1, 10), (2, 100)]
    assert graph["a"].gradient.tolist() == [10, 100]
    apart = tape.draw(lambda a: a.unbind(), leaf(1.0, 2.0))
    assert [apart[node].value.item() for node in apart.outputs.values()] == [1, 2]


def test_a_result_that_nothing_depends_on_is_no_part_of_the_graph():
    graph = tape.draw(lambda a: a.unbind()[1], leaf(1.0, 2.0))
    assert [n.operation for n in graph.nodes] == ["", "UnbindBackward0"]
    assert graph["a"].gradient.tolist() == [0, 1]


def test_drawing_runs_no_hook_and_adds_nothing_to_a_gradient_that_is_retained():
    a = leaf(2.0)
    Q = a**3
    Q.retain_grad()
    P = Q**2
    ran = []
    P.register_hook(ran.append)
    for of in ("forward", "gradient", "forward"):
        tape.draw(P, of=of)
    assert Q.grad is None
    assert ran == []
    P.backward()
    assert Q.grad.item() == 16


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.variable = x
        return 2 * x, 3 * x

    @staticmethod
    def backward(ctx, one, two):
        return 2 * one + 3 * two


def test_a_function_of_the_users_is_an_operation_with_its_own_derivative():
    graph = tape.draw(lambda x: Doubled.apply(x)[1], leaf(5.0))
    assert [n.operation for n in graph.nodes] == ["", "DoubledBackward"]
    assert (graph["x"].gradient.item(), graph["output"].value.item()) == (3, 15)


def test_what_was_broadcast_has_a_gradient_of_its_own_shape():
    graph = tape.draw(lambda a, x: (a * x).sum(), leaf(2.0), torch.arange(4.0, dtype=torch.float64))
    assert graph["a"].gradient.tolist() == [6]


def test_parameters_of_the_same_name_are_told_apart_by_their_argument():
    one, two = (nn.Linear(2, 1) for _ in range(2))
    graph = tape.draw(lambda p, q, x: p(x) * q(x), one, two, torch.ones(1, 2), of="gradient")
    assert set(graph.outputs) == {f"d{m}.{k}" for m in "pq" for k in ("weight", "bias")}
    with running("float64", "cpu"):
        other = jaxpr.draw(lambda p, q: p["w"] * q["w"], {"w": 2.0}, {"w": 3.0}, of="gradient")
    assert {name: float(other[node].value) for name, node in other.outputs.items()} == {"dp.w": 3, "dq.w": 2}


def test_a_tape_that_has_been_freed_has_no_gradient_to_draw():
    P = leaf(2.0) ** 3
    P.backward()
    with pytest.raises(ValueError, match="the tape has been freed"):
        tape.draw(P, of="gradient")


def test_bfloat16_and_conjugates_can_be_drawn():
    half = tape.draw(lambda a: a * a, leaf(3.0).detach().bfloat16().requires_grad_())
    assert (half["output"].dtype, half["output"].value.item(), half["a"].gradient.item()) == (
        "bfloat16",
        9,
        6,
    )
    z = torch.tensor([1 + 2j], requires_grad=True)
    assert tape.draw(lambda z: z.conj().imag * z.conj().imag, z)["output"].value.item() == 4


def test_a_module_names_its_parameters_and_groups_what_it_computes():
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    graph = tape.draw(network, torch.ones(1, 2))
    assert {"0.weight", "0.bias"} <= {node.name for node in graph.nodes}
    assert graph["output"].group == ("Sequential", "1")
    assert [n.group for n in graph.nodes if n.operation.startswith("Addmm")] == [("Sequential", "0")]


def test_a_module_that_raises_leaves_no_hook_behind():
    class Wrong(nn.Module):
        def forward(self, x):
            raise OSError(x)

    before = len(nn.modules.module._global_forward_pre_hooks)
    with pytest.raises(OSError, match="no"):
        tape.draw(Wrong(), "no")
    assert len(nn.modules.module._global_forward_pre_hooks) == before


def here():
    return __file__.rpartition("/")[2]


def test_the_line_that_computed_a_value_is_told_on_either_side():
    graph = tape.draw(composed, leaf(2.0), leaf(8.0))
    with running("float64", "cpu"):
        other = jaxpr.draw(composed, jnp.array([2.0]), jnp.array([8.0]))
    line = composed.__code__.co_firstlineno + 1
    assert {n.source for g in (graph, other) for n in g.nodes if n.kind == "operation"} == {
        f"{here()}:{line}"
    }


def test_outputs_keep_their_names_on_either_side():
    def both(a):
        return {"twice": 2 * a, "parts": (a * a, {"deep": a + 1})}

    graph = tape.draw(both, leaf(3.0))
    with running("float64", "cpu"):
        other = jaxpr.draw(both, jnp.array([3.0]))
    for one in (graph, other):
        assert {n: one[node].value.item() for n, node in one.outputs.items()} == {
            "twice": 6,
            "parts[0]": 9,
            "parts[1].deep": 4,
        }


OPERATIONS = {
    "sin": (torch.sin, jnp.sin),
    "exp": (torch.exp, jnp.exp),
    "tanh": (torch.tanh, jnp.tanh),
    "square": (lambda x: x * x, lambda x: x * x),
    "shift": (lambda x: x + 0.5, lambda x: x + 0.5),
}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=6), st.floats(-1, 1))
def test_both_sides_draw_the_same_values_and_gradients_for_random_chains(chain, start):
    def left(x):
        for name in chain:
            x = OPERATIONS[name][0](x)
        return x

    def right(x):
        for name in chain:
            x = OPERATIONS[name][1](x)
        return x

    graph = tape.draw(left, leaf(start))
    with running("float64", "cpu"):
        other = jaxpr.draw(right, jnp.array([start]))
    steps = [[n for n in g.nodes if n.kind != "constant"] for g in (graph, other)]
    assert len(steps[0]) == len(steps[1]) == len(chain) + 1
    for a, b in zip(*steps, strict=True):
        assert np.allclose(a.value, b.value, rtol=1e-12)
        assert np.allclose(a.gradient, b.gradient, rtol=1e-12)


@pytest.mark.parametrize("name", [statement.name for statement in scenarios.ALL])
def test_the_gradients_at_the_leaves_of_every_scenario_are_those_of_both_sides_twins(name):
    graphs = drawn(name).graphs
    for side, graph in graphs.items():
        module = __import__(f"{side}.{name}", fromlist=["run"])
        result = module.run(scenarios.get(name), dtype="float64", device="cpu")
        for leaf_name in scenarios.get(name).start:
            if leaf_name in result.gradients:
                node = graph[leaf_name]
                assert np.allclose(node.gradient, result.gradients[leaf_name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("of", ["forward", "gradient"])
@pytest.mark.parametrize("name", [statement.name for statement in scenarios.ALL])
def test_every_node_of_every_scenario_has_a_twin_or_a_reason(name, of):
    aligned = drawn(name, of)
    for side, graph in aligned.graphs.items():
        for node in graph.nodes:
            assert (node.name in aligned.twins[side]) != (node.name in aligned.alone[side])
    assert set(aligned.graphs["imperative"].outputs.values()) <= aligned.twins["imperative"].keys()


def one(name, value, gradient, *inputs, kind="operation", side="imperative"):
    array = np.asarray(value, dtype=float)
    slope = None if gradient is None else np.asarray(gradient, dtype=float)
    return Node(name, "op", kind, inputs, array.shape, "float64", array, slope)


def test_of_two_nodes_with_the_same_value_the_one_with_the_same_gradient_is_the_twin():
    left = Graph("imperative", "forward", (one("a", 8, 1), one("b", 8, 2)), {})
    right = Graph("functional", "forward", (one("x", 8, 2), one("y", 8, 1)), {})
    aligned = align(left, right)
    assert aligned.twins["imperative"] == {"a": "y", "b": "x"}
    assert aligned.twins["functional"] == {"x": "b", "y": "a"}


def test_values_are_found_again_transposed_and_flattened_and_not_if_one_entry_differs():
    matrix = np.arange(6.0).reshape(2, 3)
    other = matrix.copy()
    other[0, 0] = 1e-3
    start = one("x", 0, None, kind="leaf")
    left = Graph(
        "imperative", "forward", (start, one("m", matrix, None, "x"), one("n", other, None, "x")), {}
    )
    flat = (one("t", matrix.T, None, "x"), one("f", matrix.ravel(), None, "x"))
    right = Graph("functional", "forward", (start, *flat), {})
    aligned = align(left, right)
    assert set(aligned.twins["imperative"]) == {"x", "m"}
    assert aligned.alone["imperative"] == {"n": "the other side computes no such value"}
    assert set(aligned.twins["functional"]) == {"x", "t", "f"}


def test_why_a_node_has_no_twin_is_told():
    alone = drawn("sine_network").alone
    assert alone["functional"]["x"] == "a constant: it is no node of a tape"
    assert "a part of AddmmBackward0" in alone["functional"].values()
    assert "a part of MseLossBackward0" in alone["functional"].values()
    assert not alone["imperative"]


def test_a_step_whose_value_was_not_seen_is_told_by_its_gradient_and_what_it_takes():
    aligned = drawn("sine_network")
    graphs = aligned.graphs
    unseen = [node.name for node in graphs["imperative"].nodes if node.value is None]
    assert len(unseen) == 3  # the transposes within a layer
    for name in unseen:
        twin = graphs["functional"][aligned.twins["imperative"][name]]
        assert twin.operation == "transpose"
        assert aligned.twins["functional"][twin.name] == name
        assert twin.inputs == graphs["imperative"][name].inputs


def test_numbers_are_no_names_and_what_is_only_the_same_when_sorted_is_no_twin():
    aligned = drawn("sine_polynomial")
    left, right = (aligned.graphs[side] for side in ("imperative", "functional"))
    last = next(node for node in reversed(left.nodes) if node.operation == "AddBackward0")
    assert right[aligned.twins["imperative"][last.name]].operation == "add"
    assert "y" not in aligned.twins["functional"]  # sin x, of which the first residual is the negative
    neurons = drawn("three_neurons")
    for a, b in neurons.twins["imperative"].items():
        one, other = neurons.graphs["imperative"][a], neurons.graphs["functional"][b]
        assert one.shape == other.shape


def test_the_two_sides_of_the_chain_rule_are_linked_step_by_step():
    aligned = drawn("chain_rule")
    operations = {side: {n.name: n.operation for n in graph.nodes} for side, graph in aligned.graphs.items()}
    pairs = {
        operations["imperative"][a]: operations["functional"][b]
        for a, b in aligned.twins["imperative"].items()
    }
    assert pairs == {"": "", "PowBackward0": "integer_pow", "MulBackward0": "mul", "SubBackward0": "sub"}


# Drawings.


@pytest.mark.parametrize("name", [statement.name for statement in scenarios.ALL])
def test_the_tape_of_every_scenario_is_the_one_that_was_kept(name):
    kept = Path(__file__).parent / "tapes" / f"{name}.txt"
    assert drawn(name).graphs["imperative"].text() + "\n" == kept.read_text("utf-8")


@pytest.mark.parametrize("kind", sorted(FORMATS))
@pytest.mark.parametrize("sides", [("imperative",), ("functional",), ("imperative", "functional")])
def test_a_graph_is_shown_in_every_format(kind, sides):
    content = FORMATS[kind](drawn("chain_rule"), sides)
    begins = {"svg": b"<svg", "png": b"\x89PNG", "dot": b"digraph {", "json": b"{\n"}
    assert content.startswith(begins.get(kind, f"{sides[0]}, forward".encode()))
    assert FORMATS[kind](drawn("chain_rule"), sides) == content  # nothing of it depends on the process


def test_the_drawing_of_both_sides_links_the_twins():
    aligned = drawn("chain_rule")
    shown = FORMATS["dot"](aligned, ("imperative", "functional")).decode()
    assert shown.count("style=dotted") == len(aligned.twins["imperative"]) == 6


@pytest.mark.parametrize("name", ["chain_rule", "sine_network", "line_network"])
def test_the_imperative_side_is_drawn_on_the_left_as_the_sources_stand(name):
    aligned = drawn(name)
    found = placed(aligned, ("imperative", "functional"))
    frames = {box.lines[0]: box for box in found.boxes if box.kind == "frame"}
    assert frames["imperative"].centre[0] < frames["functional"].centre[0]
    for side, frame in frames.items():
        boxes = [box for box in found.boxes if box.identifier.startswith(side)]
        assert len(boxes) == len(aligned.graphs[side].nodes)
        assert all(abs(b.centre[0] - frame.centre[0]) <= (frame.width - b.width) / 2 for b in boxes)


def test_edges_end_at_the_nodes_that_they_lead_to(monkeypatch):
    graph = drawn("line_network").graphs["functional"]
    found = layout(graph.dot())
    for drawing in (found, found.mirrored()):
        for curve, (_, head_of) in zip(drawing.curves, dict.fromkeys(graph.edges), strict=True):
            box = drawing.boxes[[n.name for n in graph.nodes].index(head_of)]
            assert abs(curve.tip[0] - box.centre[0]) <= box.width / 2 + 1
            assert abs(curve.tip[1] - box.centre[1]) <= box.height / 2 + 1
    assert found.mirrored() != found
    assert found.mirrored().mirrored().boxes[3].centre == pytest.approx(found.boxes[3].centre)


def test_the_text_names_the_twin_or_the_reason_behind_every_node():
    shown = FORMATS["text"](drawn("chain_rule"), ("imperative", "functional")).decode()
    nodes = [line for line in shown.splitlines() if " = " in line]
    assert all(line.rstrip().endswith(")") or "  = " in line for line in nodes)
    assert "%3 = 3" in shown
    assert shown.count("(a constant: it is no node of a tape)") == 2


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 50, 300])
def test_a_large_graph_is_collapsed_to_what_can_be_drawn_and_keeps_every_node(limit):
    graph = drawn("three_neurons", "gradient").graphs["functional"]
    small = graph.collapsed(limit)
    assert len(small.nodes) <= limit
    members = [member for node in small.nodes for member in (node.members or (node,))]
    assert sorted(m.name for m in members) == sorted(n.name for n in graph.nodes)
    assert set(small.outputs.values()) <= {node.name for node in small.nodes}
    place = {node.name: k for k, node in enumerate(small.nodes)}
    assert all(place[tail] < place[head] for tail, head in small.edges)  # the order of the data, and no cycle


def test_a_drawing_of_collapsed_graphs_links_all_that_have_twins():
    chain = [one("x0", 0, None, kind="leaf")] + [one(f"x{k}", k, None, f"x{k - 1}") for k in range(1, 400)]
    left, right = (Graph(side, "forward", tuple(chain), {}) for side in ("imperative", "functional"))
    aligned = align(left, right)
    assert len(aligned.twins["imperative"]) == 400
    shown = FORMATS["dot"](aligned, ("imperative", "functional")).decode()
    assert shown.count("style=dotted") == len(left.fitting().nodes) == 200


def test_a_module_is_collapsed_into_one_node_before_its_neighbours_are():
    network = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(4)])
    graph = tape.draw(network, torch.ones(1, 2))
    small = graph.collapsed(len(graph.nodes) - 4)
    assert [node.operation for node in small.nodes if node.members] == [f"{k}: 2 nodes" for k in range(4)]


def test_many_edges_are_collapsed_too():
    nodes = [one("x0", 0, None, kind="leaf")]
    nodes += [one(f"x{k}", k, None, *[f"x{j}" for j in range(k)]) for k in range(1, 60)]
    graph = Graph("imperative", "forward", tuple(nodes), {})
    assert not graph.small()
    assert graph.collapsed().small()


@pytest.mark.parametrize(
    "name",
    ['<script>alert("x")</script>', 'a"b\\c', "line\nbreak", "bell\x07 escape\x1b nul\x00", "x" * 10_000],
)
def test_whatever_a_name_is_it_is_shown_as_text(name):
    a = leaf(2.0)
    graph = tape.draw(a * a, names={a: name})
    shown = graph._repr_svg_()
    ET.fromstring(shown)
    assert "<script" not in shown
    assert len(shown) < 10_000


def test_a_description_that_graphviz_does_not_understand_is_one_sentence():
    with pytest.raises(ValueError, match="Graphviz cannot lay this out"):
        layout("digraph { a -> ")


def test_the_figure_of_the_notes_polynomial_has_its_leaves_and_its_sum():
    tape_of = drawn("sine_polynomial").graphs["imperative"]
    assert [n.name for n in tape_of.nodes if n.kind == "leaf"] == ["a", "b", "c"]
    assert tape_of["output"].operation == "SumBackward0"
