"""What the server counts: many values at once are counted as one by one."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from loan_default.serving.metrics import Metrics

VALUES = st.lists(st.one_of(st.floats(0, 20), st.sampled_from([0.0002, 0.001, 10.0])), max_size=20)


@given(VALUES)
def test_many_values_fall_into_the_buckets_of_each(values: list[float]) -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.count_requests([], values)
    bounds = metrics.latency._upper_bounds
    plain = Histogram("one_by_one", "Each by itself.", buckets=bounds, registry=registry)
    for value in values:
        plain.observe(value)
    ours, expected = ({s.labels.get("le"): s.value for s in next(iter(h.collect())).samples if "bucket" in s.name}
                      for h in (metrics.latency, plain))  # fmt: skip
    assert ours == expected
    assert f"loan_default_request_seconds_count {len(values):.1f}" in metrics.text().decode()


def test_requests_and_decisions_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics.count_requests([("/ping", 200), ("/invocations", 400), ("/ping", 200)], [0.1])
    metrics.count_scores([0.1, 0.5, 0.6], ["approve", "decline", "decline"])
    text = metrics.text().decode()
    assert 'loan_default_requests_total{code="200",route="/ping"} 2.0' in text
    assert 'loan_default_requests_total{code="400",route="/invocations"} 1.0' in text
    assert 'loan_default_decisions_total{decision="decline"} 2.0' in text
    assert "loan_default_rows_total 3.0" in text
