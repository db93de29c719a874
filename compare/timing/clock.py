"""Takes one run of a session apart into phases, and refuses what the clock may not have seen whole.

JAX dispatches and returns: a clock that stops there has timed the dispatch (jax#1797, jax#13151).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from compare.timing.statistics import stationary
from scenarios import Device, Dtype, Session

#: What the witness may find unfinished, as a share of the run: below it, a figure keeps its first digit.
WITNESSED = 0.1

#: How often the witness looks, and how often at runs of a second and more, beside which no copy is long; of a
#: copy that is disturbed now and then, the fastest tells.
LOOKS, FEW = 5, 2

#: Processor seconds per second and thread; the tick of the accounting is all that may exceed 1.
OCCUPIED = 1.05

#: Runs of a warm-up, and seconds after which it ends in any case.
WARM_UPS, PATIENCE = 40, 5.0


@dataclass(frozen=True)
class Sample:
    """One run, its phases apart, in seconds.

    Attributes:
        prepare: start values, optimizer state and data to the device.
        dispatch: until ``launch`` came back.
        run: from the launch until the device had finished; ``dispatch`` is a part of it.
        transfer: copying the parameters out.
        busy: processor seconds of the process per second of the run.
        compiling: seconds of ``run`` in which the framework says it compiled.
        pending: whether the device said that it was at work when the clock had stopped.
    """

    prepare: float
    dispatch: float
    run: float
    transfer: float
    busy: float
    compiling: float
    pending: bool


def sample(session: Session, rest: float = 0.0) -> Sample:
    """Run a session once, and rest so many seconds before its results are copied out."""
    began = time.perf_counter()
    prepared = session.prepare()
    prepare = time.perf_counter() - began
    compiled = session.compiling()
    outside, occupied = time.perf_counter(), time.process_time()
    started = time.perf_counter()
    handle = session.launch(prepared)
    dispatched = time.perf_counter()
    session.finish(handle)
    finished = time.perf_counter()
    occupied = time.process_time() - occupied
    outside = time.perf_counter() - outside
    pending = session.pending(handle)
    if rest:
        time.sleep(rest)
    copying = time.perf_counter()
    session.leave(handle)
    return Sample(
        prepare=prepare,
        dispatch=dispatched - started,
        run=finished - started,
        transfer=time.perf_counter() - copying,
        busy=occupied / outside,
        compiling=session.compiling() - compiled,
        pending=pending,
    )


def warm_up(session: Session) -> tuple[Sample, ...]:
    """Run a session until its last runs show no trend any more."""
    samples: list[Sample] = []
    started = time.perf_counter()
    while len(samples) < WARM_UPS and not stationary([s.run for s in samples]):
        samples.append(sample(session))
        if time.perf_counter() - started > PATIENCE:
            break
    return tuple(samples)


def unfinished(session: Session, run: float) -> float:
    """Seconds for which a run went on after the clock had stopped: the witness.

    Results that are copied out at once have to wait for what is unfinished; after a rest they need not. So
    the copies differ by the rest, or by less if everything was finished before it was over.

    Args:
        session: to look at.
        run: seconds that the clock says a run takes.
    """
    looks = LOOKS if run < 1 else FEW
    at_once = [sample(session).transfer for _ in range(looks)]
    rest = max(run, median(at_once))
    rested = [sample(session, rest).transfer for _ in range(looks)]
    return max(0.0, min(at_once) - min(rested))


def refusal(samples: Sequence[Sample], unfinished: float, threads: int) -> str:
    """Why the samples of a steady state may not be quoted; empty if they may.

    Args:
        samples: of the steady state.
        unfinished: what the witness found, in seconds.
        threads: that the process was to use.
    """
    if any(s.pending for s in samples):
        return "the device was still at work when the clock stopped"
    if unfinished > WITNESSED * median(s.run for s in samples):
        return "the results were not there yet when the clock stopped: copying them out had to wait"
    if any(s.compiling for s in samples):
        return "something was compiled during the steady state"
    if median(s.busy for s in samples) > OCCUPIED * threads:
        return f"it kept more than {threads} {'thread' if threads == 1 else 'threads'} busy"
    return ""


@dataclass(frozen=True)
class Request:
    """What a worker is asked for: a variant to open, or one more sample of a session that is open.

    Attributes:
        scenario, sizes, dtype, device: of the variant.
        variant: by name; None asks for a sample.
        session: the number of the open one.
        trace: where to write a trace of a run of the variant, instead of opening it; empty for none.
        judged: the module of the variant, which is to be judged instead of opened; empty if it is not.
    """

    scenario: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    variant: str | None = None
    dtype: Dtype = "float32"
    device: Device = "cpu"
    session: int = 0
    trace: str = ""
    judged: str = ""


@dataclass(frozen=True)
class Opened:
    """What a variant cost before its steady state.

    Attributes:
        steps: of one run.
        compile: seconds of tracing and compiling ahead of time; None where nothing is.
        first: the first run, with whatever it compiles.
        warm_up: the runs until no trend was left.
        unfinished: seconds of a run that its clock missed, as the witness found.
        host: bytes by which compiling and the first run raised the peak of the process; None if unknown.
        device: peak bytes on the device; None where the device is the host.
        cores: that the process may use; None where the system does not say.
        threads: that the framework says it computes with; None where it does not.
    """

    steps: int
    compile: float | None
    first: Sample
    warm_up: tuple[Sample, ...]
    unfinished: float
    host: int | None
    device: int | None
    cores: int | None
    threads: int | None
