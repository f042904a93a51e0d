"""What `squizzle.toml` and the blocks say, a module for each section; `squizzle.config` reads the file.

Imported by every verb, so nothing here imports much, and nothing here connects.
"""
