"""An Alembic project's revisions as what the layout needs to know of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from squizzle.migrations.alembic.project import AlembicProject
from squizzle.migrations.alembic.revision import AlembicRevision


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One revision file.

    Attributes:
        program: What runs it.
        file: Where it is.
        label: What messages call it: the file, seen from the folder of env.py.
        message: What its author calls it.
        depth: The longest way to it from a base, itself counted.
        parents: The revisions that it needs, with their depths.
    """

    program: AlembicRevision
    file: Path
    label: str
    message: str
    depth: int
    parents: tuple[tuple[str, int], ...]


def read_revisions(project: AlembicProject) -> Iterator[Revision]:
    """Every revision of the project, parents before children; the revision files' top level is run.

    Raises:
        InvalidInputError: See `AlembicProject.directory`. Nothing was changed.
    """
    home = Path(project.directory.dir).resolve()
    for name, depth in project.depths.items():
        script = project.directory.get_revision(name)
        file = Path(script.path)
        yield Revision(
            program=AlembicRevision(project=project, revision=name),
            file=file,
            label=str(file.relative_to(home)) if file.is_relative_to(home) else file.name,
            message=" ".join(script.doc.split()) or file.stem,
            depth=depth,
            parents=tuple((parent, project.depths[parent]) for parent in project.parents[name]),
        )
