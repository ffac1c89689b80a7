"""Reports as Markdown and as a page that loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from codiff.evaluation.report_document import Picture, Section, Table, html, markdown


def section(folder: Path, side: int = 40) -> Section:
    (folder / "figures").mkdir(exist_ok=True)
    path = folder / "figures" / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    table = Table(["method", "mask"], [["a|b", "<script>1</script>"], ["c", "2"]], "A note.")
    return Section("Results & more", ["Words."], [table], [Picture(path, "Noise.")])


def test_markdown(tmp_path: Path) -> None:
    text = markdown("Title", [section(tmp_path)], tmp_path)
    assert text.splitlines()[:5] == ["# Title", "", "## Results & more", "", "Words."]
    assert "| method | mask |\n| --- | --- |\n| a\\|b | <script>1</script> |\n| c | 2 |" in text
    assert "![Noise.](figures/noise.png)" in text


def test_page_shows_words_as_words(tmp_path: Path) -> None:
    page = html("A <b>title</b>", [section(tmp_path)])
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert "&lt;script&gt;1&lt;/script&gt;" in page
    assert "<script" not in page
    assert "Results &amp; more" in page
    assert len(re.findall(r'src="data:image/png;base64,', page)) == 1
    assert "default-src 'none'" in page


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    large = section(tmp_path, side=1600)  # 7.7 MB of noise, which does not compress
    assert large.pictures[0].path.stat().st_size > 7_000_000
    assert len(html("Title", [large])) < 5_000_000
