"""Takes the pictures of a report that the README shows; needs Chromium, and the package playwright.

After ``sae-lens-metrics demo``::

    python examples/draw_report.py sae-lens-metrics-demo/report.html --latent TopK/148 --output examples
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Opens the page and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="the page")
    parser.add_argument("--output", required=True, type=Path, help="folder for report-overview.png and report-latent.png")
    parser.add_argument("--latent", required=True, metavar="SAE/LATENT", help="the latent to show")
    options = parser.parse_args()
    # by picture: the address of a view, and what should be at the top of it
    views = {"overview": ("#/", "h1"), "latent": (f"#/latent/{options.latent}", "h1")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        for name, (address, top) in views.items():
            page.goto("about:blank")
            page.goto(options.report.absolute().as_uri() + address)
            page.wait_for_selector(top)
            page.evaluate("selector => window.scrollTo(0, document.querySelector(selector).getBoundingClientRect().top - 120)", top)
            page.screenshot(path=options.output / f"report-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
