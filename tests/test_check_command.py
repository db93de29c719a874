"""A pair of the user's own from the command line: what is loaded, what is refused, and what is said of it."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import compare
from compare.port import describe, load
from compare.port.load import LoadError
from compare.port.mapping import Map

TORCH = """
import os
import signal

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        nn.init.constant_(self.fc.weight, 0.3)
        nn.init.constant_(self.fc.bias, -0.1)

    def forward(self, x):
        return torch.tanh(self.fc(x))


def scale(params, x):
    return params["w"] * torch.sin(x)


def broken(params, x):
    return lacking(params)


def lacking(params):
    return params["v"]


def nothing(params, x):
    return None


def interrupted(params, x):
    os.kill(os.getpid(), signal.SIGINT)


def loss(output, x):
    return output.sum()


class Zoo:
    @staticmethod
    def build(kind="tanh"):
        return Net()
"""

JAX = """
import jax.numpy as jnp


def net(params, x):
    return jnp.tanh(x @ params["fc"][0]["w"] + params["fc"][0]["b"])


def scale(params, x):
    return params["w"] * jnp.sin(x)


def other(params, x):
    y = jnp.tanh(x)
    return params["w"] * y


def broken(params, x):
    return lacking(params, x)


def lacking(params, x):
    raise FloatingPointError("no number is left.")


def loss(output, x):
    return output.sum()


tree = {"fc": [{"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Both sides and their arrays in the current directory; nothing that is imported from there stays."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "left.py").write_text(TORCH, "utf-8")
    (tmp_path / "right.py").write_text(JAX, "utf-8")
    np.savez("params.npz", w=np.array([0.5, 2.0, -1.0]))
    np.savez("args.npz", np.array([[0.1, 0.7, -0.4], [1.2, -0.9, 0.3]]))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


class Stand:
    """Stands in for a pair: keeps what it is given, and says what it is told to."""

    def __init__(self, *verdicts):
        self.verdicts, self.given, self.asked = list(verdicts), None, []

    def __call__(self, *given, **options):
        self.given = (*given, options)
        return self

    def verdict(self, dtype, *, locate):
        self.asked.append((dtype, locate))
        return self.verdicts.pop(0)


@pytest.fixture
def stand(monkeypatch):
    """Have the command judge a pair that says this."""

    def put(*verdicts):
        pair = Stand(*verdicts)
        monkeypatch.setattr("compare.port.check.Pair", pair)
        return pair

    return put


SCALE = ("left.py:scale", "right.py:scale", "--args", "args.npz")


def test_a_pair_that_agrees_ends_with_0_and_a_sentence(command):
    answer = command("check", "left:scale", "right.py:scale", "--params", "params.npz", "--args", "args.npz")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.partition(":")[0] in {"identical", "rounding"}


def test_a_pair_that_differs_ends_with_1_and_says_where(command):
    answer = command(
        "check", "left.py:scale", "right.py:other", "--params", "params.npz", "--args", "args.npz"
    )
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("different: They differ: values.output")
    assert "sin at left.py:21, (2, 3)\n" in answer.out
    assert "functional   tanh at right.py:14, (2, 3)\n" in answer.out


def test_a_module_a_pytree_losses_and_a_map_that_is_saved_and_read_again(command, here):
    pair = ("left.py:Net()", "right.py:net", "--args", "args.npz", "--dtype", "both")
    answer = command(
        "check",
        *pair,
        "--pytree",
        "right:tree",
        "--loss",
        "left.py:loss,right.py:loss",
        "--save-map",
        "map.json",
    )
    assert (answer.code, answer.err) == (0, "Wrote map.json.\n")
    assert [line.partition(",")[0] for line in answer.out.splitlines() if line] == ["float32", "float64"]
    assert {piece.functional for piece in Map.load("map.json").pieces} == {"fc[0].w", "fc[0].b"}
    np.savez("tree.npz", **{"fc[0].w": np.ones((3, 2)), "fc[0].b": np.ones(2)})
    answer = command("check", *pair[:4], "--pytree", "tree.npz", "--map", "map.json", "--json")
    assert answer.code == 0
    assert [
        piece["imperative"] for piece in json.loads(answer.out)["verdicts"]["float64"]["map"]["pieces"]
    ] == [
        "fc.weight",
        "fc.bias",
    ]


def test_everything_that_is_given_reaches_the_pair(command, stand, said):
    pair = stand(said.verdict("rounding"), said.verdict("rounding"))
    Map({"imperative": {"w": (3,)}, "functional": {"w": (3,)}}, said.verdict("rounding").map.pieces).save(
        "m.json"
    )
    options = (
        "--map",
        "m.json",
        "--loss",
        "left.py:loss, right.py:loss",
        "--dtype",
        "both",
        "--device",
        "cpu",
    )
    assert command("check", *SCALE, "--params", "params.npz", "--pytree", "right.py:tree", *options).code == 0
    left, right, params, args, rest = pair.given
    assert (left.__module__, right.__module__) == ("left", "right")
    np.testing.assert_array_equal(params["w"], [0.5, 2.0, -1.0])
    assert [array.shape for array in args] == [(2, 3)]
    assert list(rest["pytree"]) == ["fc"]
    assert [loss.__module__ for loss in rest["loss"]] == ["left", "right"]
    assert rest["map"] == Map.load("m.json")
    assert rest["device"] == "cpu"
    assert pair.asked == [("float32", True), ("float64", True)]


def test_without_an_option_there_is_none(command, stand, said):
    pair = stand(said.verdict("identical"))
    assert command("check", "left.py:scale", "right.py:scale").code == 0
    assert pair.given[2:] == (
        None,
        (),
        {"pytree": None, "loss": None, "map": None, "train": None, "device": pair.given[-1]["device"]},
    )
    assert pair.asked == [("float64", True)]


def test_json_is_one_document_and_no_locate_looks_for_nothing(command, stand, said):
    pair = stand(said.verdict("different", apart=np.inf))
    answer = command("check", *SCALE, "--no-locate", "--json")
    document = json.loads(answer.out)
    assert (answer.code, answer.err, pair.asked) == (1, "", [("float64", False)])
    assert (document["imperative"], document["functional"]) == ("left.py:scale", "right.py:scale")
    told = document["verdicts"]["float64"]
    assert (told["word"], told["agrees"], told["faults"]) == ("different", False, [])
    assert told["verdict"]["step"][0]["absolute"] == "inf"
    stand(replace(said.verdict("different"), sought=False))
    assert (
        "were not looked for. What differs:\n  values.output[1]"
        in command("check", *SCALE, "--no-locate").out
    )


@pytest.mark.parametrize("word", ["vacuous", "undecided"])
def test_what_was_not_shown_to_agree_ends_with_1(command, stand, said, word):
    stand(said.verdict(word))
    answer = command("check", *SCALE)
    assert answer.code == 1
    assert answer.out.startswith(f"{word}: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("left.py", "right.py:net"),
            "left.py names no object: write package.module:NAME or path/to/file.py:NAME",
        ),
        (
            ("left.py:Net", "right.py:net"),
            "left.py:Net is a class: write left.py:Net() for an instance of it.",
        ),
        (
            ("left.py:scale", "right.py:scael"),
            "right.py has no scael: there is no 'scael'; is 'scale' meant?",
        ),
        (("lfet.py:scale", "right.py:scale"), "there is no file lfet.py; is 'left.py' meant?"),
        (("left:scale", "rigt:scale"), "there is no module 'rigt'; is 'right' meant?"),
        (
            (*SCALE, "--params", "parms.npz"),
            "parms.npz cannot be read: No such file or directory; is 'params.npz'",
        ),
        ((*SCALE, "--loss", "left.py:loss"), "left.py:loss: a loss is two targets with a comma between"),
        ((*SCALE, "--map", "args.npz"), "args.npz: not readable as a map ("),
        ((*SCALE, "--dtype", "flaot32"), "no dtype is called 'flaot32': did you mean 'float32'?"),
        ((*SCALE, "--device", "tpu"), "no device is called 'tpu': did you mean 'gpu'?"),
        (
            ("left.py:Net()", "right.py:net", "--args", "args.npz"),
            "the imperative side has parameters (fc.weight, fc.bias, …) and the functional side none: "
            "give its pytree (--pytree).",
        ),
        (
            ("left.py:nothing", "right.py:scale", "--params", "params.npz", "--args", "args.npz"),
            "the imperative side returns NoneType: let it return tensors.",
        ),
    ],
)
def test_what_cannot_be_compared_ends_with_2_and_one_sentence(command, arguments, sentence):
    answer = command("check", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"gradtwin: {sentence}")
    assert answer.err.count("\n") == 1


def test_a_fault_is_exported_and_what_was_found_is_printed_even_if_it_cannot_be(command, here):
    call = ("check", "left.py:scale", "right.py:other", "--params", "params.npz", "--args", "args.npz")
    answer = command(*call, "--export", "made")
    assert answer.code == 1
    assert {path.name for path in (here / "made").iterdir()} == {"reproduce.py", "values.npz"}
    refused = command(*call, "--export", "left.py")
    assert refused.code == 2
    assert refused.out == answer.out != ""
    assert "left.py: cannot be written" in refused.err


def test_a_map_that_cannot_be_written_ends_with_2(command):
    answer = command("check", *SCALE, "--params", "params.npz", "--save-map", "nowhere/map.json")
    assert answer.code == 2
    assert answer.err == (
        "gradtwin: nowhere/map.json: cannot be written (No such file or directory); name a place that can.\n"
    )


def test_a_file_that_raises_while_it_is_imported_ends_with_2_and_its_own_traceback(command, here):
    (here / "worse.py").write_text("def half():\n    return 1 / 0\n\n\nvalue = half()\n", "utf-8")
    answer = command("check", "worse.py:net", "right.py:net")
    assert (answer.code, answer.out) == (2, "")
    sentence, *trace = answer.err.splitlines()
    assert sentence == "gradtwin: worse.py raised ZeroDivisionError: division by zero at worse.py:2."
    assert trace[0] == "Traceback (most recent call last):"
    assert [line.split(", ")[1:] for line in trace if line.startswith("  File ")] == [
        ["line 5", "in <module>"],
        ["line 2", "in half"],
    ]


@pytest.mark.parametrize(
    ("targets", "sentence", "lines"),
    [
        (
            ("left.py:broken", "right.py:scale"),
            "gradtwin: the imperative side raised KeyError: 'v'.",
            [("left.py", "broken"), ("left.py", "lacking")],
        ),
        (
            ("left.py:scale", "right.py:broken"),
            "gradtwin: the functional side raised FloatingPointError: no number is left.",
            [("right.py", "broken"), ("right.py", "lacking")],
        ),
    ],
)
def test_a_side_that_raises_ends_with_3_its_name_and_the_lines_of_the_user(
    command, here, targets, sentence, lines
):
    answer = command("check", *targets, "--params", "params.npz", "--args", "args.npz")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.splitlines()[0] == sentence
    files = [line for line in answer.err.splitlines() if line.startswith("  File ")]
    assert [(line.split('"')[1], line.rpartition(" ")[2]) for line in files] == [
        (str(here / name), function) for name, function in lines
    ]
    assert "JAX_TRACEBACK_FILTERING" not in answer.err


def test_what_nobody_of_the_user_raised_is_no_exit_code_of_theirs(command, stand):
    pair = stand()
    pair.verdict = lambda dtype, locate: 1 / 0
    with pytest.raises(ZeroDivisionError):
        command("check", *SCALE)


def test_ctrl_c_ends_with_130(here):
    call = [sys.executable, "-m", "compare", "check", "left.py:interrupted", "right.py:scale"]
    arrays = ["--params", "params.npz", "--args", "args.npz"]
    ended = subprocess.run([*call, *arrays], cwd=here, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "gradtwin: interrupted before anything was finished.\n"


def test_a_target_may_be_dotted_and_called():
    assert callable(load.target("left:Zoo.build"))
    assert isinstance(load.target("left.py:Zoo.build()"), torch.nn.Module)
    assert load.target("./left.py:Zoo.build") is load.target("left:Zoo.build")


def test_two_files_of_one_name_are_two_modules(here):
    for side, value in (("one", 1), ("two", 2)):
        (here / side).mkdir()
        (here / side / "model.py").write_text(f"import near_{side}\nvalue = {value}\n", "utf-8")
        (here / side / f"near_{side}.py").write_text("", "utf-8")
    assert [load.target(f"{side}/model.py:value") for side in ("one", "two", "one")] == [1, 2, 1]


def test_a_package_of_the_current_directory_is_found_and_its_modules_are_suggested(here):
    (here / "zoo").mkdir()
    (here / "zoo" / "__init__.py").write_text("", "utf-8")
    (here / "zoo" / "model.py").write_text("value = 3\n", "utf-8")
    assert load.target("zoo.model:value") == 3
    with pytest.raises(LoadError, match=r"there is no module 'zoo\.modle'; is 'zoo\.model' meant"):
        load.target("zoo.modle:value")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "import not_there_at_all\n",
            "bad raised ModuleNotFoundError: No module named 'not_there_at_all' at bad.py:1.",
        ),
        ("x = 1\ny = (\n", "bad raised SyntaxError: '(' was never closed (bad.py, line 2) at bad.py:2."),
        ("raise SystemExit\n", "bad raised SystemExit at bad.py:1."),
    ],
)
def test_whatever_a_module_raises_is_named_with_its_line(here, source, sentence):
    (here / "bad.py").write_text(source, "utf-8")
    with pytest.raises(LoadError) as error:
        load.target("bad:x")
    assert str(error.value) == sentence
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (":net", "names no object"),
        ("left.py:", "names no object"),
        ("left.py:Net(3)", "names no object"),
        ("left.py:Zoo.build.more", "there is no 'more'"),
        ("left-side:net", "left-side is neither a module nor a file"),
        ("notes.txt:net", "notes.txt is neither a module nor a file|there is no module 'notes"),
        ("./notes.txt:net", "notes.txt is no Python file"),
        ("right.py:net()", r"right.py:net\(\) raised TypeError: net\(\) missing 2 required"),
    ],
)
def test_what_is_no_target_is_said(here, text, sentence):
    (here / "notes.txt").write_text("", "utf-8")
    with pytest.raises(LoadError, match=sentence):
        load.target(text)


def test_a_loss_is_two_functions(here):
    with pytest.raises(LoadError, match="a loss is a function of the output and the arguments"):
        load.losses("left.py:loss,right.py:tree")


NUMBERS = {
    "w": np.arange(6.0).reshape(2, 3),
    "n": np.arange(3),
    "on": np.array([True]),
    "h": np.ones(2, np.float16),
}


def test_both_formats_give_the_same_arrays():
    np.savez("a.npz", **NUMBERS)
    safetensors.numpy.save_file(NUMBERS, "a.safetensors")
    one, other = load.arrays("a.npz"), load.arrays("a.safetensors")
    assert list(one) == list(NUMBERS)
    for name, array in NUMBERS.items():
        for held in (one, other):
            assert held[name].dtype == array.dtype
            np.testing.assert_array_equal(held[name], array)


def test_bfloat16_is_read_and_what_is_coarser_is_refused():
    safetensors.torch.save_file({"w": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, "b.safetensors")
    held = load.arrays("b.safetensors")["w"]
    assert held.dtype == ml_dtypes.bfloat16
    assert held.tolist() == [1.5, -2.0]
    safetensors.torch.save_file({"w": torch.ones(2).to(torch.float8_e5m2)}, "c.safetensors")
    with pytest.raises(LoadError, match="w is of F8_E5M2: convert it to float32"):
        load.arrays("c.safetensors")
    np.savez("b.npz", w=np.ones(2, ml_dtypes.bfloat16))
    with pytest.raises(LoadError, match=r"b\.npz: w is of \|V2, and only numbers are compared"):
        load.arrays("b.npz")


def test_numbers_of_another_byte_order_become_native():
    np.savez("a.npz", w=np.array([1.5, 2.5], ">f8"))
    held = load.arrays("a.npz")["w"]
    assert held.dtype.isnative
    assert held.tolist() == [1.5, 2.5]


class Loaded:
    """Leaves a trace if anyone unpickles it."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".npz", ".safetensors", ".dat", ""])
@pytest.mark.parametrize("protocol", [2, 5, "torch"])
def test_a_pickle_is_refused_whatever_it_is_called_and_is_not_read(here, suffix, protocol):
    name = f"weights{suffix}"
    if protocol == "torch":
        torch.save({"w": torch.ones(2)}, name)
    else:
        (here / name).write_bytes(pickle.dumps(Loaded(), protocol))
    with pytest.raises(LoadError) as error:
        load.arrays(name)
    assert str(error.value) == (
        f"{name} is a pickle, and reading one can run anything: convert it where it was made, with "
        "numpy.savez('weights.npz', **{k: v.numpy() for k, v in model.state_dict().items()}) or "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
    )
    assert not (here / "unpickled").exists()


def test_an_object_within_an_archive_is_refused_and_not_unpickled(here):
    np.savez("a.npz", w=np.array([Loaded()], dtype=object))
    with pytest.raises(LoadError, match=r"a\.npz cannot be read as \.npz .*allow_pickle=False"):
        load.arrays("a.npz")
    assert not (here / "unpickled").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_header_as_long_as_a_pickle_begins_is_no_pickle(here, protocol):
    header = json.dumps({"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}})
    length = 0x80 + 0x100 * protocol
    content = length.to_bytes(8, "little") + header.ljust(length).encode() + np.ones(1).tobytes()
    (here / "a.safetensors").write_bytes(content)
    assert load.arrays("a.safetensors")["w"].tolist() == [1.0]


def _damaged():
    np.savez("whole.npz", w=np.arange(99.0))
    safetensors.numpy.save_file({"w": np.arange(99.0)}, "whole.safetensors")
    for suffix in (".npz", ".safetensors"):
        whole = Path(f"whole{suffix}").read_bytes()
        yield f"cut{suffix}", whole[:-9]
        yield f"foreign{suffix}", b"\0" * 99
    flipped = bytearray(whole)
    flipped[1] ^= 0xFF
    yield "flipped.safetensors", bytes(flipped)


def test_a_damaged_file_is_one_sentence(here):
    for name, content in _damaged():
        (here / name).write_bytes(content)
        with pytest.raises(LoadError) as error:
            load.arrays(name)
        assert str(error.value).startswith(f"{name} cannot be read as .{name.partition('.')[2]} (")
        assert str(error.value).endswith("): write it again.")
        assert "\n" not in str(error.value)


def _unnamed(path):
    with path.open("wb") as file:
        np.save(file, np.ones(2))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), r"a\.npz cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), r"a\.npz is empty"),
        (np.savez, r"a\.npz holds no array"),
        (lambda path: np.savez(path, w=np.array(["x"])), r"w is of <U1, and only numbers are compared"),
        (_unnamed, r"a\.npz holds one array without a name"),
        (lambda path: None, r"a\.npz cannot be read: No such file or directory; is 'args\.npz' or "),
    ],
)
def test_what_holds_no_named_numbers_is_said(here, make, sentence):
    make(here / "a.npz")
    with pytest.raises(LoadError, match=sentence):
        load.arrays("a.npz")


def test_another_kind_of_file_is_told_which_there_are(here):
    (here / "a.csv").write_text("1,2\n", "utf-8")
    with pytest.raises(LoadError, match=r"a\.csv is neither \.npz nor \.safetensors"):
        load.arrays("a.csv")


def test_arguments_come_by_number_or_as_they_are_stored():
    numbers = {f"arg_{k}": np.full(1, k) for k in (10, 2, 0)}
    np.savez("a.npz", **numbers)
    safetensors.numpy.save_file(numbers, "a.safetensors")
    for path in ("a.npz", "a.safetensors"):
        assert [array.item() for array in load.arguments(path)] == [0, 2, 10]
    np.savez("b.npz", z=np.full(1, 1), a=np.full(1, 2))
    assert [array.item() for array in load.arguments("b.npz")] == [1, 2]
    safetensors.numpy.save_file({"z": np.ones(1), "a": np.ones(1)}, "b.safetensors")
    with pytest.raises(LoadError, match=r"b\.safetensors keeps its arrays in no order of yours"):
        load.arguments("b.safetensors")


def test_the_names_of_a_file_are_the_paths_of_a_pytree():
    ones = np.ones(1)
    np.savez("a.npz", **{"layers[1].w": ones, "layers[0].w": 2 * ones, "out": 3 * ones})
    tree = load.pytree("a.npz")
    assert [layer["w"].item() for layer in tree["layers"]] == [2, 1]
    assert tree["out"].item() == 3
    assert load.pytree("right.py:tree") is load.target("right.py:tree")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("a", "a.b"), "a.b stands where another name has something"),
        (("a.b", "a"), "a stands where another name has something"),
        (("a[0]", "a[2]"), r"the places 0, 2 of a list are not 0 to 1"),
    ],
)
def test_names_that_make_no_tree_are_refused(names, sentence):
    np.savez("a.npz", **{name: np.ones(1) for name in names})
    with pytest.raises(LoadError, match=sentence):
        load.pytree("a.npz")


def test_a_block_says_where_by_how_much_and_why(said):
    fault = said.fault(cause="gelu", evidence="gelu is exact on one side")
    sentence, block = describe.text(said.verdict("different", fault)).split("\n\n")
    assert sentence == (
        "different: They differ: values.output[1]: 5.0e-01 apart (1e+15 ULPs), 5e+11 times what rounding "
        "accounts for."
    )
    assert block.splitlines() == [
        "1. forward, another value: both sides compute this, and differently",
        "   imperative   addmm in Net.fc at net.py:7, (2, 3)",
        "   functional   dot_general at net.py:9, (2, 3)",
        "   apart        5.0e-01 (25 % of the largest magnitude) from the same inputs, 7.5e-01 as it ran",
        "   cause        gelu: gelu is exact on one side",
        "   same before  args[0], (2, 4)",
    ]


@pytest.mark.parametrize(
    ("kind", "head", "idle"),
    [
        ("missing", "the functional side goes on without what the imperative side does", "functional"),
        ("extra", "the functional side does what the imperative side does not", "imperative"),
        ("another order", "both sides have these entries, at other places", ""),
        ("stopped", "one side holds a gradient back that the other lets through", ""),
    ],
)
def test_each_kind_of_fault_reads_differently(said, kind, head, idle):
    lines = describe.text(said.verdict("different", said.fault(kind=kind, phase="backward"))).splitlines()[2:]
    assert lines[0] == f"1. backward, {kind}: {head}"
    for side, line in zip(("imperative", "functional"), lines[1:3], strict=True):
        assert line.split()[0] == side
        assert ("goes on with" in line) is (side == idle)


def test_a_block_tells_what_is_peculiar_and_no_more_than_three_ancestors(said):
    left = replace(said.fault().imperative, dtype="int32")
    fault = said.fault(imperative=left, places=4, scale=0.0, ancestors=((said.site, left),) * 5)
    block = describe.text(said.verdict("different", fault))
    assert "imperative   addmm in Net.fc at net.py:7, (2, 3) int32\n" in block
    assert "functional   dot_general at net.py:9, (2, 3) float64\n" in block
    assert "apart        5.0e-01 from the same inputs" in block
    assert "cause        unknown cause\n" in block
    assert block.count("same before  args[0], (2, 4) = addmm in Net.fc at net.py:7, (2, 3)\n") == 3
    assert "repeated     the same lines ran 4 times" in block


def test_a_value_that_was_given_is_named_with_what_takes_it(said):
    given = replace(said.site, operation="mul")
    assert "args[0] (taken by mul), (2, 4)" in describe.text(
        said.verdict("different", said.fault(imperative=given))
    )


def test_a_difference_without_a_place_is_owned_up_to(said):
    assert describe.text(said.verdict("different")).split("\n\n")[1].splitlines() == [
        "No operation was found at which the sides part. What differs:",
        "  values.output[1]: 5.0e-01 apart (1e+15 ULPs), 5e+11 times what rounding accounts for",
    ]


def test_guesses_left_overs_and_notes_are_told_of_a_pair_that_agrees_too(said):
    assert describe.text(said.verdict("rounding", doubt=True, notes=("Mind the gap.",))).splitlines()[2:] == [
        "Mind the gap.",
        "Guessed, since another pair or layout is as likely; a map settles it:",
        "  u → v: guessed by convention",
        "Without a counterpart on the other side, of the functional one:",
        "  more (5,): nothing has its size",
        "No name says anything.",
    ]


def test_a_long_list_is_cut(said):
    verdict = said.verdict("different")
    many = replace(verdict.verdict, step=verdict.verdict.step * 14)
    assert describe.text(replace(verdict, verdict=many)).endswith("\n  and 4 more")


def test_a_document_is_plain_and_keeps_what_json_lacks(said):
    fault = said.fault(local=np.inf, accumulated=np.nan)
    told = describe.document(said.verdict("different", fault, doubt=True))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    [one] = told["faults"]
    assert (one["local"], one["accumulated"], one["scale"]) == ("inf", "nan", 2.0)
    assert one["imperative"]["source"]["line"] == 7
    assert "left" not in one
    assert told["map"]["guesses"] == [["u", "v"]]
    assert told["map"]["left_over"]["functional"][0]["name"] == "more"


def test_a_path_is_shown_from_here_where_that_is_shorter(said, here, monkeypatch):
    source = said.fault().imperative.source
    assert describe.at(source) == "net.py:7"
    deep = here.joinpath(*"abcdefghijklmnopqrstuvwxyz")
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert describe.at(source) == f"{here / 'net.py'}:7"


def test_the_package_offers_pairs_at_one_obvious_import():
    assert compare.check.__name__ == "check"
    assert issubclass(compare.UnusablePortError, ValueError)
    assert {"Pair", "PairVerdict", "UnusablePortError", "check"} < set(compare.__all__)
