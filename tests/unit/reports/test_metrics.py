"""Numbers for Prometheus: a strict reader takes the text, whatever names hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from squizzle.reports.metrics import Family, FleetFacts, StoreFacts, exposition, fleet_families, store_families
from squizzle.severity import Severity
from squizzle.sweep.ledger import SweepNote

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOTE = SweepNote(
    at=NOW,
    duration=timedelta(seconds=1.5),
    healthy=3,
    unhealthy=1,
    unreachable=2,
    servers_unreachable=0,
    pending=None,
    failed=1,
)


def test_what_is_known_is_written_and_nothing_else() -> None:
    facts = [
        FleetFacts(fleet="shops", is_read=True, note=NOTE, firing=dict.fromkeys(Severity, 0) | {Severity.HIGH: 2}),
        FleetFacts(fleet="new", is_read=True),
        FleetFacts(fleet='d"o\\wn\n', is_read=False),
    ]
    text = exposition([*fleet_families(facts), *store_families(StoreFacts(is_read=True), NOW)])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        'squizzle_control_up{fleet="shops"} 1.0',
        'squizzle_control_up{fleet="new"} 1.0',
        r'squizzle_control_up{fleet="d\"o\\wn\n"} 0.0',
        'squizzle_sweep_timestamp_seconds{fleet="shops"} 1772323200.0',
        'squizzle_sweep_timestamp_seconds{fleet="new"} 0.0',
        *(
            f'squizzle_alerts_firing{{fleet="shops",severity="{one.value}"}} {2.0 if one is Severity.HIGH else 0.0}'
            for one in Severity
        ),
        'squizzle_sweep_duration_seconds{fleet="shops"} 1.5',
        'squizzle_targets{fleet="shops",state="healthy"} 3.0',
        'squizzle_targets{fleet="shops",state="unhealthy"} 1.0',
        'squizzle_targets{fleet="shops",state="unreachable"} 2.0',
        'squizzle_servers_unreachable{fleet="shops"} 0.0',
        'squizzle_migrations_failed{fleet="shops"} 1.0',
        "squizzle_store_up 1.0",
    ]
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"squizzle_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type == "gauge"


@given(label=st.text(st.characters(codec="utf-8")), text=st.text(st.characters(codec="utf-8")), value=st.floats())
def test_any_name_comes_back_as_it_was(label: str, text: str, value: float) -> None:
    family = Family(name="squizzle_x", help=text, samples=(({"a": label, "b": "x,}"}, value), ({}, 1e300)))
    written = exposition([family])
    # Lines end with \n and with nothing else; the reader goes by these.
    assert [line.split(" ")[0].split("{")[0] for line in written.split("\n")] == [
        "#", "#", "squizzle_x", "squizzle_x", "",
    ]  # fmt: skip
    (found,) = text_string_to_metric_families(written)
    assert [one.labels for one in found.samples] == [{"a": label, "b": "x,}"}, {}]
    assert repr(found.samples[0].value) == repr(value)


def test_a_name_that_is_no_text_does_not_spoil_the_file() -> None:
    family = Family(name="squizzle_x", help="x", samples=(({"a": "\udce4"}, 1.0),))
    assert exposition([family]).encode("utf-8").endswith(b'{a="\\\\udce4"} 1.0\n')
