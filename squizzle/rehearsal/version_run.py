"""One version on its way through a copy of the data: forward, back, forward again, each step compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from squizzle.durations import words
from squizzle.errors import CouldNotVerifyError, SquizzleError
from squizzle.migrations.executor import Report
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration, Policy
from squizzle.migrations.reversal.generated_downs import with_generated_downs
from squizzle.migrations.reversal.requests import Live, Means
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import Target
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import without_bookkeeping
from squizzle.proof.records import Comparison, DatabaseDigest, RowChange, RowDifference, SchemaMatch
from squizzle.proof.row_differences import find_row_differences
from squizzle.proof.unchanged_rows import RowMemory
from squizzle.rehearsal.budget import within
from squizzle.rehearsal.inability import why_it_says_nothing
from squizzle.rehearsal.place import RehearsalPlace
from squizzle.rehearsal.records import RollbackProof, ScriptTrace
from squizzle.rehearsal.renames import gone_with_script, read_names, take_renames_back
from squizzle.rehearsal.situation import script_hash
from squizzle.rehearsal.tracing import tracing
from squizzle.rehearsal.verdict import DOWN_SCRIPT, GENERATED, NO_SCRIPT
from squizzle.rehearsal.workload import Query


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """What the up script did, or why it did not come to its end.

    Attributes:
        trace: Statement by statement; as far as it came.
        digest: Of the copy afterwards; None when it failed.
        failed: What it failed with; empty when it came to its end.
        could_not: Why that says nothing about the script; empty when it does.
    """

    trace: ScriptTrace | None = None
    digest: DatabaseDigest | None = None
    failed: str = ""
    could_not: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it came to its end."""
        return self.digest is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backward:
    """What the way back by script left.

    Attributes:
        proof: Compared with what was there before.
        taken_by_up: What the up script itself had taken away, of the tables whose rows did not come back.
        took: Rollback and comparison together; None when it did not come to its end.
        could_not: Why it could not be tried; empty when it was.
        notes: Rows more in tables that may grow.
    """

    proof: RollbackProof
    taken_by_up: tuple[RowDifference, ...] = ()
    took: timedelta | None = None
    could_not: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """What the up script did the second time, compared with the first.

    Attributes:
        took: How long it took; None when it did not come to its end.
        failed: What it failed with.
        could_not: Why that says nothing about the script.
        digest: Of the copy afterwards; None when it failed.
        differences: In what the schema differs from the first time.
        notes: In what the rows do, which is what clocks, random numbers and sequences do.
    """

    took: timedelta | None = None
    failed: str = ""
    could_not: str = ""
    digest: DatabaseDigest | None = None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How one run of one script ended; `failed` is empty when it came to its end."""

    trace: ScriptTrace | None = None
    failed: str = ""
    could_not: str = ""


class Run(Protocol):
    """`apply_versions` or `roll_back_versions`."""

    def __call__(
        self,
        connection: Connection,
        target: Target,
        migrations: Sequence[Migration],
        *,
        only: str | None,
        policy: Policy,
        listener: Listener,
    ) -> Report:
        """Run the scripts of one version."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """What is rehearsed, for every version of it.

    Attributes:
        place: Where.
        schema: The schema that scripts work in.
        migrations: What is on disk, as one history.
        policy: What the project allows its migrations.
        budget: How long one script may take.
        workload: Queries whose plans and times are compared before and after; none for no comparison.
        may_grow: Tables in which more rows after a rollback are no damage: logs of what is done.
        say: Told what is done.
        memory: What the work copies were like when they were last fingerprinted.
    """

    place: RehearsalPlace
    schema: str
    migrations: tuple[Migration, ...]
    policy: Policy
    budget: timedelta
    workload: tuple[Query, ...] = ()
    may_grow: frozenset[str] = frozenset()
    say: Callable[[str], None] = field(default=lambda _text: None)
    memory: RowMemory = field(default_factory=RowMemory)

    def target(self, database: str) -> Target:
        """A copy, as something to migrate; who it is was settled when it was restored."""
        return Target(database=database, schema=self.schema)

    def find(self, version: str) -> Migration:
        """One version on disk."""
        return next(one for one in self.migrations if one.version == version)

    @contextmanager
    def open(self, database: str) -> Iterator[Connection]:
        """A session in a copy."""
        with connect(self.place.access, database, purpose="rehearsal") as connection:
            yield connection

    def attempt(self, database: str, migration: Migration, run: Run) -> Attempt:
        """Run one script of one version on a copy, traced and within the budget.

        Args:
            database: The copy.
            migration: The version, with the scripts to run.
            run: `apply_versions` or `roll_back_versions`.
        """
        migrations = tuple(migration if one.version == migration.version else one for one in self.migrations)
        with self.open(database) as connection, tracing(connection) as tracer:
            listener = Listener(on_wait=self.say, on_progress=self.say, observer=tracer)
            try:
                with within(connection, self.budget) as budget:
                    run(
                        connection,
                        self.target(database),
                        migrations,
                        only=migration.version,
                        policy=self.policy,
                        listener=listener,
                    )
            except SquizzleError as exc:
                failed = f"it took longer than the budget of {words(self.budget)}" if budget.ended else exc.message
                could_not = failed if budget.ended else why_it_says_nothing(exc)
                return Attempt(trace=_last(tracer.take()), failed=failed, could_not=could_not)
            return Attempt(trace=_last(tracer.take()))


def _last(traces: tuple[ScriptTrace, ...]) -> ScriptTrace | None:
    return traces[-1] if traces else None


def apply_earlier(course: Course, work: str, versions: Sequence[str]) -> DatabaseDigest:
    """Bring a fresh work copy to the state that the first rehearsed version starts from.

    Args:
        course: What is rehearsed.
        work: The copy.
        versions: What comes before it, in order; often nothing.

    Returns:
        The copy's fingerprint.

    Raises:
        CouldNotVerifyError: One of them fails, so nothing can be said of those behind it.
    """
    base = without_bookkeeping(course.place.base_digest)
    with course.open(work) as connection:
        course.memory.start(connection, base)
    for version in versions:
        tried = course.attempt(work, course.find(version), apply_versions)
        if tried.failed:
            raise CouldNotVerifyError(
                f"{version}, which comes before, cannot be applied to the copy: {tried.failed}",
                hint=f"rehearse {version} first",
            )
    if not versions:
        return base
    with course.open(work) as connection:
        return course.memory.digest(connection)


class VersionRun:
    """One version on a work copy that is in the state before it; each step is called once, in this order.

    Args:
        course: What is rehearsed.
        work: The work copy's name.
        version: Which version.
        earlier: The versions that were applied to the work copy since it was made, in order.
        before: The work copy's fingerprint as it is now.
    """

    def __init__(
        self, course: Course, work: str, version: str, *, earlier: Sequence[str], before: DatabaseDigest
    ) -> None:
        self._course = course
        self._work = work
        self._earlier = tuple(earlier)
        self.migration = course.find(version)
        self.before = before
        # The copy that is kept of what the up script left.
        self._applied: str | None = None

    def go_forward(self) -> Forward:
        """Apply it, traced, and fingerprint what it leaves. Its verify script runs with it."""
        tried = self._course.attempt(self._work, self.migration, apply_versions)
        if tried.failed:
            return Forward(trace=tried.trace, failed=tried.failed, could_not=tried.could_not)
        with self._course.open(self._work) as connection:
            return Forward(trace=tried.trace, digest=self._course.memory.digest(connection))

    @contextmanager
    def kept_as_applied(self, left: DatabaseDigest) -> Iterator[None]:
        """Keep a copy of what the up script left, where that takes columns, tables or rows away.

        What does not come back is compared with it, and without it with one on which the script runs once more.

        Args:
            left: The fingerprint that it left.
        """
        comparison = compare_digests(self.before, left)
        with ExitStack() as stack:
            if _takes_away(comparison):
                try:
                    self._applied = stack.enter_context(self._course.place.fresh(of=self._work))
                except CouldNotVerifyError as exc:
                    self._course.say(f"no copy of what the script left is kept: {exc.message}")
            yield
            self._applied = None

    def go_back(self) -> Backward:
        """Take it back by its down script, or by a generated one, and compare everything with what was before."""
        started = time.monotonic()
        migration, proof = self._way_back()
        if proof.script == NO_SCRIPT:
            return Backward(proof=proof)
        tried = self._course.attempt(self._work, migration, roll_back_versions)
        proof = replace(proof, trace=tried.trace, why=tried.failed)
        if tried.failed:
            return Backward(proof=proof, could_not=tried.could_not)
        with self._course.open(self._work) as connection:
            comparison = compare_digests(self.before, self._course.memory.digest(connection))
            took = timedelta(seconds=time.monotonic() - started)
            rows, taken = self._rows(connection, comparison)
        grown = tuple(one for one in rows if self._may_grow(one))
        rows = tuple(one for one in rows if one not in grown)
        proof = replace(proof, schema=comparison.schema, differences=comparison.other_sentences(), rows=rows)
        notes = tuple(f"the way back adds rows to a log that may grow: {one.sentence()}" for one in grown)
        return Backward(proof=proof, taken_by_up=taken, took=took, notes=notes)

    def _may_grow(self, one: RowDifference) -> bool:
        return one.change is RowChange.UNEXPECTED and one.table in self._course.may_grow

    def go_forward_again(self, first: DatabaseDigest) -> Again:
        """Apply it once more, and compare what it leaves with the first time.

        Args:
            first: The fingerprint that it left then.
        """
        tried = self._course.attempt(self._work, self.migration, apply_versions)
        if tried.failed:
            return Again(failed=tried.failed, could_not=tried.could_not)
        with self._course.open(self._work) as connection:
            digest = self._course.memory.digest(connection)
        comparison = compare_digests(first, digest)
        return Again(
            took=tried.trace.duration if tried.trace else None,
            digest=digest,
            differences=comparison.other_sentences(),
            notes=tuple(f"applied again it leaves other rows: {one}" for one in comparison.row_sentences()),
        )

    def _way_back(self) -> tuple[Migration, RollbackProof]:
        """The migration with the script that takes it back, and what it is; `why` of one that has none."""
        found = RollbackProof(script=NO_SCRIPT, sha256="", schema=SchemaMatch.DIFFERENT)
        migration = self.migration
        if migration.down_sql is not None:
            return migration, replace(found, script=DOWN_SCRIPT, sha256=script_hash(migration.down_sql))
        if migration.program is not None:  # the program itself knows the way back
            return migration, replace(found, script=DOWN_SCRIPT)
        if migration.repeatable:
            return migration, replace(found, why="it is repeatable: its way back is its former text")
        place = self._course.place
        with self._course.open(self._work) as connection:
            live = Live(connection=connection, access=place.access, target=self._course.target(self._work))
            try:
                with_downs = with_generated_downs(
                    self._course.migrations,
                    [migration.version],
                    live,
                    Means(scratch=place.access, programs=place.server.programs.folder),
                    accept_loss=True,
                    say=self._course.say,
                )
            except SquizzleError as exc:
                return migration, replace(found, why=exc.message)
        generated = next(one for one in with_downs if one.version == migration.version)
        return generated, replace(found, script=GENERATED, sha256=script_hash(generated.down_sql or ""))

    # Telling rows apart

    def _rows(
        self, connection: Connection, comparison: Comparison
    ) -> tuple[tuple[RowDifference, ...], tuple[RowDifference, ...]]:
        """What the rollback left otherwise, and what the up script itself had taken away of the same tables."""
        tables = tuple(one.table for one in comparison.different_tables)
        if not tables:
            return (), ()
        # Both copies first: sessions in the base are ended while it is copied.
        with self._after() as applied, self._before() as untouched, self._course.open(untouched) as before:
            rows = find_row_differences(before, connection, tables)
            with self._course.open(applied) as after:
                if take_renames_back(after, read_names(before)):
                    gone = gone_with_script(after, rows)
                    unexplained = tuple(dict.fromkeys(one.table for one in rows if one not in gone))
                    return rows, (*gone, *(find_row_differences(before, after, unexplained) if unexplained else ()))
        self._course.say(
            "what was renamed could not be named back on a copy, so nothing counts as taken away by the script"
        )
        return rows, ()

    @contextmanager
    def _before(self) -> Iterator[str]:
        """A copy in the state before the version: the base itself, unless others came before it."""
        if not self._earlier:
            yield self._course.place.database
            return
        with self._copy(self._earlier) as name:
            yield name

    @contextmanager
    def _after(self) -> Iterator[str]:
        if self._applied is not None:
            yield self._applied
            return
        with self._copy((*self._earlier, self.migration.version)) as name:
            yield name

    @contextmanager
    def _copy(self, versions: Sequence[str]) -> Iterator[str]:
        """Another copy of the base, with these versions applied; they were applied to one before, so they can be."""
        with self._course.place.fresh() as name:
            apply_earlier(self._course, name, versions)
            yield name


def _takes_away(comparison: Comparison) -> bool:
    """Whether columns, tables or rows are gone; a value that was overwritten shows only row by row."""
    return any(label.startswith(("column ", "table ")) for label in comparison.missing) or any(
        table.missing_rows for table in comparison.tables
    )
