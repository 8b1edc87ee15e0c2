"""The verbs of a notebook, over one target."""
