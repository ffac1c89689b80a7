"""The command line: parse, call, show; one file a command, put together in `codiff.main`."""
