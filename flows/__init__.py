"""Prefect flows: the order of the steps, the decisions, the report. One deployable flow a file."""
