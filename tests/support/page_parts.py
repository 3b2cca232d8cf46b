"""The data in a page, as another reader than the page's own finds them."""

import re
from pathlib import Path

from sae_lens_metrics.views.page.parts import decode

PART = re.compile(r'<script type="application/octet-stream" id="part-([a-z0-9-]+)">([A-Za-z0-9+/=]*)</script>')


def parts_of(page: Path) -> dict[str, str]:
    return {name: decode(text) for name, text in PART.findall(page.read_text(encoding="utf-8"))}
