# SPDX-License-Identifier: MIT
"""A page of SVG, and the colours of the project's pictures. Standard library only."""
from html import escape
from pathlib import Path

INK, SOFT, LINE, PALE = "#1c2733", "#5b6875", "#9aa7b3", "#eef2f5"
GOOD, LIVE, BAD, PARITY = "#2f7d5b", "#f2b134", "#c8102e", "#8e5fb0"


class Svg:
    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []
        self.markers = {}

    def add(self, text):
        self.parts.append(text)

    def rect(self, x, y, w, h, fill=PALE, stroke=LINE, radius=4):
        self.add(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" fill="{fill}" '
                 f'stroke="{stroke}"/>')

    def text(self, x, y, text, size=15, fill=INK, anchor="start", bold=False, mono=False):
        style = ' font-weight="bold"' if bold else ""
        style += ' font-family="DejaVu Sans Mono, monospace"' if mono else ""
        self.add(f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" '
                 f'text-anchor="{anchor}"{style}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, color=LINE, width=1.5, arrow=False, dash=False):
        extra = f' marker-end="url(#{self.marker(color)})"' if arrow else ""
        extra += ' stroke-dasharray="5 4"' if dash else ""
        self.add(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" '
                 f'stroke-width="{width}"{extra}/>')

    def marker(self, color):
        """An arrow head of that colour: its id."""
        return self.markers.setdefault(color, f"arrow{len(self.markers)}")

    def document(self):
        heads = "".join(f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" '
                        'markerUnits="userSpaceOnUse" markerWidth="11" markerHeight="11" '
                        f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{color}"/></marker>\n'
                        for color, name in self.markers.items())
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                'font-family="DejaVu Sans, Helvetica, sans-serif">\n'
                f'<defs>\n{heads}</defs>\n'
                f'<rect width="{self.width}" height="{self.height}" fill="white"/>\n')
        return head + "\n".join(self.parts) + "\n</svg>\n"

    def write(self, path):
        Path(path).write_text(self.document(), encoding="utf-8")
