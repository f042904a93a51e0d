"""Scripts held against the rules. Pure: texts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from squizzle.analysis.actions import Action, AnyStatement
from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.known import Known
from squizzle.analysis.locks.side import Surroundings
from squizzle.analysis.records import Control, Statement
from squizzle.analysis.rules.registry import built_in_rules, by_action
from squizzle.analysis.rules.rule import Context, Hit, Rule, ScriptState, Way, Where
from squizzle.analysis.side_findings import SIDE_LOCKS, SideLooks, with_side_locks
from squizzle.analysis.statements import split_statements
from squizzle.analysis.summary import Inner, Summary, summarize
from squizzle.analysis.waivers import BAD_WAIVER, UNUSED_WAIVER, waive
from squizzle.errors import InvalidInputError
from squizzle.headway import Unit, counted

UNREADABLE = ("U100", "unreadable-script")


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One script to look at.

    Attributes:
        text: Its content.
        source: Its name, for findings.
        way: Up or down.
    """

    text: str
    source: str
    way: Way = Way.UP


@dataclass(frozen=True, kw_only=True, slots=True)
class LintResult:
    """What was found in some scripts, in their order."""

    findings: tuple[Finding, ...]
    files: int
    statements: int

    def count(self, severity: Severity) -> int:
        """How many findings of a severity nobody waived."""
        return sum(one.severity is severity and one.waiver is None for one in self.findings)


def lint_scripts(
    scripts: Iterable[Script],
    *,
    today: date,
    rules: Sequence[Rule] | None = None,
    major: int = 15,
    around: Surroundings | None = None,
) -> LintResult:
    """Hold scripts against rules.

    Args:
        scripts: What to look at.
        today: A waiver holds up to its last day.
        rules: Instead of all of ours.
        major: The oldest server version that the scripts have to run on.
        around: The database that they are for; without one, locks are told from the text and the newest map.
    """
    rules = built_in_rules() if rules is None else rules
    chosen = by_action(rules)
    names = frozenset((*SIDE_LOCKS, *(name for rule in rules for name in (rule.code, rule.name))))
    findings: list[Finding] = []
    known = Known()
    files = statements = 0
    for script in counted(tuple(scripts), "reading migrations", unit=Unit.FILES):
        files += 1
        try:
            split = split_statements(script.text, source=script.source)
        except InvalidInputError as exc:
            findings.append(_unreadable(script, exc))
            continue
        statements += len(split)
        linter = _Linter(script, chosen, major, known, around)
        for statement, found in linter.run(split):
            findings += waive(found, statement.notes, file=script.source, known=names, today=today)
    return LintResult(findings=tuple(findings), files=files, statements=statements)


def with_severities(result: LintResult, severities: Mapping[str, str]) -> LintResult:
    """The findings with the severities that a project chose for its rules; those of rules that are off are left out.

    Args:
        result: What was found.
        severities: By code or name of a rule: a severity, or `off`; see `check_rule_names` for unknown ones.
    """
    kept = []
    for finding in result.findings:
        chosen = severities.get(finding.rule) or severities.get(finding.name)
        if chosen != "off":
            kept.append(replace(finding, severity=Severity(chosen)) if chosen else finding)
    return replace(result, findings=tuple(kept))


def check_rule_names(names: Iterable[str], rules: Sequence[Rule]) -> None:
    """Refuse codes and names that no rule has: a setting that does nothing looks like one that works.

    Raises:
        InvalidInputError: Some are unknown.
    """
    ours = (*UNREADABLE, *SIDE_LOCKS, *BAD_WAIVER, *UNUSED_WAIVER)
    known = {*ours, *(rule.code for rule in rules), *(rule.name for rule in rules)}
    unknown = [name for name in names if name not in known and not name.startswith("squawk:")]
    if unknown:
        raise InvalidInputError(
            f"there is no rule {', '.join(unknown)}",
            hint="docs/rules.md lists codes and names; correct [lint.severity]",
        )


def _unreadable(script: Script, error: InvalidInputError) -> Finding:
    place = re.match(rf"{re.escape(script.source)}:(\d+)(?::(\d+))?: ", error.message)
    return Finding(
        file=script.source,
        line=int(place[1]) if place else 1,
        column=int(place[2]) if place and place[2] else 1,
        rule=UNREADABLE[0],
        name=UNREADABLE[1],
        severity=Severity.ERROR,
        message=error.message[place.end() :] if place else error.message,
        effect="Nothing of this script can be judged, and it would not be run.",
        hint=error.hint or "",
    )


class _Linter:
    """Walks one script once."""

    def __init__(
        self,
        script: Script,
        rules: Mapping[type[Action], tuple[Rule, ...]],
        major: int,
        known: Known,
        around: Surroundings | None,
    ) -> None:
        self._measured = around.measured if around else None
        self._side = SideLooks(around) if around else None
        self._script = script
        self._rules = rules
        self._major = major
        self._state = ScriptState(known=known, learns=script.way is Way.UP)
        self._offset = 0

    def run(self, statements: Sequence[Statement]) -> Iterator[tuple[Statement, list[Finding]]]:
        summaries = [summarize(statement, self._measured) for statement in statements]
        controls = [statement for statement in statements if statement.control is not None]
        self._state.controls = bool(controls)
        if controls and controls[-1].control is Control.BEGIN:
            self._state.open_begin = controls[-1].line
        for summary in summaries:
            self._state.whole.learn(summary.actions)
        for summary in summaries:
            statement = summary.statement
            self._offset = max(self._offset, self._script.text.find(statement.sql, self._offset))
            context = Context(
                summary=summary,
                way=self._script.way,
                in_transaction=self._state.is_together(statement),
                state=self._state,
                major=self._major,
            )
            yield statement, self._with_side_locks(list(self._about(summary, context)), summary)
            self._state.remember(summary)
            self._offset += len(statement.sql)

    def _with_side_locks(self, found: list[Finding], summary: Summary) -> list[Finding]:
        if self._side is None:
            return found
        side = self._side.locks_of(summary.forecast, self._state.created)
        return with_side_locks(found, side, file=self._script.source, line=summary.statement.line)

    def _about(self, summary: Summary, context: Context) -> Iterator[Finding]:
        for action in (AnyStatement(), *summary.actions):
            yield from self._look(action, context, summary, inner=None)
        for inner in summary.inner:
            yield from self._look(inner.action, context, summary, inner=inner)

    def _look(self, action: Action, context: Context, summary: Summary, *, inner: Inner | None) -> Iterator[Finding]:
        where = Where.SCRIPT if inner is None else Where.DO if inner.runs_now else Where.ROUTINE
        for rule in self._rules.get(type(action), ()):
            if where in rule.places and context.way in rule.ways:
                seen = context if inner is None else replace(context, where=where)
                for hit in rule.check(action, seen):
                    yield self._finding(rule, hit, summary, inner)

    def _finding(self, rule: Rule, hit: Hit, summary: Summary, inner: Inner | None) -> Finding:
        line, column = self._place(summary.statement, hit, inner)
        return Finding(
            file=self._script.source,
            line=line,
            column=column,
            rule=rule.code,
            name=rule.name,
            severity=rule.severity_of(hit, self._script.way),
            message=hit.message,
            effect=rule.effect,
            lock=hit.mode.value if hit.mode else "",
            relation=str(hit.relation) if hit.relation else "",
            hint=hit.hint or rule.safe_way,
        )

    def _place(self, statement: Statement, hit: Hit, inner: Inner | None) -> tuple[int, int]:
        if inner is not None:
            return statement.line + inner.line, 1
        said = statement.sql.encode()[: hit.location].decode(errors="ignore")
        place = self._offset + len(said)
        column = place - (self._script.text.rfind("\n", 0, place) + 1) + 1
        return statement.line + said.count("\n"), column
