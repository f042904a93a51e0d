"""The native layout's reader, where it was before there were others (`squizzle.migrations.layouts`)."""

from __future__ import annotations

from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.layouts.native import read_migrations

__all__ = ["checksum", "read_migrations"]
