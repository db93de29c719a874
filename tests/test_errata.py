"""The evidence in docs/errata.md: the lecture note's cells, run as they are printed."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ERRATA = (Path(__file__).parents[1] / "docs" / "errata.md").read_text("utf-8")


def leaf(value):
    return torch.tensor([value], requires_grad=True)


def test_1_the_gradient_of_a_computed_tensor_is_not_stored():
    a = leaf(3.0)
    b = a * a
    b.backward()
    with warnings.catch_warnings(action="ignore"):
        assert b.grad is None
    assert a.grad is not None


def test_2_with_the_slip_in_the_assignment_a_stays_3_and_the_derivative_is_27():
    a, b = leaf(3.0), leaf(8.0)
    computinga = leaf(7.0)
    (a**3 - 3 * b).backward()
    assert (a.grad.item(), b.grad.item(), computinga.grad) == (27, -3, None)


def test_4_a_node_of_the_graph_has_no_backward_method():
    Q = leaf(7.0) ** 3
    assert not hasattr(Q.grad_fn, "backward")
    assert hasattr(Q.grad_fn, "next_functions")


def test_5_asking_to_retain_a_gradient_after_backward_is_too_late():
    a = leaf(2.0)
    Q = a**3
    (Q**2).backward()
    Q.retain_grad()
    with warnings.catch_warnings(action="ignore"):
        assert Q.grad is None


def test_6_the_printed_bound_belongs_to_the_last_iteration_that_is_printed():
    a, b = leaf(2.0), leaf(8.0)
    P = (a**3 - 3 * b) ** 2
    optimizer = torch.optim.Adam([a, b], lr=0.02)
    printed = {}
    for n in range(200):
        optimizer.zero_grad()
        P.backward()
        optimizer.step()
        P = (a**3 - 3 * b) ** 2
        if n % 50 == 0:
            printed[n] = P.item()
    assert list(printed) == [0, 50, 100, 150]
    assert 1e-4 < printed[150] < 1.25e-4
    assert P.item() < 1e-6


def polynomial_loop(iterations, update_when):
    """The note's loop; returns the last loss and the tensor that `a` has become."""
    x = torch.linspace(-math.pi, math.pi, 100)
    y = torch.sin(x)
    a, b, c = (torch.tensor(0.0, requires_grad=True) for _ in range(3))
    for n in range(iterations):
        L = (a * x + b * x**2 + c * x**3 - y).pow(2).sum()
        a.retain_grad(), b.retain_grad(), c.retain_grad()
        L.backward()
        if update_when(n):
            a = a - 1e-5 * a.grad
            b = b - 1e-5 * b.grad
            c = c - 1e-5 * c.grad
            a.grad = b.grad = c.grad = None
    return L.item(), a


def test_8_run_as_printed_the_polynomials_loss_explodes():
    first, _ = polynomial_loop(1, lambda n: n % 1000 == 0)
    last, _ = polynomial_loop(4000, lambda n: n % 1000 == 0)
    assert first == pytest.approx(49.5, abs=0.1)
    assert last == pytest.approx(3.46e15, rel=0.1)


def test_9_the_graph_behind_the_coefficients_grows_with_every_step():
    def depth(tensor):
        node, count = tensor.grad_fn, 0
        while node is not None:
            count += 1
            node = node.next_functions[0][0] if node.next_functions else None
        return count

    assert [depth(polynomial_loop(n, lambda _: True)[1]) for n in (1, 2, 30)] == [2, 3, 31]


def test_10_retaining_the_gradient_of_a_leaf_changes_nothing_and_backward_adds():
    a = leaf(2.0)
    a.retain_grad()
    for _ in range(2):
        (a**2).backward()
    assert not a.retains_grad
    assert a.grad.item() == 8


def test_12_the_networks_forward_pass_stops_at_a_name_that_is_defined_nowhere():
    class NN_sinus(nn.Module):  # noqa: N801  # the note's name
        def __init__(self):
            super().__init__()
            self.input = nn.Linear(1, 10)
            self.hidden1 = nn.Linear(10, 10)
            self.hidden2 = nn.Linear(10, 1)

        def forward(self, a0):
            a1 = nn.functional.relu(self.input(a0))
            a2 = nn.functional.relu(self.hidden1(a1))  # noqa: F841  # that is the slip
            return self.hidden2(x2)  # the same

    with pytest.raises(NameError, match="x2"):
        NN_sinus()(torch.ones(20, 1))


def test_13_a_return_in_the_class_body_does_not_compile():
    cell = "class NN_sinus:\n    def forward(self, a0):\n        a3 = a0\n    return a3\n"
    with pytest.raises(SyntaxError, match="outside function"):
        compile(cell, "cell", "exec")


def test_14_axis_0_of_a_weight_counts_outputs():
    assert tuple(nn.Linear(1, 10).weight.shape) == (10, 1)
    assert tuple(nn.Linear(10, 1).weight.shape) == (1, 10)


def test_25_relu_has_no_parameters_and_is_applied_not_multiplied():
    x = torch.tensor([-2.0, 3.0])
    assert list(nn.ReLU().parameters()) == []
    assert nn.functional.relu(x).tolist() == [0, 3]


def test_27_the_accumulating_node_holds_the_leaf_and_adds_to_its_gradient():
    a = leaf(2.0)
    Q = 3 * a
    node = Q.grad_fn.next_functions[0][0]
    Q.backward()
    assert node.name().endswith("AccumulateGrad")
    assert node.variable is a
    assert (a.item(), a.grad.item()) == (2, 3)


def test_16_zero_grad_sets_gradients_to_none():
    a = leaf(2.0)
    optimizer = torch.optim.Adam([a])
    (a**2).backward()
    optimizer.zero_grad()
    assert a.grad is None


def test_18_the_printed_second_layer_gives_one_value_where_the_neurons_have_three():
    generator = np.random.default_rng(0)
    w, b, a1 = generator.random((3, 3)), generator.random(3), generator.random(3)  # positive: ReLU passes all
    printed = max(0, sum(w[0, i] * a1[i] + b[i] for i in range(3)))
    meant = np.maximum(w @ a1 + b, 0)
    assert not np.isclose(meant, printed).any()
    assert len({round(value, 6) for value in meant.tolist()}) > 1


def test_21_a_forward_pass_that_reads_the_global_model_ignores_its_own_parameters():
    class NN_line(nn.Module):  # noqa: N801  # the note's name
        def __init__(self):
            super().__init__()
            self.input = nn.Linear(1, 2)

        def forward(self, x0):
            return model.input.bias.view(-1, 1) + model.input.weight @ x0.T

    model, other = NN_line(), NN_line()
    assert not torch.equal(model.input.weight, other.input.weight)
    assert torch.equal(other(torch.ones(5, 1)), model(torch.ones(5, 1)))


def test_22_a_bias_column_is_two_by_one_until_it_is_broadcast():
    layer, x0 = nn.Linear(1, 2), torch.ones(5, 1)
    column = layer.bias.view(-1, 1)
    assert tuple(column.shape) == (2, 1)
    assert tuple((column + layer.weight @ x0.T).shape) == (2, 5)


def test_linspace_differs_between_the_libraries_in_the_last_bits():
    left = torch.linspace(-math.pi, math.pi, 100).numpy()
    right = np.linspace(-np.pi, np.pi, 100).astype(np.float32)
    assert np.count_nonzero(left != right) > 0
    np.testing.assert_allclose(left, right, rtol=0, atol=5e-7)


def test_every_entry_that_claims_a_test_has_one():
    claimed = {
        int(row.split("|")[1]) for row in ERRATA.splitlines() if row.startswith("| ") and "**T**" in row
    }
    tested = {
        int(name.split("_")[1])
        for name in globals()
        if name.startswith("test_") and name.split("_")[1].isdigit()
    }
    assert tested == claimed
