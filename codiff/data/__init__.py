"""Data sets: procedural faces, and readers of published ones."""
