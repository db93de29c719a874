"""A pair is trained with optimizers that mean the same, and the run is judged."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

import compare
import pairs
from compare import twins
from compare.port import describe, load
from compare.port.check import Pair, check
from scenarios.port import OPTIONS, Arguments, Training, UnusablePortError

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((6, 3), (6, 2)))
W = {"w": RANDOM.standard_normal((3, 2)).astype(np.float32)}

#: Of every optimizer, with options that all of its terms depend on.
TRAININGS = {
    "sgd": Training("sgd", 12, 0.05),
    "nesterov": Training("sgd", 12, 0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": Training("adam", 12, 0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    "adamw": Training("adamw", 12, 0.02),
    "rmsprop": Training("rmsprop", 12, 0.01, alpha=0.9, momentum=0.5, weight_decay=0.1),
}


def left(p, x, y):
    return torch.tanh(x @ p["w"])


def right(p, x, y):
    return jnp.tanh(x @ p["w"])


def torch_loss(output, x, y):
    return ((output - y) ** 2).mean()


def jax_loss(output, x, y):
    return jnp.mean((output - y) ** 2)


LOSS = (torch_loss, jax_loss)


def pair(train, imperative=left, functional=right, params=W, **options):
    return Pair(imperative, functional, params, (X, Y), loss=LOSS, train=train, **options)


# Truth: the formulas of torch.optim's documentation, of parameters whose gradient they are themselves.

START = np.array([1.0, -2.0, 0.5])


def formula(training, steps):
    """Where half the sum of squares is after so many steps."""
    told, w = training.told, START.copy()
    first, second, buffer = (np.zeros_like(w) for _ in range(3))
    for t in range(1, steps + 1):
        g = w if training.optimizer == "adamw" else w + told["weight_decay"] * w
        if training.optimizer.startswith("adam"):
            one, two = told["betas"]
            first, second = one * first + (1 - one) * g, two * second + (1 - two) * g**2
            decay = training.lr * told["weight_decay"] * w if training.optimizer == "adamw" else 0
            root = np.sqrt(second / (1 - two**t)) + told["eps"]
            w = w - decay - training.lr * first / (1 - one**t) / root
            continue
        if training.optimizer == "rmsprop":
            second = told["alpha"] * second + (1 - told["alpha"]) * g**2
            g = g / (np.sqrt(second) + told["eps"])
        buffer = told["momentum"] * buffer + g
        w = w - training.lr * (g + told["momentum"] * buffer if told.get("nesterov") else buffer)
    return w


def port(side):
    squares = {"imperative": lambda p: p["w"], "functional": lambda p: p["w"]}
    halves = {"imperative": lambda w: (w**2).sum() / 2, "functional": lambda w: jnp.sum(w**2) / 2}
    options = {} if side == "imperative" else {"pytree": {"w": START}}
    return twins.port(side, squares[side], Arguments.of(()), loss=halves[side], **options)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_a_step_of_either_side_is_the_formula_of_the_optimizer(side, name):
    for steps in (1, 3):
        result = port(side).train({"w": START}, {}, TRAININGS[name], state={}, steps=steps, dtype="float64")
        np.testing.assert_allclose(result.converged["w"], formula(TRAININGS[name], steps), rtol=1e-13)
        assert result.values["loss"] == (START**2).sum() / 2
        np.testing.assert_allclose(result.outcome["loss"], (formula(TRAININGS[name], steps) ** 2).sum() / 2)
        np.testing.assert_array_equal(result.gradients["w"], START)


def test_a_step_of_plain_descent_on_a_quadratic_is_known_by_heart():
    training = Training("sgd", 1, 0.25)
    for side in ("imperative", "functional"):
        result = port(side).train({"w": START}, {}, training, state={}, steps=1, dtype="float64")
        assert result.converged["w"].tolist() == [0.75, -1.5, 0.375]


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_a_run_that_is_taken_up_again_ends_where_the_whole_one_does(side, name):
    go = functools.partial(port(side).train, arrays={}, training=TRAININGS[name], dtype="float64")
    half = go({"w": START}, state={}, steps=2)
    again = go(half.converged, state=half.state, steps=3)
    whole = go({"w": START}, state={}, steps=5)
    np.testing.assert_array_equal(again.converged["w"], whole.converged["w"])
    assert again.state.keys() == whole.state.keys()
    for key, array in whole.state.items():
        np.testing.assert_array_equal(again.state[key], array)


def test_both_sides_call_what_an_optimizer_remembers_the_same():
    for training in TRAININGS.values():
        one, other = (
            port(side).train({"w": START}, {}, training, state={}, steps=2, dtype="float64").state
            for side in ("imperative", "functional")
        )
        assert one.keys() == other.keys()
        for key, array in one.items():
            np.testing.assert_allclose(other[key], array, rtol=1e-13)


# Agreement.


@pytest.mark.parametrize("name", TRAININGS)
def test_an_honest_training_differs_by_rounding_alone_in_either_precision(name):
    judged = pair(TRAININGS[name])
    for dtype in ("float64", "float32"):
        verdict = judged.verdict(dtype)
        assert verdict.word in {"identical", "rounding"}
        assert verdict.trained.verdict.word in {"identical", "rounding"}
        assert verdict.trained.parted is None
        assert re.search(
            rf"^training: 12 steps of {TRAININGS[name].optimizer} agree (up to rounding|bit for bit)\.",
            str(verdict),
            re.MULTILINE,
        )


def test_the_loss_of_every_step_and_the_parameters_at_the_end_are_judged():
    verdict = pair(TRAININGS["adam"]).verdict("float64")
    names = {finding.quantity for finding in verdict.trained.verdict.run}
    assert {"values.loss", "final.w", "outcome.loss"} <= names
    assert {"converged.w", "state.first.w"} <= {f.quantity for f in verdict.trained.verdict.step}


# Faults of training alone, planted in what the functional side trains with.

COUPLED = optax.chain(optax.add_decayed_weights(0.01), optax.scale_by_adam(), optax.scale(-0.02))
FAULTS = {
    "epsilon inside the root": (TRAININGS["adam"], lambda: optax.adam(0.02, 0.8, 0.99, 0.0, eps_root=1e-6)),
    "epsilon of 1e-7": (TRAININGS["adamw"], lambda: optax.adamw(0.02, eps=1e-7, weight_decay=0.01)),
    "decay coupled to the gradient": (TRAININGS["adamw"], lambda: COUPLED),
    "no decay": (TRAININGS["adamw"], lambda: optax.adam(0.02)),
    "dampened momentum": (
        Training("sgd", 12, 0.02, momentum=0.9),
        lambda: optax.chain(optax.scale(0.1), optax.trace(0.9), optax.scale(-0.02)),
    ),
    "momentum without nesterov": (TRAININGS["nesterov"], lambda: optax.sgd(0.02, momentum=0.9)),
    "rmsprop's epsilon inside the root": (
        Training("rmsprop", 12, 0.01),
        lambda: optax.rmsprop(0.01, 0.99, 1e-8, eps_in_sqrt=True),
    ),
    "averages that start from one": (
        Training("rmsprop", 12, 0.01),
        lambda: optax.rmsprop(0.01, 0.99, 1e-8, eps_in_sqrt=False, initial_scale=1.0),
    ),
    "a learning rate a millionth off": (TRAININGS["sgd"], lambda: optax.sgd(0.05 * (1 + 1e-6))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_training_alone_is_different_from_the_first_step_on(monkeypatch, fault):
    training, made = FAULTS[fault]
    monkeypatch.setattr("functional.port.made", lambda _: made())
    verdict = pair(training).verdict("float64")
    assert verdict.verdict.agrees
    assert (verdict.word, verdict.agrees) == ("different", False)
    assert verdict.trained.parted == 1
    assert verdict.faults == ()
    assert f"training: 12 steps of {training.optimizer} part at step 1. They differ: " in str(verdict)
    assert "No operation" not in str(verdict)


# Buffers.


class Running(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        output = self.w * x + self.mean
        with torch.no_grad():
            self.mean.mul_(0.5).add_(0.5 * output.mean(0))
        return output


def running(p, x, rate=0.5):
    output = p["w"] * x + p["mean"]
    mean = (1 - rate) * p["mean"] + rate * jax.lax.stop_gradient(jnp.mean(output, axis=0))
    return output, {"mean": mean}


TREE = {"w": np.zeros(3, np.float32), "mean": np.zeros(3, np.float32)}
SQUARE = (lambda output, x: (output**2).mean(), lambda output, x: jnp.mean(output**2))


@pytest.mark.parametrize("side", ["imperative", "functional"])
def test_buffers_go_on_from_step_to_step(side):
    options = {"pytree": TREE, "updates": True} if side == "functional" else {}
    target = {"imperative": Running(), "functional": running}[side]
    made = twins.port(side, target, Arguments.of((X,)), loss=SQUARE[side == "functional"], **options)
    start = {"w": START, "mean": np.zeros(3)}
    fixed = {"fixed": ["mean"]} if side == "functional" else {}
    training = Training("sgd", 3, 0.1)
    result = made.train(start, {"args[0]": X}, training, state={}, steps=3, dtype="float64", every=1, **fixed)
    w, mean, losses = START, np.zeros(3), []
    for _ in range(3):
        output = w * X.astype(np.float64) + mean
        losses.append((output**2).mean())
        mean = 0.5 * mean + 0.5 * output.mean(0)
        w = w - 0.1 * (2 * output * X).sum(0) / X.size
    np.testing.assert_allclose(result.history.losses, losses, rtol=1e-13)
    np.testing.assert_allclose(result.converged["w"], w, rtol=1e-13)
    np.testing.assert_allclose(result.state["buffers.mean"], mean, rtol=1e-13)


def test_a_module_whose_buffers_change_trains_like_its_port():
    made = Pair(Running(), running, args=(X,), pytree=TREE, loss=SQUARE, train=Training("sgd", 10, 0.1))
    verdict = made.verdict("float64")
    assert verdict.word in {"identical", "rounding"}
    assert "state.buffers.mean" in {finding.quantity for finding in verdict.trained.verdict.step}


def test_batch_norm_in_training_mode_trains_like_its_port():
    module = pairs.load("mlp_train_plain")
    function, tree = module.functional()
    losses = (lambda output, x: (output**2).mean(), lambda output, x: jnp.mean(output**2))
    training = {"optimizer": "adamw", "lr": 1e-3, "steps": 4}
    made = Pair(module.imperative(), function, None, module.args(), pytree=tree, loss=losses, train=training)
    verdict = made.verdict("float64")
    assert verdict.word in {"identical", "rounding"}
    assert "state.buffers.bn1.running_var" in {finding.quantity for finding in verdict.trained.verdict.step}


# Ties.


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.embed, self.head = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x)))


def tied(p, x):
    return jnp.tanh(x @ p["embed"].T) @ p["embed"].T


def untied(p, x):
    return jnp.tanh(x @ p["embed"].T) @ p["head"].T


def square(*shape):
    return np.zeros(shape, np.float32)


BOTH = {"embed": square(3, 3), "head": square(3, 3)}
COPIES = (
    "embed.weight is one array on the imperative side and 2 on the functional (embed, head): a step moves "
    "them apart unless their gradients are added up."
)


def test_two_copies_of_a_tied_weight_are_told_of_where_nothing_is_trained():
    verdict = check(Tied(), untied, args=(X,), pytree=BOTH, loss=SQUARE)
    assert verdict.agrees
    assert verdict.notes == (COPIES,)


def test_two_copies_of_a_tied_weight_train_apart_and_the_cause_is_named():
    verdict = check(Tied(), untied, args=(X,), pytree=BOTH, loss=SQUARE, train=Training("sgd", 5, 0.1))
    assert verdict.verdict.agrees
    assert (verdict.word, verdict.trained.parted) == ("different", 1)
    assert verdict.notes == (f"weights not tied: {COPIES}",)
    assert verdict.notes[0] in str(verdict)


def test_a_weight_that_is_tied_on_both_sides_trains_alike():
    tree = {"embed": square(3, 3)}
    verdict = check(Tied(), tied, args=(X,), pytree=tree, loss=SQUARE, train=Training("adam", 5, 0.01))
    assert verdict.word in {"identical", "rounding"}
    assert verdict.notes == ()


def test_a_copy_that_no_gradient_reaches_stays_behind_and_is_found():
    class Half(Tied):
        def forward(self, x):
            return torch.tanh(x @ self.embed.weight.detach().T) @ self.head.weight.T

    def half(p, x):
        return jnp.tanh(x @ jax.lax.stop_gradient(p["embed"]).T) @ p["head"].T

    verdict = check(Half(), half, args=(X,), pytree=BOTH, loss=SQUARE, train=Training("sgd", 5, 0.1))
    assert verdict.verdict.agrees
    assert (verdict.word, verdict.trained.parted) == ("different", 1)
    wrong = {f.quantity for f in verdict.trained.verdict.step if f.word == "different"}
    assert "outcome.embed of the functional side" in wrong


def test_a_weight_that_only_the_functional_side_ties_is_told_of():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False))
    module[2].load_state_dict(module[0].state_dict())
    pieces = tuple(compare.port.mapping.Piece(f"{n}.weight", "embed", (0, 1)) for n in (0, 2))
    shapes = {"imperative": {"0.weight": (3, 3), "2.weight": (3, 3)}, "functional": {"embed": (3, 3)}}
    by = compare.Map(shapes, pieces, tied={"imperative": (), "functional": ("embed",)})
    verdict = check(
        module, tied, args=(X,), pytree={"embed": square(3, 3)}, loss=SQUARE, map=by, locate=False
    )
    assert verdict.word == "different"
    assert verdict.notes == (
        "embed is one array on the functional side and 2 on the imperative (0.weight, 2.weight): a step "
        "moves them apart unless their gradients are added up.",
    )


# What else can become of a run.


def test_a_training_that_stands_still_is_vacuous():
    verdict = pair(Training("sgd", 3, 1e-30)).verdict("float32")
    assert verdict.verdict.agrees
    assert verdict.word == "vacuous"
    assert "Nothing was really compared" in str(verdict)


def test_a_training_that_overflows_on_both_sides_is_not_called_different():
    def grow(p, x, y):
        return (x @ p["w"]) ** 2

    verdict = pair(Training("sgd", 40, 10.0), grow, grow).verdict("float64")
    assert verdict.verdict.agrees
    assert verdict.word == "vacuous"


def test_sides_that_differ_are_not_trained_and_that_is_said():
    verdict = pair(TRAININGS["sgd"], functional=lambda p, x, y: right(p, x, y) * 2).verdict(locate=False)
    assert (verdict.word, verdict.trained) == ("different", None)
    assert verdict.notes == ("The sides differ without being trained, and were not.",)


def test_a_parameter_that_nothing_depends_on_decays_on_both_sides():
    both = {**W, "spare": np.ones(2, np.float32)}
    verdict = pair(TRAININGS["adam"], params=both).verdict("float64")
    assert verdict.word in {"identical", "rounding"}


# What is refused.


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimizer": "adma"}, "no optimizer is called 'adma': did you mean 'adam'?"),
        ({"optimizer": "lion"}, "no optimizer is called 'lion': choose from sgd, adam, adamw, rmsprop."),
        ({"steps": 0}, "steps is 0: train a whole number of steps, at least 1."),
        ({"steps": 2.5}, "steps is 2.5: train a whole number"),
        ({"steps": True}, "steps is True: train a whole number"),
        ({"lr": 0}, "lr is 0: a learning rate is a number above 0, such as 1e-3."),
        ({"lr": -0.1}, "lr is -0.1: a learning rate"),
        ({"lr": float("nan")}, "lr is nan: a learning rate"),
        ({"lr": "fast"}, "lr is 'fast': a learning rate"),
        ({"momentum": 0.9}, "no option of adam is called 'momentum': choose from lr, steps, betas, eps"),
        ({"beta": (0.9, 0.99)}, "no option of adam is called 'beta': did you mean 'betas'?"),
        ({"optimizer": "sgd", "dampening": 0.1}, "no option of sgd is called 'dampening': choose from lr,"),
        ({"betas": 0.9}, "betas is 0.9: give two numbers from 0 to below 1, such as (0.9, 0.999)."),
        ({"betas": (0.9, 1.0)}, "betas is (0.9, 1.0): give two numbers"),
        ({"eps": -1e-8}, "eps is -1e-08: give a number that is not below 0."),
        ({"weight_decay": "much"}, "weight_decay is 'much': give a number"),
        ({"optimizer": "rmsprop", "alpha": 1}, "alpha is 1: give a number from 0 to below 1, such as 0.99."),
        ({"optimizer": "sgd", "momentum": 0.9, "nesterov": 1}, "nesterov is 1: give True or False."),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov needs a momentum: give momentum=0.9, say."),
    ],
)
def test_what_is_no_training_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(UnusablePortError) as refused:
        pair({"optimizer": "adam", "steps": 5, "lr": 0.1, **settings})
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["optimizer", "steps", "lr"])
def test_what_is_not_told_of_a_training_is_asked_for(name):
    told = {"optimizer": "adam", "steps": 5, "lr": 0.1}
    del told[name]
    with pytest.raises(UnusablePortError, match=f"training is told no {name}: give optimizer, lr and steps"):
        pair(told)


@pytest.mark.parametrize("loss", [None, (torch_loss, None), (None, jax_loss)])
def test_training_needs_a_loss_on_both_sides(loss):
    with pytest.raises(UnusablePortError, match=r"training needs a loss on both sides: give loss=\("):
        Pair(left, right, W, (X, Y), loss=loss, train=TRAININGS["sgd"])


def test_every_option_is_one_that_both_libraries_have_under_the_default_of_torch():
    kinds = {name.lower(): kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    for name, options in OPTIONS.items():
        defaults = kinds[name]([torch.zeros(1)], lr=1.0).defaults
        assert options == {option: defaults[option] for option in options}


# The command.


@pytest.mark.parametrize(
    ("text", "training"),
    [
        ("optimizer=adam,lr=1e-3,steps=50", Training("adam", 50, 1e-3)),
        (
            " optimizer = sgd, lr=0.1, steps=2, momentum=.9, nesterov=True",
            Training("sgd", 2, 0.1, momentum=0.9, nesterov=True),
        ),
        (
            "steps=1,lr=1.0,optimizer='adamw',betas=(0.9,0.99)",
            Training("adamw", 1, 1.0, betas=(0.9, 0.99)),
        ),
    ],
)
def test_a_training_is_told_in_words(text, training):
    assert load.training(text) == training


@pytest.mark.parametrize(
    "text",
    [
        "adam",
        "optimizer",
        "lr=1,lr=2",
        "optimizer=adam;lr=1",
        "lr=__import__('os')",
        "lr=1)(",
        "lr={[]: 1}",
        "**{}",
    ],
)
def test_what_tells_no_training_is_no_program_either(text):
    with pytest.raises((load.LoadError, UnusablePortError), match="training"):
        load.training(text)


SIDES = """
def left(params, x):
    return x * params["w"]

def right(params, x):
    return x * params["w"]

def loss(output, x):
    return (output ** 2).mean()
"""


def test_the_command_trains_and_says_so_in_words_and_in_json(command, tmp_path):
    (tmp_path / "both.py").write_text(SIDES, "utf-8")
    np.savez(tmp_path / "w.npz", w=np.array([0.5, 2.0]))
    np.savez(tmp_path / "x.npz", np.array([[0.1, 0.7], [1.2, -0.9]]))
    call = ("check", "both.py:left", "both.py:right", "--params", "w.npz", "--args", "x.npz")
    losses = ("--loss", "both.py:loss,both.py:loss")
    answer = command(*call, *losses, "--train", "optimizer=adam,lr=1e-3,steps=3")
    assert (answer.code, answer.err) == (0, "")
    assert "\ntraining: 3 steps of adam agree " in answer.out
    answer = command(*call, *losses, "--train", "optimizer=sgd,lr=1e-3,steps=1", "--json")
    told = json.loads(answer.out)["verdicts"]["float64"]["training"]
    assert (told["run"]["optimizer"], told["run"]["steps"], told["parted"]) == ("sgd", 1, None)
    assert told["word"] in {"identical", "rounding"}
    assert told["sentence"].startswith("training: 1 step of sgd agree")
    answer = command(*call, "--train", "optimizer=sgd,lr=1e-3,steps=1")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("gradtwin: training needs a loss on both sides")
    answer = command(*call, *losses, "--train", "optimizer=sgd")
    assert answer.code == 2
    assert answer.err == (
        "gradtwin: training is told no steps: give optimizer, lr and steps, such as optimizer=adam, lr=1e-3, "
        "steps=50.\n"
    )


def test_a_document_has_no_training_where_none_was_asked_for():
    assert describe.document(pair(None).verdict("float32"))["training"] is None
