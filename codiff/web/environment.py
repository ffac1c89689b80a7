"""What Gradio reads from the environment, set before it is imported: it reports nothing and stores in private."""

from __future__ import annotations

import os
from pathlib import Path

KEPT = ("GRADIO_ROOT_PATH", "GRADIO_SHARE_SERVER_ADDRESS", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT")
"""Variables that say where the page is, not what it may do."""


def prepare(folder: Path) -> None:
    """Gradio keeps its files in `folder`, sends no telemetry, and none of its other variables opens a way in.

    Some of them would: they allow paths, let visitors change the program, or loosen what other sites may ask for.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_") and name not in KEPT]:
        del os.environ[name]
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_ANALYTICS_MAX_EVENTS="1",  # it remembers who asked for what,
        GRADIO_ANALYTICS_CACHE_FREQUENCY="1000000000",  # and evaluates that after each event, by pandas
        GRADIO_RUN_HISTORY="False",
        GRADIO_SSR_MODE="False",
        GRADIO_MCP_SERVER="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        GRADIO_TEMP_DIR=str(folder),
        GRADIO_EXAMPLES_CACHE=str(folder / "examples"),
    )
