"""Simulated readers of a news site; this package only produces events.

Promise: the same seed gives the same bytes. Nothing here talks to a server, and only `pacing.py`
has a clock, which callers may replace.
"""
