"""Metrics, one a file, each usable on its own."""
