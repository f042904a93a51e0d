"""Verbs of the command that run a whole flow in this process; plugged in by the entry points of `squizzle.verbs`.

They use Prefect's temporary API, so they work with no server running; nothing of Prefect is imported before a verb is
called. A Prefect server that the environment names is not used: at 3 a.m. it may be the casualty.
"""
