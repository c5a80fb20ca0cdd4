"""Checks of the files below deploy/: each is a function of the repository's root that raises Broken."""
