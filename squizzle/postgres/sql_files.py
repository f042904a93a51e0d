"""Our own queries: named `.sql` files beside the module that runs them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString


@cache
def load_sql(package: str, name: str) -> LiteralString:
    """The text of `<package>/<name>.sql`, which is ours and therefore as good as written in the code.

    Args:
        package: Dotted name of the package that holds the file.
        name: The file's name without `.sql`.
    """
    return resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
