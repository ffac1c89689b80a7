"""The command line: parse, call, show; one file a command."""

from codiff.cli.app import main

__all__ = ["main"]
