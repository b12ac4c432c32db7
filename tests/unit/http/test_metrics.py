"""The Prometheus exposition: what is counted, by which labels, over several workers.

Source: prometheus.io/docs/instrumenting/exposition_formats
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fhirserver.http import metrics as module
from fhirserver.http.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample of the exposition, None where it is absent."""
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def request_count(metrics: Metrics, interaction: str, type: str, status: str) -> float | None:
    return value(metrics, "fhirserver_requests_total", interaction=interaction, type=type, status=status)


def test_requests_are_counted_by_interaction_type_and_status_class() -> None:
    metrics = Metrics()
    metrics.observe("read", "Patient", 200, 0.003)
    metrics.observe("read", "Patient", 200, 0.004)
    metrics.observe("read", "Patient", 404, 0.001)
    assert request_count(metrics, "read", "Patient", "2xx") == 2
    assert request_count(metrics, "read", "Patient", "4xx") == 1
    assert request_count(metrics, "read", "Observation", "2xx") is None


def test_latency_buckets_are_cumulative_and_include_their_bound() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.0011, 99.0):
        metrics.observe("read", "Patient", 200, seconds)
    labels = {"interaction": "read", "type": "Patient", "status": "2xx"}
    name = "fhirserver_request_duration_seconds"
    assert value(metrics, f"{name}_bucket", le="0.001", **labels) == 1
    assert value(metrics, f"{name}_bucket", le="0.0025", **labels) == 2
    assert value(metrics, f"{name}_bucket", le="10.0", **labels) == 2
    assert value(metrics, f"{name}_bucket", le="+Inf", **labels) == 3
    assert value(metrics, f"{name}_count", **labels) == 3
    assert value(metrics, f"{name}_sum", **labels) == pytest.approx(99.0021)


def test_requests_in_flight_go_up_and_down() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.started()
    metrics.ended()
    assert value(metrics, "fhirserver_requests_in_flight") == 1


def test_batches_pool_and_database_state_are_shown() -> None:
    metrics = Metrics()
    metrics.on_batch("read", 3, 0.25)
    metrics.on_batch("read", 900, 0.25)
    for event in ("opened", "opened", "closed", "taken"):
        metrics.on_pool(event)
    metrics.on_mongod("up")
    assert value(metrics, "fhirserver_batch_items_bucket", batcher="read", le="4.0") == 1
    assert value(metrics, "fhirserver_batch_items_sum", batcher="read") == 903
    assert value(metrics, "fhirserver_batch_call_seconds_total", batcher="read") == 0.5
    assert value(metrics, "fhirserver_mongo_connections", state="open") == 1
    assert value(metrics, "fhirserver_mongo_connections", state="taken") == 1
    assert value(metrics, "fhirserver_mongo_pool_events_total", event="opened") == 2
    assert value(metrics, "fhirserver_mongod_state", state="up") == 1
    assert value(metrics, "fhirserver_mongod_state", state="down") == 0


def test_unknown_words_for_pool_and_database_are_refused() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.on_pool("vanished")
    with pytest.raises(ValueError, match="sideways"):
        metrics.on_mongod("sideways")


def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SERIES", 3)
    metrics = Metrics()
    for number in range(10):
        metrics.observe("read", f"Type{number}", 200, 0.1)
    assert request_count(metrics, "read", "Type2", "2xx") == 1
    assert request_count(metrics, "read", "Type3", "2xx") is None
    assert request_count(metrics, "other", "other", "2xx") == 7


def test_a_scrape_adds_up_all_workers(tmp_path: Path) -> None:
    one, two = Metrics(tmp_path, name="one"), Metrics(tmp_path, name="two")
    one.observe("read", "Patient", 200, 0.1)
    two.observe("read", "Patient", 200, 0.1)
    two.started()
    one.snapshot()
    two.snapshot()
    one.observe("read", "Patient", 200, 0.1)
    assert request_count(one, "read", "Patient", "2xx") == 3
    assert request_count(two, "read", "Patient", "2xx") == 2
    assert value(one, "fhirserver_requests_in_flight") == 1
    assert value(one, "fhirserver_workers") == 2


def test_a_worker_that_is_gone_keeps_its_totals_but_not_its_gauges(tmp_path: Path) -> None:
    now = [1000.0]
    gone = Metrics(tmp_path, name="gone", clock=lambda: now[0])
    gone.observe("read", "Patient", 200, 0.1)
    gone.started()
    gone.snapshot()
    alive = Metrics(tmp_path, name="alive", clock=lambda: now[0])
    assert value(alive, "fhirserver_requests_in_flight") == 1
    now[0] += 60
    assert value(alive, "fhirserver_requests_in_flight") == 0
    assert value(alive, "fhirserver_workers") == 1
    assert request_count(alive, "read", "Patient", "2xx") == 1


def test_broken_snapshots_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    metrics = Metrics(tmp_path, name="one")
    metrics.observe("read", "Patient", 200, 0.1)
    assert request_count(metrics, "read", "Patient", "2xx") == 1


def test_a_single_worker_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Metrics().snapshot()
    assert list(tmp_path.iterdir()) == []


def test_the_reference_page_lists_every_metric_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    metrics = Metrics()
    families = text_string_to_metric_families(metrics.exposition().decode())
    shown = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert listed == shown
