"""Readers of a news site: events, and nothing else.

Promise: the same seed gives the same bytes. Nothing here reads a clock or talks to a server.
"""
