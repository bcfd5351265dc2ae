"""How pages are looked at in a browser: the sizes of windows, and whether text can be read."""

from __future__ import annotations

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1100, "height": 900}

CONTRAST = """() => {
  function light(colour) {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : Math.pow((share + 0.055) / 1.055, 2.4);
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  }
  function ground(node) {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.endsWith(", 0)") && colour !== "transparent") { return colour; }
    }
    return "rgb(255, 255, 255)";
  }
  let least = 99;
  const texts = "p, td, th, h1, h2, h3, dt, li > a, summary, code, pre span, svg text";
  for (const node of document.querySelectorAll(texts)) {
    if (!node.getClientRects().length || !node.textContent.trim()) { continue; }
    const style = getComputedStyle(node);
    const inks = [light(node.closest("svg") ? style.fill : style.color), light(ground(node))];
    least = Math.min(least, (Math.max(...inks) + 0.05) / (Math.min(...inks) + 0.05));
  }
  return least;
}"""
"""The least contrast of text that can be seen, as WCAG 2.1 defines it."""
