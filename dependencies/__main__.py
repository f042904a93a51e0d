"""`python -m dependencies`: a line for every package whose licence is not among the allowed ones; exit code 1 then."""

from __future__ import annotations

import sys

from dependencies.licences import licences_of


def main() -> int:
    """Look at everything that is installed for Squizzle."""
    found = sorted(licences_of("squizzle"), key=lambda one: one.name)
    refused = [one for one in found if not one.is_allowed]
    for one in refused:
        licence = one.licence or "a licence that it does not name"
        hint = "do without it, or say in dependencies/licences.py why it may be used"
        print(f"error: {one.name} {one.version} is under {licence}: {hint}", file=sys.stderr)
    if not refused:
        print(f"Licences: {len(found)} packages, each under one that is allowed.")
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main())
