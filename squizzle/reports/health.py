"""What a sweep found, for people: the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from squizzle.alerts.states import AlertState
from squizzle.backups.space import size_words
from squizzle.durations import words
from squizzle.notify.records import Deliveries
from squizzle.numbers import number_of
from squizzle.reports.markdown import bullets, table
from squizzle.sweep.records import Sweep, TargetHealth

# A page of ten thousand rows is read by nobody; all of them are in what is kept of the sweep.
_SHOWN = 50
_READ = ("target", "state", "what is wrong")


def health_summary(sweep: Sweep) -> str:
    """In a line: how many are well, and the worst of the others."""
    bad = [one for one in sweep.targets if not one.is_ok]
    servers = f"; {number_of(len(sweep.unreachable), 'server')} could not be asked" if sweep.unreachable else ""
    if not bad:
        return f"all {len(sweep.targets):,} targets of {sweep.fleet} are well{servers}"
    return f"{len(bad):,} of {len(sweep.targets):,} targets of {sweep.fleet} are not well: {_worst(bad[0])}{servers}"


def _worst(health: TargetHealth) -> str:
    if health.firing:
        return f"{health.target.name}: {health.firing[0].rule.name}"
    return f"{health.target.name}: {health.unknown[0].rule.name} could not be checked" if health.unknown else ""


def health_rows(sweep: Sweep, *, most: int = _SHOWN) -> list[dict[str, str]]:
    """A row for each target, those that are not well first; the columns that are read at three in the morning."""
    return [_row(one) for one in sweep.targets[:most]]


def _row(health: TargetHealth) -> dict[str, str]:
    metrics = health.metrics
    wrong = [f"{one.rule.name}{f' ({one.why})' if one.why else ''}" for one in health.firing]
    unknown = [f"{one.rule.name}: not known ({one.why})" for one in health.unknown]
    return {
        "target": health.target.name,
        "state": "well" if health.is_ok else health.firing[0].rule.severity.value if health.firing else "not known",
        "what is wrong": "; ".join([*wrong, *unknown]),
        "connections": _of(metrics, "connections", "connections_most"),
        "lag": _time(metrics.get("replication_lag_s")),
        "longest transaction": _time(metrics.get("longest_transaction_s")),
        "size": size_words(int(metrics.get("size_bytes") or 0)) if health.is_reached else "",
        "look took": words(health.took),
    }


def _of(metrics: Mapping[str, float | int | bool | None], part: str, whole: str) -> str:
    return f"{metrics[part]} of {metrics[whole]}" if metrics.get(whole) else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.1f} s"


def health_markdown(
    sweep: Sweep,
    *,
    silenced: Sequence[AlertState] = (),
    told: Sequence[Deliveries] = (),
    remarks: Sequence[str] = (),
) -> str:
    """The report of a sweep.

    Args:
        sweep: What was found.
        silenced: What fires and nobody is told of.
        told: What people were told.
        remarks: What else a person should know.
    """
    parts = [f"# {health_summary(sweep)}", f"{sweep.at:%Y-%m-%d %H:%M:%S %Z}, took {words(sweep.duration)}."]
    parts += [f"**{remark}**" for remark in remarks]
    if sweep.unreachable:
        parts += ["## Servers that could not be asked which targets they have"]
        parts += [table(("server", "why"), [(one.server, one.why) for one in sweep.unreachable])]
    bad = [one for one in sweep.targets if not one.is_ok]
    if bad:
        # Three columns: the page cuts off what is wider, and the numbers are in the table of all targets.
        rows = [tuple(_row(one)[name] for name in _READ) for one in bad[:_SHOWN]]
        parts += ["## Not well", table(_READ, rows)]
        if len(bad) > _SHOWN:
            parts.append(f"… and {len(bad) - _SHOWN:,} more.")
    if told:
        heard = [
            (one.notification.line(), ", ".join(it.channel for it in one.tried if it.is_delivered) or "**nobody**")
            for one in told
        ]
        parts += ["## Who was told", table(("what", "by"), heard)]
        failed = {it.channel: it for one in told for it in one.failed}
        parts += [bullets([f"**{name}** failed: {it.error}; {it.hint or 'no advice'}" for name, it in failed.items()])]
    if silenced:
        rows = [(one.target, one.rule, one.severity.value) for one in silenced]
        parts += ["## Silenced: fires, and nobody is told", table(("target", "alert", "severity"), rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def health_document(sweep: Sweep) -> dict[str, object]:
    """As `squizzle health --json` prints it."""
    return {
        "fleet": sweep.fleet,
        "at": sweep.at.isoformat(),
        "duration_ms": round(sweep.duration.total_seconds() * 1000),
        "ok": sweep.is_ok,
        "targets": [
            {
                "name": one.target.name,
                "ok": one.is_ok,
                "reached": one.is_reached,
                "detail": one.detail,
                "metrics": dict(one.metrics),
                "failed": list(one.failed),
                "alerts": [
                    {
                        "name": it.rule.name,
                        "severity": it.rule.severity.value,
                        "state": "firing" if it.is_true else "unknown",
                        "detail": it.why,
                    }
                    for it in (*one.firing, *one.unknown)
                ],
            }
            for one in sweep.targets
        ],
        "unreachable_servers": [{"server": one.server, "why": one.why} for one in sweep.unreachable],
    }
