"""Disasters that are played on purpose: which there are, what each must show, and when a drill has passed.

Nothing is played here: that takes the flows of an emergency (`flows/disasters`). A new disaster is a member of
`DrillScenario`, an entry of the table in `scenarios`, and a module in `flows/disasters` with a function that plays it.
"""
