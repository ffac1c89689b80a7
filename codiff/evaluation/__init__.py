"""Metrics, one a file, each usable on its own; docs/metrics.md says what each tells."""
