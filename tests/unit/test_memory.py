"""Memory over many decisions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat_over_many_decisions(artifact: Path, run_python: Callable[..., str]) -> None:
    script = """
        import sys
        import numpy as np
        import turnout

        def resident():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

        router = turnout.load(sys.argv[1])
        prompts = [f"what is the sum of {row} \\u4e2d\\u6587 caf\\u00e9 numbers?" for row in range(1000)]
        odd = ["", "\\u0301" * 50, "x" * 3000, "[SEP] [CLS]", "\\U0001f600 " * 100]
        embedding = router.embed("what is")

        def decide(times):
            for _ in range(times):
                for prompt in prompts:
                    router.route(prompt)
                router.route_batch(prompts)
                router.win_rates(prompts)
                router.route(embedding=embedding)
                for prompt in odd:
                    router.route(prompt)
                    router.explain(prompt)
                for wrong in ("\\ud800", 5):
                    try:
                        router.route(wrong)
                    except turnout.RouterError:
                        pass

        decide(10)
        before = resident()
        decide(100)
        print(resident() - before)
    """
    grown = int(run_python(script, str(artifact), timeout=120))
    assert grown < 4096, f"{grown} KiB over 300,000 decisions"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_opening_and_dropping_routers_leaves_nothing(artifact: Path, run_python: Callable[..., str]) -> None:
    script = """
        import pickle, sys
        import turnout

        def resident():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

        def open_and_drop(times):
            for _ in range(times):
                pickle.loads(pickle.dumps(turnout.load(sys.argv[1]))).route("what is")
                try:
                    turnout.load("/nowhere")
                except turnout.ArtifactError:
                    pass

        open_and_drop(50)
        before = resident()
        open_and_drop(500)
        print(resident() - before)
    """
    grown = int(run_python(script, str(artifact)))
    assert grown < 6144, f"{grown} KiB over 1,000 routers"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", ["mf", "sw_ranking"])
def test_routers_of_one_artifact_share_what_they_only_read(run_python: Callable[..., str], name: str) -> None:
    script = """
        import sys
        import turnout

        def resident():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

        kept = [turnout.load(sys.argv[1], threshold=0.1)]
        kept[0].route("what is")
        before = resident()
        kept += [turnout.load(sys.argv[1], threshold=place / 100) for place in range(50)]
        assert len({router.route("what is").win_rate for router in kept}) == 1
        assert [router.threshold for router in kept[1:4]] == [0.0, 0.01, 0.02]
        print(resident() - before)
    """
    grown = int(run_python(script, name))
    limit = {"mf": 16 * 1024, "sw_ranking": 150 * 1024}[name]
    assert grown < limit, f"{grown} KiB for 50 more routers"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_router_in_a_reference_cycle_costs_little_until_it_is_collected_and_nothing_then(
    run_python: Callable[..., str],
) -> None:
    script = """
        import gc, sys, weakref
        import turnout

        def resident():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

        def load_into_a_cycle():
            router = turnout.load(sys.argv[1])
            router.route("what is")
            router.itself = router
            return weakref.ref(router)

        used = turnout.load(sys.argv[1])
        used.route("what is")
        load_into_a_cycle()
        gc.collect()
        gc.disable()
        peaks = [resident()]
        for _ in range(4):
            for _ in range(50):
                waiting = load_into_a_cycle()
            assert waiting() is not None
            peaks.append(resident())
            gc.collect()
            assert waiting() is None
        print(peaks[1] - peaks[0], peaks[-1] - peaks[1])
    """
    waiting, kept = map(int, run_python(script, "mf").split())
    assert waiting < 12 * 1024, f"{waiting} KiB for 50 routers that wait for the collector"
    assert kept < 4096, f"{kept} KiB more after it ran and another 150 waited"
