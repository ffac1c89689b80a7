"""The page of codiff as a Hugging Face Space: copy this folder's files into one.

It starts what `codiff web` starts, so it runs on any machine. CODIFF_MODEL chooses another model than the shipped one.
"""

import os
import sys

from codiff.main import main

on_a_space = os.environ.get("SYSTEM") == "spaces"
host = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if on_a_space else "127.0.0.1")
arguments = ["web", "--host", host, "--port", os.environ.get("GRADIO_SERVER_PORT", "7860")]
arguments += ["--model", os.environ.get("CODIFF_MODEL", "demo")]
for name in filter(None, os.environ.get("SPACE_HOST", "").split(",")):
    arguments += ["--domain", name]
sys.exit(main(arguments))
