"""The clock, what it refuses, the statistics, and what changed between two benches."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import functional.variants
import scenarios
from compare.record import UnreadableRunError
from compare.runner import environment
from compare.timing import bench as timing
from compare.timing import judging, saved, table
from compare.timing.bench import Timed, bench
from compare.timing.clock import WITNESSED, Opened, Sample, refusal, sample, unfinished, warm_up
from compare.timing.difference import changes, difference
from compare.timing.judging import judged
from compare.timing.statistics import RESAMPLES, crossover, estimate, growth, ratios, stationary
from scenarios import Session, UnavailableError
from scenarios.sizes import SIZES, scaled

WORK = 0.02


class Device:
    """Works in the background for some seconds after each launch, as an accelerator does."""

    def __init__(self, seconds=WORK):
        self.seconds, self.compiled = seconds, 0.0

    def launch(self, _):
        thread = threading.Thread(target=time.sleep, args=(self.seconds,))
        thread.start()
        return thread

    def leave(self, thread):
        thread.join()
        return {"x": np.zeros(1)}

    def compile_always(self, prepared):
        self.compiled += 0.5
        return self.launch(prepared)

    def session(self, **broken):
        return Session(
            **{
                "steps": 10,
                "prepare": lambda: None,
                "launch": self.launch,
                "pending": lambda thread: thread.is_alive(),
                "finish": lambda thread: thread.join(),
                "leave": self.leave,
                "compiling": lambda: self.compiled,
                "memory": None,
                "threads": 1,
                **broken,
            }
        )


def verdict(session, threads=1):
    samples = [sample(session) for _ in range(5)]
    run = float(np.median([s.run for s in samples]))
    return refusal(samples, unfinished(session, run), threads)


def test_a_clock_that_waits_for_the_device_is_believed():
    session = Device().session()
    assert verdict(session) == ""
    taken = sample(session)
    assert taken.dispatch < WORK <= taken.run
    assert taken.transfer < WORK


def test_a_clock_that_stops_at_the_dispatch_is_refused_because_the_device_says_so():
    assert "still at work" in verdict(Device().session(finish=lambda _: None))


def test_a_clock_that_stops_at_the_dispatch_is_refused_even_if_the_device_denies_it():
    blind = Device().session(finish=lambda _: None, pending=lambda _: False)
    assert "copying them out had to wait" in verdict(blind)


def test_a_clock_that_stops_a_fifth_too_early_is_refused():
    def hasty(thread):
        thread.join(timeout=0.08)

    assert verdict(Device(0.1).session(finish=hasty, pending=lambda _: False)) != ""


def test_a_compilation_in_the_steady_state_is_refused():
    device = Device()
    assert "compiled" in verdict(device.session(launch=device.compile_always))


def fixed(run=1.0, **changed):
    return Sample(
        **{"prepare": 0.1, "dispatch": 0.1, "run": run, "transfer": 0.1, "busy": 1.0, "compiling": 0.0}
        | {"pending": False}
        | changed
    )


def test_a_process_that_keeps_more_threads_busy_than_it_was_given_is_refused():
    assert "more than 1 thread busy" in refusal([fixed(busy=1.9)] * 5, 0.0, 1)
    assert refusal([fixed(busy=1.9)] * 5, 0.0, 2) == ""
    assert "more than 2 threads busy" in refusal([fixed(busy=2.9)] * 5, 0.0, 2)


def test_what_the_witness_may_find_is_a_share_of_the_run():
    assert refusal([fixed()] * 3, 0.9 * WITNESSED, 1) == ""
    assert refusal([fixed()] * 3, 1.1 * WITNESSED, 1) != ""


def opened(**changed):
    return Opened(
        **{
            "steps": 10,
            "compile": None,
            "first": fixed(5.0),
            "warm_up": (fixed(),),
            "unfinished": 0.0,
            "host": 2**20,
            "device": None,
            "cores": 1,
            "threads": 1,
        }
        | changed
    )


def timed(name="eager", runs=(1.0,) * 15, side="imperative", **changed):
    fields = {"scenario": "root_finding", "sizes": {}, "dtype": "float32", "device": "cpu", "refused": ""}
    samples = tuple(fixed(run) for run in runs)
    return Timed(**fields | {"side": side, "variant": name, "opened": opened(), "samples": samples} | changed)


def test_sides_that_are_given_unequal_numbers_of_cores_are_refused():
    left, right = timed(), timed("scan", side="functional", opened=opened(cores=2))
    assert "same number of cores" in timing._uneven(left, [left, right])
    assert timing._uneven(left, [left, timed("scan", side="functional")]) == ""


def test_a_framework_that_computes_with_more_threads_than_it_has_cores_is_refused():
    one = timed(opened=opened(threads=2))
    assert "computes with 2 threads and may use 1" in timing._uneven(one, [one])


def test_a_session_is_warm_when_its_runs_show_no_trend():
    durations = iter([*np.linspace(0.1, 0.02, 12), *[0.02] * 40])
    device = Device()

    def launch(prepared):
        device.seconds = float(next(durations))
        return device.launch(prepared)

    taken = warm_up(device.session(launch=launch))
    assert 12 <= len(taken) < 40


@pytest.mark.parametrize("n", [2, 5, 15])
def test_an_estimate_lies_within_its_interval_and_is_the_same_each_time(n):
    samples = np.random.default_rng(n).lognormal(size=n).tolist()
    found = estimate(samples)
    assert found.low <= found.median <= found.high
    assert found.median == np.median(samples)
    assert estimate(samples) == found


def test_of_one_sample_alone_nothing_is_certain():
    assert estimate([1.0]).noisy
    assert not estimate([1.0]).decided


@pytest.mark.parametrize("n", [2, 3, 15, 40])
def test_the_interval_is_the_one_that_scipy_would_take_longer_to_find(n):
    values = np.random.default_rng(n).lognormal(size=n)
    found = stats.bootstrap(
        (values,), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    told = estimate(values)
    assert (told.low, told.high) == pytest.approx((found.low, found.high), rel=1e-12)


def test_an_interval_holds_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    held = 0
    for _ in range(100):
        found = estimate(random.lognormal(size=21).tolist())
        held += found.low <= 1.0 <= found.high
    assert 88 <= held <= 100


def test_a_wide_interval_is_noisy_and_a_narrow_one_is_not():
    assert estimate([1.0, 2.0, 1.1, 1.9, 1.5]).noisy
    assert not estimate([1.0, 1.01, 0.99, 1.0, 1.02]).noisy


@settings(max_examples=50)
@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=20), st.floats(1.5, 100))
def test_a_machine_that_slows_down_for_both_leaves_their_ratio_alone(drift, factor):
    left, right = [factor * d for d in drift], list(drift)
    assert np.allclose(ratios(left, right), factor)
    assert estimate(ratios(left, right)).decided


def test_samples_with_a_trend_are_not_stationary():
    assert not stationary(np.linspace(2, 1, 20).tolist())
    assert not stationary([1.0] * 5)
    assert stationary([1.0] * 8)
    assert stationary([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.1, 0.9])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law_is_found(exponent):
    sizes = [10, 100, 1000, 4096]
    assert growth(sizes, [3.0 * n**exponent for n in sizes]).exponent == pytest.approx(exponent, abs=1e-12)


def test_the_size_from_which_one_is_faster_is_interpolated():
    sizes = [1, 10, 100, 1000]
    slow, quick = [1.0, 10.0, 100.0, 1000.0], [30.0, 30.0, 30.0, 30.0]
    assert crossover(sizes, quick, slow) == pytest.approx(30)
    assert crossover(sizes, slow, quick) is None
    assert crossover(sizes, [0.5 * s for s in slow], slow) == 1


def test_a_compilation_pays_after_as_many_steps_as_it_cost():
    plain = timed(runs=[10.0] * 5)
    compiled = timed("compiled step", [1.0] * 5, opened=opened(first=fixed(19.0)))
    # 18 s once, and 0.9 s gained a step.
    assert compiled.pays(plain) == pytest.approx(20)
    assert plain.pays(compiled) is None


@pytest.mark.parametrize(("name", "size"), [(n, s) for n, sizes in SIZES.items() for s in sizes])
def test_every_size_can_be_scaled_and_both_sides_still_train(name, size):
    statement = scaled(scenarios.get(name), **{"steps": 3, size: 3})
    assert statement.require_training().steps == 3
    for side in ("imperative", "functional"):
        module = __import__(f"{side}.{name}", fromlist=["run"])
        converged = module.run(statement, device="cpu").converged
        assert all(np.isfinite(array).all() for array in converged.values())


def test_a_scaled_scenario_has_the_sizes_that_were_asked_for():
    network = scaled(scenarios.get("sine_network"), width=7, points=30)
    assert network.start["hidden1.weight"].shape == (7, 7)
    assert network.data["x"].shape == (30, 1)
    assert np.array_equal(network.data["y"], np.sin(network.data["x"]))
    assert np.array_equal(scaled(scenarios.get("line_network"), points=9).data["y"][-1], [4.0])
    assert scaled(scenarios.get("sine_network")) is scenarios.get("sine_network")


def test_a_cubic_with_many_points_does_not_diverge():
    statement = scaled(scenarios.get("sine_polynomial"), points=10_000, steps=50)
    converged = (
        __import__("functional.sine_polynomial", fromlist=["run"]).run(statement, device="cpu").converged
    )
    assert abs(converged["a"]) < 1


@pytest.mark.parametrize(
    ("name", "sizes", "sentence"),
    [
        ("leaves", {"steps": 3}, "leaves cannot be scaled by steps: it trains nothing."),
        ("root_finding", {"width": 3}, "root_finding cannot be scaled by width: it has steps."),
        ("sine_network", {"width": 0}, "width=0: a size is 1 or more, and 1e+09 at most."),
    ],
)
def test_a_size_that_does_not_exist_is_named(name, sizes, sentence):
    with pytest.raises(UnavailableError) as caught:
        scaled(scenarios.get(name), **sizes)
    assert str(caught.value) == sentence


# In processes of their own.
APART = {"compiled step", *functional.variants.FLAGS}
VARIANTS = [
    (module, statement.name, variant)
    for module in timing.MODULES.values()
    for statement in scenarios.ALL
    if statement.training
    for variant in __import__(module, fromlist=["variants"]).variants(statement, "cpu")
    if variant not in APART and (variant != "op by op" or statement.name == "root_finding")
]


@pytest.mark.parametrize(("module", "name", "variant"), VARIANTS)
def test_every_variant_trains_as_the_twin_of_the_other_side_does(module, name, variant):
    statement = scaled(scenarios.get(name), steps=16)
    assert judged(statement, module, variant, "float64", "cpu") == ""


@pytest.mark.parametrize("module", timing.MODULES.values())
@pytest.mark.parametrize("name", ["root_finding", "sine_polynomial"])
def test_a_variant_starts_afresh_at_every_run(module, name):
    statement = scaled(scenarios.get(name), steps=3)
    offered = __import__(module, fromlist=["variants"])
    for variant in set(offered.variants(statement, "cpu")) - APART:
        session = offered.session(statement, variant, "float64", "cpu")
        if session.compile:
            session.compile()
        left = []
        for _ in range(2):
            handle = session.launch(session.prepare())
            session.finish(handle)
            assert not session.pending(handle)
            left.append(session.leave(handle))
        assert all(np.array_equal(left[0][n], left[1][n]) for n in statement.start)


COMPILED = """
import numpy as np
import scenarios
from compare.timing.judging import judged
from imperative.variants import session
from scenarios.sizes import scaled

statement = scaled(scenarios.get("sine_network"), steps=16, points=3, width=2)
assert judged(statement, "imperative.variants", "compiled step", "float64", "cpu") == ""
compiled = session(statement, "compiled step", "float64", "cpu")
first, again = (compiled.leave(compiled.launch(compiled.prepare())) for _ in range(2))
assert all(np.array_equal(first[name], again[name]) for name in first)
assert compiled.compiling() > 0
"""


def test_a_compiled_step_trains_as_the_other_side_does_and_starts_afresh():
    # In a process of its own: the compiler cannot look through the checks of types that tests put in.
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


SINGLE = """
import jax
import numpy as np
import scenarios
from compare.timing.judging import judged
from scenarios.sizes import scaled

for name in ("sine_polynomial", "sine_network"):
    statement = scaled(scenarios.get(name), steps=16)
    assert judged(statement, "functional.variants", "single-kernel scan", "float64", "cpu") == ""
compiled = jax.jit(lambda x: jax.lax.scan(lambda c, _: (c * c, None), x, length=99)[0])
assert "xla_cpu_small_call" in compiled.lower(np.ones(10_000)).compile().as_text()
"""


def test_a_loop_that_is_compiled_as_one_function_trains_as_the_other_side_does():
    # XLA reads its flags once in a process, and no further than to the first word that is none.
    worker = timing._Worker("functional.variants", 1, functional.variants.FLAGS["single-kernel scan"])
    assert all(flag.startswith("--") for flag in worker.environment["XLA_FLAGS"].split())
    subprocess.run([sys.executable, "-c", SINGLE], check=True, env=worker.environment)


def test_a_variant_that_needs_flags_is_refused_by_a_process_without_them():
    statement = scaled(scenarios.get("root_finding"), steps=16)
    why = judged(statement, "functional.variants", "single-kernel scan", "float64", "cpu")
    assert why.startswith(
        "UnavailableError: 'single-kernel scan' needs XLA_FLAGS='--xla_backend_extra_options="
    )


def test_a_variant_with_flags_of_its_own_is_judged_and_timed_in_processes_of_its_own():
    (group,) = bench(["root_finding"], rounds=2, only=["scan", "single-kernel scan"], sweep={"steps": [16]})
    assert [(one.variant, one.refused, len(one.samples)) for one in group] == [
        ("scan", "", 2),
        ("single-kernel scan", "", 2),
    ]


def test_a_variant_that_computes_something_else_is_not_timed():
    statement = scaled(scenarios.get("root_finding"), steps=16)
    why = judged(statement, "wrong_variants", "hasty", "float32", "cpu")
    assert why.startswith("it computes something else: converged.")
    (group,) = bench(
        ["root_finding"],
        rounds=2,
        only=["hasty"],
        sweep={"steps": [16]},
        modules={"imperative": "wrong_variants"},
    )
    assert group[0].refused == why
    assert group[0].opened is None
    assert group[0].samples == ()


@pytest.mark.parametrize(("variant", "word"), [("eager", ""), ("doubled", "it computes something else")])
def test_of_a_large_network_one_step_from_half_way_is_judged_and_shows_the_size_of_the_gradient(
    monkeypatch, variant, word
):
    monkeypatch.setattr(judging, "LARGE", 1)
    statement = scaled(scenarios.get("sine_network"), steps=4, points=4, width=2)
    assert judged(statement, "wrong_variants", variant, "float32", "cpu")[: len(word) or None] == word


def test_a_variant_that_raises_has_no_figure_and_says_why():
    why = judged(
        scaled(scenarios.get("root_finding"), steps=16), "wrong_variants", "raising", "float32", "cpu"
    )
    assert why == "OSError: no compiler"


@pytest.fixture(scope="module")
def one_bench():
    sweep = {"steps": [20, 40, 80]}
    groups = tuple(bench(["root_finding"], rounds=3, only=["eager", "scan"], sweep=sweep))
    place = environment(["root_finding"], ["float32"], "cpu")
    return saved.Bench(place, 1, 3, tuple(one for group in groups for one in group))


def test_a_bench_times_each_side_in_a_process_of_its_own_on_equal_terms(one_bench):
    assert [t.name for t in one_bench.timed] == ["imperative: eager", "functional: scan"] * 3
    for one in one_bench.timed:
        assert one.opened.cores in {1, None}
        assert len(one.samples) == 3
        assert one.steps == one.sizes["steps"]
        assert one.opened.first.run > 0
    assert one_bench.timed[1].opened.first.compiling > 0
    assert one_bench.timed[0].opened.first.compiling == 0


def test_a_bench_is_saved_whole_and_read_back(one_bench, tmp_path):
    saved.save(tmp_path / "new", one_bench)
    assert saved.load(tmp_path / "new") == one_bench
    assert saved.load(tmp_path) is None
    file = tmp_path / "new" / saved.FILE
    for changed in ("{}", file.read_text().replace('"rounds":3', '"rounds":4')):
        file.write_text(changed)
        with pytest.raises(UnreadableRunError):
            saved.load(tmp_path / "new")


def test_a_bench_is_shown_in_a_table_for_each_size_and_one_for_the_growth(one_bench):
    shown = list(table.tables(one_bench))
    assert len(shown) == 4
    assert {row[0] for row in shown[0].rows} == {"imperative: eager", "functional: scan"}
    assert all(len(row) == len(grid.header) for grid in shown for row in grid.rows)
    assert "grows with steps" in shown[3].caption


def on(device, seconds, **changed):
    """The same variant at four sizes, with what a run takes at each."""
    return [
        timed(runs=[s] * 3, sizes={"width": 10**k}, device=device, **changed) for k, s in enumerate(seconds)
    ]


def test_the_size_from_which_the_gpu_wins_is_told_for_every_variant_that_ran_on_both():
    place = environment(["sine_network"], ["float32"], "cpu")
    both = [*on("cpu", [1, 10, 100, 1000]), *on("gpu", [30, 30, 30, 30]), *on("gpu", [1] * 4, name="graph")]
    shown = list(table.tables(saved.Bench(place, 1, 3, tuple(both))))
    assert [t.caption for t in shown if "grows with" in t.caption] == [
        "root_finding (float32, cpu): how the cost grows with width",
        "root_finding (float32, gpu): how the cost grows with width",
    ]
    assert shown[-1].caption == "root_finding (float32): where the GPU begins to win, by width"
    assert shown[-1].rows == (("imperative: eager", "from 30"),)


def test_what_was_swept_in_two_dtypes_is_not_fitted_as_one():
    place = environment(["sine_network"], ["float32"], "cpu")
    both = [*on("cpu", [1, 10, 100, 1000]), *on("cpu", [5, 5, 5, 5], dtype="float64")]
    lines = list(table.swept(both))
    assert [line.title for line in lines] == ["root_finding (float32, cpu)", "root_finding (float64, cpu)"]
    growths = [
        t.rows[0][1] for t in table.tables(saved.Bench(place, 1, 3, tuple(both))) if "grows" in t.caption
    ]
    assert [g.split(" ")[0] for g in growths] == ["1.00", "0.00"]


def test_two_sizes_that_were_swept_one_after_the_other_are_two_lines():
    runs = [1, 10, 100]
    wide = [timed(runs=[s] * 3, sizes={"width": s, "steps": 5}) for s in runs]
    long = [timed(runs=[1.0] * 3, sizes={"points": s, "steps": 5}) for s in runs]
    lines = list(table.swept([*wide, *long]))
    assert [(line.size, *line.points["imperative: eager"]) for line in lines] == [
        ("width", *runs),
        ("points", *runs),
    ]


def test_a_bench_says_on_what_it_did_not_measure():
    place = environment(["root_finding"], ["float32"], "cpu")
    assert table.unmeasured(saved.Bench(place, 1, 3, (timed(),))) == "Not measured: GPU."
    assert table.unmeasured(saved.Bench(place, 1, 3, (timed(), timed(device="gpu")))) == ""


def test_peak_memory_on_a_device_of_its_own_is_shown_beside_the_hosts():
    place = environment(["root_finding"], ["float32"], "cpu")
    there = timed(device="gpu", opened=opened(device=3 * 2**20))
    (here, gpu) = table.tables(saved.Bench(place, 1, 3, (timed(), there)))
    column = here.header.index("memory")
    assert (here.rows[0][column], gpu.rows[0][column]) == ("1 MiB", "1 MiB, 3 MiB on the device")


@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_between_the_rounds_costs_its_own_variants_their_figures_and_no_others(dies):
    class Worker:
        def __init__(self, index):
            self.left = 1 if index == dies else 99

        def ask(self, _):
            self.left -= 1
            if self.left < 0:
                return timing._Answer(error="its process ended with exit code -9")
            return timing._Answer(sample=fixed())

    taken, lost = timing._rounds({0: (Worker(0), 0), 1: (Worker(1), 0)}, 3)
    assert lost == {dies: "its process ended with exit code -9"}
    assert {index: len(samples) for index, samples in taken.items()} == {dies: 1, 1 - dies: 3}


def test_rounds_in_which_something_else_had_the_core_are_counted():
    place = environment(["root_finding"], ["float32"], "cpu")
    robbed = timed()
    robbed = replace(robbed, samples=(*robbed.samples[:12], *[fixed(3.0, busy=0.3)] * 3))
    (shown,) = table.tables(saved.Bench(place, 1, 15, (robbed,)))
    assert shown.rows[0][-1] == "something else had its core in 3 of 15 rounds"


def test_a_refused_variant_is_shown_with_its_reason_and_without_a_figure():
    place = environment(["root_finding"], ["float32"], "cpu")
    refused = timed("scan", refused="it kept more than 1 thread busy", side="functional")
    (shown,) = table.tables(saved.Bench(place, 1, 15, (timed(), refused)))
    assert shown.rows[-1] == ("functional: scan", *["–"] * 8, "it kept more than 1 thread busy")


def test_who_is_not_certainly_slower_is_not_ranked_behind():
    place = environment(["root_finding"], ["float32"], "cpu")
    random = np.random.default_rng(0)
    even = timed("scan", (1 + 0.1 * random.normal(size=15)).tolist(), side="functional")
    slow = timed("torch.func", [3.0] * 15)
    (shown,) = table.tables(saved.Bench(place, 1, 15, (timed(), even, slow)))
    marks = {row[0]: row[2] for row in shown.rows}
    assert sorted(mark[0] for mark in marks.values()) == ["1", "3", "="]


def noisy(name, seed, seconds, drift=1.0, side="imperative"):
    random = np.random.default_rng([seed, len(name)])
    return timed(name, (seconds * drift * random.lognormal(sigma=0.03, size=15)).tolist(), side=side)


def kept(directory, seed, *, drift=1.0, slow=1.0):
    place = environment(["root_finding"], ["float32"], "cpu")
    rivals = (
        noisy("eager", seed, 1.0, drift),
        noisy("fused optimizer", seed, 0.7, drift),
        noisy("torch.func", seed, 2.0, drift),
        noisy("scan", seed, 0.01 * slow, drift, "functional"),
    )
    saved.save(directory, saved.Bench(place, 1, 15, rivals))
    return directory


@pytest.mark.parametrize("seed", range(20))
def test_two_benches_of_the_same_code_are_not_flagged_though_the_machine_has_slowed_down(tmp_path, seed):
    found = difference(kept(tmp_path / "a", seed), kept(tmp_path / "b", seed + 100, drift=1.4))
    assert found.slower(1.1) == ()
    assert found.machine == pytest.approx(1.4, rel=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_a_variant_that_has_become_half_as_slow_again_is_flagged(tmp_path, seed):
    found = difference(kept(tmp_path / "a", seed), kept(tmp_path / "b", seed + 100, drift=0.8, slow=1.5))
    assert [t.name for t in found.slower(1.1)] == ["root_finding (float32, cpu) functional: scan"]
    assert changes(found, ["verdict"], 1.1) == {"verdict": 0}
    assert changes(found, ["verdict", "time"], 1.1) == {"verdict": 0, "time": 1}


def test_a_variant_that_has_lost_its_figure_is_flagged(tmp_path):
    place = environment(["root_finding"], ["float32"], "cpu")
    for name, refused in (("a", ""), ("b", "it computes something else")):
        saved.save(tmp_path / name, saved.Bench(place, 1, 15, (timed(refused=refused),)))
    (change,) = difference(tmp_path / "a", tmp_path / "b").slower(1.1)
    assert change.refused == "it computes something else"
    assert difference(tmp_path / "b", tmp_path / "b").slower(1.1) == ()


def test_a_variant_that_only_one_bench_has_is_missing_and_not_compared(tmp_path):
    place = environment(["root_finding"], ["float32"], "cpu")
    saved.save(tmp_path / "a", saved.Bench(place, 1, 15, (timed(), timed("scan", side="functional"))))
    saved.save(tmp_path / "b", saved.Bench(place, 1, 15, (timed(),)))
    found = difference(tmp_path / "a", tmp_path / "b")
    assert found.missing == ("root_finding (float32, cpu) functional: scan",)
    assert len(found.times) == 1


@pytest.mark.parametrize("which", ["neither", "different kinds"])
def test_directories_without_two_of_a_kind_are_named(tmp_path, which):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    if which == "different kinds":
        kept(tmp_path / "a", 0)
        (tmp_path / "b" / "run.json").write_text("{}")
    with pytest.raises(UnreadableRunError, match=r"neither a saved run|two of a kind"):
        difference(tmp_path / "a", tmp_path / "b")


def test_a_worker_that_ends_leaves_the_others_their_figures(tmp_path):
    with timing._Worker("no_such_module", 1) as worker:
        answer = worker.ask(timing.Request("root_finding", {}, "eager"))
    assert "exit code 1" in answer.error


def test_threads_and_rounds_must_be_one_or_more():
    for options in ({"threads": 0}, {"rounds": 0}):
        with pytest.raises(UnavailableError, match="both are 1 or more"):
            next(bench(["root_finding"], **options))


def test_a_variant_that_nobody_has_is_named_with_the_nearest():
    with pytest.raises(UnavailableError, match="did you mean 'eager'"):
        next(bench(["root_finding"], only=["eagre"]))


def test_a_variant_that_has_gained_a_figure_is_not_flagged(tmp_path):
    place = environment(["root_finding"], ["float32"], "cpu")
    for name, refused in (("a", "it kept more than 1 thread busy"), ("b", ""), ("c", "it was unlucky")):
        saved.save(tmp_path / name, saved.Bench(place, 1, 15, (timed(refused=refused),)))
    for after in ("b", "c"):
        assert difference(tmp_path / "a", tmp_path / after).slower(1.1) == ()


def test_benches_that_have_nothing_in_common_are_refused_and_what_one_lacks_is_shown(tmp_path):
    place = environment(["root_finding"], ["float32"], "cpu")
    for name, variants in (("a", ["eager"]), ("b", ["scan"]), ("c", ["eager", "scan"])):
        rivals = tuple(timed(variant) for variant in variants)
        saved.save(tmp_path / name, saved.Bench(place, 1, 15, rivals))
    with pytest.raises(UnreadableRunError, match="timed nothing in common"):
        difference(tmp_path / "a", tmp_path / "b")
    (*_, missing) = table.change(difference(tmp_path / "a", tmp_path / "c"))
    assert missing.rows == (("root_finding (float32, cpu) imperative: scan",),)


def test_a_variant_that_takes_fewer_steps_is_compared_by_what_a_whole_run_would_take():
    slow = [1e-2 * 20] * 3  # twenty steps of 10 ms, beside a thousand of 1 ms
    few = timed("op by op", slow, side="functional", opened=opened(steps=20), scenario="sine_network")
    many = timed(runs=[1.0] * 3, opened=opened(steps=1000), scenario="sine_network")
    assert table.cost(few) == pytest.approx(10)
    assert table.cost(many) == pytest.approx(1)


def test_only_what_compiles_nothing_is_what_a_compilation_pays_against():
    place = environment(["root_finding"], ["float32"], "cpu")
    ahead = timed("ahead of time", [0.5] * 3, side="functional")
    both = (timed("scan", [1.0] * 3, side="functional"), ahead)
    (shown,) = table.tables(saved.Bench(place, 1, 3, both))
    assert {row[6] for row in shown.rows} == {"–"}
    (shown,) = table.tables(
        saved.Bench(place, 1, 3, (timed("op by op", [1.0] * 3, side="functional"), ahead))
    )
    assert "steps" in {row[0]: row[6] for row in shown.rows}["functional: ahead of time"]


def test_a_worker_that_has_died_is_replaced_for_whoever_comes_next():
    with timing._Workers(1) as workers:
        first = workers.of("imperative.variants", "eager", "imperative.variants")
        assert workers.of("imperative.variants", "torch.func", "imperative.variants") is first
        first.process.kill()
        first.process.wait()
        again = workers.of("imperative.variants", "eager", "imperative.variants")
        assert again is not first
        assert again.process.poll() is None


ORPHAN = """
import os, sys
from compare.timing.bench import _Worker
with _Worker("compare.timing.judging", 1) as worker:
    print(worker.process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_no_worker_outlives_the_one_that_started_it():
    ended = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split(")")[1].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"{pid} is still there")


def test_flags_of_ours_are_read_though_the_users_end_in_a_word_that_is_none(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    flags = timing._Worker("functional.variants", 1, "--ours").environment["XLA_FLAGS"]
    assert flags.index("--ours") < flags.index("intra_op_parallelism_threads")


def test_of_benches_with_one_round_nothing_is_certain(tmp_path):
    place = environment(["root_finding"], ["float32"], "cpu")
    for name, run in (("a", 1.0), ("b", 5.0)):
        saved.save(tmp_path / name, saved.Bench(place, 1, 1, (timed(runs=[run]),)))
    found = difference(tmp_path / "a", tmp_path / "b")
    assert found.times[0].raw == pytest.approx(5)
    assert found.slower(1.1) == ()
