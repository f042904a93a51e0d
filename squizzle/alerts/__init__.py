"""Alerts: rules that say when somebody has to be told, and whether they hold now."""
