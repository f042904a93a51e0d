"""The draft of a post-mortem: the guide's template with everything that is known, and gaps marked as such."""

from __future__ import annotations

from squizzle.durations import words
from squizzle.incidents.postmortem import Postmortem
from squizzle.reports.markdown import bullets

_FILL = "_to be filled in_"


def postmortem_markdown(found: Postmortem) -> str:
    """The draft. Times are UTC; what only people know is left for them."""
    incident = found.incident
    lasted = words(found.until - incident.opened_at)
    open_still = "" if incident.closed_at else ", **still open**"
    parts = [
        f"# Post-Mortem: {incident.cause}",
        "\n".join(
            (
                f"**Date**: {incident.opened_at:%Y-%m-%d}  ",
                f"**Duration**: {lasted}{open_still} (from when it was noticed)  ",
                f"**Impact**: {_FILL}: who noticed what; how many requests, users, rows  ",
                f"**Database**: {incident.target} of fleet {incident.fleet}  ",
                f"**Incident**: `{incident.id}`",
            )
        ),
        "## Timeline",
        "All times are UTC.",
        bullets([f"{one.at:%H:%M:%S} {one.text} ({one.source})" for one in found.timeline])
        or "Nothing was written down.",
    ]
    if found.missing:
        parts += ["**Not in this timeline**, because it could not be looked up:", bullets(list(found.missing))]
    ended = incident.closed_by or "it is not over"
    parts += [
        "## Root Cause",
        "Candidates, the likeliest first. Keep the one that it was, with the evidence for it:",
        bullets(list(found.causes)),
        "## How it ended",
        ended,
        "## Lessons Learned",
        f"1. What went well: {_FILL}\n2. What did not: {_FILL}\n3. Where we were lucky: {_FILL}",
        "## Action Items",
        "\n".join(
            (
                f"- [ ] {_FILL}: what would have prevented it",
                f"- [ ] {_FILL}: what would have told us earlier",
                f"- [ ] {_FILL}: what would have brought it back faster",
                "- [ ] Play it as a drill (`squizzle drill`), and make the runbook anew (`squizzle runbook`)",
            )
        ),
    ]
    return "\n\n".join(parts) + "\n"
