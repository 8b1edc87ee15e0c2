"""Simulated readers of a news site; this package only produces events.

Promise: the same seed gives the same bytes. Nothing here reads a clock or talks to a server.
"""
