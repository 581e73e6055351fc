"""Metrics of workers that have ended: counted once, and gauges no more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, metrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.values import MultiProcessValue

pytest.importorskip("fcntl")

from turnout.serve.metric_files import MetricFiles


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Lets a worker of a process id count and observe."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    def begin(pid, amount):
        monkeypatch.setattr(metrics.values, "ValueClass", MultiProcessValue(lambda: pid))
        registry = CollectorRegistry()
        Counter("c", "Counted.", ["label"], registry=registry).labels(f'"{pid % 2}\n').inc(amount)
        histogram = Histogram("h", "Observed.", buckets=[1, 10], registry=registry)
        for value in (0.5, 5.0, amount):
            histogram.observe(value)
        for mode in ("livesum", "liveall", "livemax"):
            Gauge(f"g_{mode}", "Now.", registry=registry, multiprocess_mode=mode).set(1)

    return begin


def samples(files):
    families = text_string_to_metric_families(files.text().decode())
    found = {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}
    return {key: value for key, value in found.items() if not key[0].startswith("g_")}, {
        key for key in found if key[0].startswith("g_")
    }


def test_counts_of_workers_that_have_ended_stay_and_their_gauges_and_files_vanish(tmp_path, work):
    files = MetricFiles(tmp_path)
    for pid, amount in ((11, 2), (12, 30), (13, 4)):
        work(pid, amount)
    before, gauges = samples(files)
    assert before[("h_bucket", ("le", "+Inf"))] == before[("h_count",)] == 9
    assert before[("h_sum",)] == 3 * 5.5 + 36
    assert {value for key, value in before.items() if key[0] == "c_total"} == {6, 30}
    assert len(gauges) == 5
    for pid in (11, 12, 13):
        files.retire(pid)
        after, gauges = samples(files)
        assert after == before
        assert len(gauges) == {11: 4, 12: 3, 13: 0}[pid]
        assert not list(tmp_path.glob(f"*_{pid}.db"))
    # The process id may come again.
    work(11, 2)
    files.retire(11)
    assert samples(files)[0][("h_count",)] == 12
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["counter_0.db", "histogram_0.db"]


def test_a_file_that_a_killed_worker_gave_no_size_is_no_obstacle(tmp_path, work):
    files = MetricFiles(tmp_path)
    work(11, 2)
    (tmp_path / "counter_12.db").touch()
    files.retire(12)
    files.retire(11)
    assert samples(files)[0][("h_count",)] == 3


def test_no_scrape_sees_counts_twice_or_not_at_all_while_a_worker_is_retired(tmp_path, work):
    files, seen, ended = MetricFiles(tmp_path), set(), threading.Event()
    for pid in range(1, 41):
        work(pid, 1)

    def scrape():
        while not ended.is_set():
            seen.add(samples(files)[0][("h_count",)])

    with ThreadPoolExecutor(1) as pool:
        scraped = pool.submit(scrape)
        for pid in range(1, 41):
            files.retire(pid)
        ended.set()
        scraped.result()
    assert seen == {120.0}
