"""Write the demo's answers as a page of thumbnails and scores: a self-contained HTML file, and the same as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ...support.outputs import OutputFolder
from ..output import format_clock
from .run import SHEETS

if TYPE_CHECKING:
    from ...tasks.search import Hit
    from .run import Answer, Demo

THUMB, FRAME = (204, 153), (83, 62)
"""Width and height in pixels of an image thumbnail and of a video frame."""
PAGE, MARGIN, LEFT, GAP, FILM_GAP = 1400, 40, 236, 16, 8  # so that 5 images and 12 frames are equally wide
INK, SOFT, LINE, PAPER, RIGHT, WRONG = "#1c2024", "#6b737c", "#e3e6e9", "#ffffff", "#1a7f4b", "#c4322b"


@dataclass(frozen=True, slots=True)
class SheetCell:
    """One result: its thumbnail and caption, and whether it came first."""

    image: Image.Image | None
    name: str
    score: float
    first: bool


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One query with its results, best first; moments of the video are in their order of time."""

    title: str
    right: bool
    cells: tuple[SheetCell, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The content of the page, the same for HTML and PNG."""

    subtitle: str
    pictures: tuple[SheetRow, ...]
    strip: tuple[tuple[str, Image.Image], ...]
    moments: tuple[SheetRow, ...]
    sounds: tuple[SheetRow, ...]


def write_contact_sheet(demo: Demo, folder: OutputFolder) -> tuple[Path, Path]:
    """Write `contact-sheet.html` and `contact-sheet.png` to the folder; return their paths."""
    made = build_sheet(demo)
    html, png = SHEETS
    with folder.file(html) as file:
        file.write(as_html(made).encode())
    with folder.file(png) as file:
        as_image(made).save(file, "PNG", optimize=True)
    return folder.path / html, folder.path / png


def build_sheet(demo: Demo) -> Sheet:
    """Return the demo's answers with their thumbnails."""
    answers = (*demo.pictures, *demo.moments, *demo.sounds)
    right = sum(answer.right for answer in answers)
    return Sheet(
        subtitle=f"{demo.report.done} files, {demo.report.rows} vectors: found again by words and by audio, "
        f"{right} of {len(answers)} right",
        pictures=tuple(_build_row(answer, [_load_thumbnail(hit) for hit in answer.hits]) for answer in demo.pictures),
        strip=tuple(_build_strip(demo)),
        moments=tuple(_build_row(answer, [None] * len(answer.hits), by_time=True) for answer in demo.moments),
        sounds=tuple(_build_row(answer, [None] * len(answer.hits)) for answer in demo.sounds),
    )


def _build_row(answer: Answer, images: Sequence[Image.Image | None], *, by_time: bool = False) -> SheetRow:
    cells = [
        (hit.record.start, SheetCell(image, _hit_caption(hit), float(hit.score), place == 0))
        for place, (hit, image) in enumerate(zip(answer.hits, images, strict=True))
    ]
    if by_time:
        # Each moment then stands below its own frame of the strip.
        cells.sort(key=lambda cell: cell[0])
    return SheetRow(answer.title, answer.right, tuple(cell for _, cell in cells))


def _hit_caption(hit: Hit) -> str:
    record, name = hit.record, Path(hit.record.source).name
    return name if record.kind == "image" else f"{name}, {format_clock(record.start)} to {format_clock(record.stop)}"


def _load_thumbnail(hit: Hit) -> Image.Image:
    from ...media import open_image

    # Twice as large is enough for a good reduction, and quick to decode.
    pixels = open_image(hit.record.source, at_least=2 * max(THUMB)).data[0]
    return ImageOps.fit(Image.fromarray(pixels), THUMB, Image.Resampling.LANCZOS)


def _build_strip(demo: Demo) -> Iterator[tuple[str, Image.Image]]:
    """Yield the video frames that were embedded, with their times."""
    from ...media import stream_frames
    from .run import FILM

    for clip in stream_frames(demo.media / FILM, fps=1.0, at_least=2 * FRAME[1]):
        yield f"{clip.start:g} s", ImageOps.fit(Image.fromarray(clip.data[0]), FRAME, Image.Resampling.LANCZOS)


# As HTML

STYLE = f"""
*{{box-sizing:border-box;margin:0}}
body{{font:15px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:{INK};
 background:{PAPER};width:{PAGE}px;margin:0 auto;padding:{MARGIN}px}}
h1{{font-size:30px;font-weight:650;letter-spacing:-.02em}} h1+p{{color:{SOFT};font-size:16px}}
h2{{font-size:13px;font-weight:650;letter-spacing:.08em;text-transform:uppercase;color:{SOFT};
 border-top:1px solid {LINE};margin:34px 0 18px;padding-top:14px}}
.row{{display:flex;gap:{GAP}px;margin-bottom:20px;align-items:flex-start}}
.row>p{{width:{LEFT - GAP}px;flex:none;font-size:19px;font-weight:600;letter-spacing:-.01em;padding-top:4px}}
.row>p small{{display:block;font-size:13px;font-weight:500}} .right{{color:{RIGHT}}} .wrong{{color:{WRONG}}}
figure{{width:{THUMB[0]}px}} figure img{{display:block;width:100%;height:{THUMB[1]}px;border-radius:6px}}
figcaption{{display:flex;justify-content:space-between;gap:8px;font-size:13px;padding-top:6px;color:{SOFT}}}
figcaption span:first-child{{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
figcaption span:last-child,.score{{font-variant-numeric:tabular-nums}}
.first figcaption{{color:{INK};font-weight:600}} .first.right img{{outline:4px solid {RIGHT};outline-offset:-4px}}
.first.wrong img{{outline:4px solid {WRONG};outline-offset:-4px}}
.strip{{margin-bottom:10px}} .strip figure,.score{{width:{FRAME[0]}px;text-align:center;font-size:12px}}
.strip img{{height:{FRAME[1]}px;border-radius:4px}} .strip figcaption{{display:block;font-size:12px}}
.film{{gap:{FILM_GAP}px}} .film>p{{width:{LEFT - FILM_GAP}px}}
.score{{flex:none;padding:7px 0;border-radius:4px;color:{SOFT}}} .score.first{{color:#fff;font-weight:650}}
.score.first.right{{background:{RIGHT}}} .score.first.wrong{{background:{WRONG}}}
ol{{list-style:none;padding:6px 0 0;font-size:14px;color:{SOFT}}} li{{padding-bottom:3px}}
li b{{display:inline-block;width:56px;font-weight:inherit;font-variant-numeric:tabular-nums}}
li.first{{font-weight:650}} li.first.right{{color:{RIGHT}}} li.first.wrong{{color:{WRONG}}}
"""


def as_html(made: Sheet) -> str:
    """Return the page as HTML, with the images inside."""
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>percepts demo</title>',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>percepts demo</h1><p>{escape(made.subtitle)}</p>",
            "<h2>Images, by words</h2>",
            *(_html_row(row, (_html_figure(cell, row) for cell in row.cells)) for row in made.pictures),
            "<h2>Moments of the video, by words</h2>",
            f'<div class="row strip film"><p></p>{"".join(map(_html_frame, made.strip))}</div>',
            *(_html_row(row, (_html_score(cell, row) for cell in row.cells), "film") for row in made.moments),
            "<h2>Audio, by audio</h2>",
            *(_html_row(row, ("<ol>", *(_html_item(cell, row) for cell in row.cells), "</ol>")) for row in made.sounds),
            "</body></html>",
        )
    )


def _html_row(row: SheetRow, inner: Iterator[str] | Sequence[str], style: str = "") -> str:
    mark = f'<small class="{_describe_verdict(row)}">{_describe_verdict(row)}</small>'
    return f'<div class="row {style}"><p>{escape(row.title)}{mark}</p>{"".join(inner)}</div>'


def _html_figure(cell: SheetCell, row: SheetRow) -> str:
    assert cell.image is not None
    caption = f"<figcaption><span>{escape(cell.name)}</span><span>{cell.score:.3f}</span></figcaption>"
    image = f'<img src="{_data_url(cell.image)}" alt="{escape(cell.name)}">'
    return f'<figure class="{_winner_class(cell, row)}">{image}{caption}</figure>'


def _html_frame(frame: tuple[str, Image.Image]) -> str:
    time, image = frame
    return f'<figure><img src="{_data_url(image)}" alt="{time}"><figcaption>{time}</figcaption></figure>'


def _html_score(cell: SheetCell, row: SheetRow) -> str:
    return f'<div class="score {_winner_class(cell, row)}">{cell.score:.3f}</div>'


def _html_item(cell: SheetCell, row: SheetRow) -> str:
    return f'<li class="{_winner_class(cell, row)}"><b>{cell.score:.3f}</b> {escape(cell.name)}</li>'


def _winner_class(cell: SheetCell, row: SheetRow) -> str:
    return f"first {_describe_verdict(row)}" if cell.first else ""


def _describe_verdict(row: SheetRow) -> str:
    return "right" if row.right else "wrong"


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    # Inside the page, so that one file can be mailed; PNG would be several times as large.
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# As PNG: the same page, drawn from top to bottom


def as_image(made: Sheet) -> Image.Image:
    """Return the page as an image, PAGE pixels wide and as high as needed."""
    # Higher than any demo's page, whose height is known when it is drawn; cropped below.
    canvas = Image.new("RGB", (PAGE, 4000), PAPER)
    pen = _PagePainter(canvas)
    pen.text((MARGIN, MARGIN), "percepts demo", 30, bold=True)
    pen.text((MARGIN, MARGIN + 42), made.subtitle, 16, SOFT)
    y = _draw_images(pen, pen.draw_heading(MARGIN + 78, "Images, by words"), made.pictures)
    y = _draw_moments(pen, pen.draw_heading(y, "Moments of the video, by words"), made)
    y = _draw_audio(pen, pen.draw_heading(y, "Audio, by audio"), made.sounds)
    return canvas.crop((0, 0, PAGE, y + MARGIN))


def _draw_images(pen: _PagePainter, y: int, rows: Sequence[SheetRow]) -> int:
    for row in rows:
        pen.question(y, row)
        for place, cell in enumerate(row.cells):
            x = MARGIN + LEFT + place * (THUMB[0] + GAP)
            pen.picture((x, y), cell, row)
        y += THUMB[1] + 44
    return y


def _draw_moments(pen: _PagePainter, y: int, made: Sheet) -> int:
    step = FRAME[0] + FILM_GAP
    for place, (time, image) in enumerate(made.strip):
        x = MARGIN + LEFT + place * step
        pen.paste(image, (x, y), radius=4)
        pen.text((x + FRAME[0] // 2, y + FRAME[1] + 6), time, 12, SOFT, anchor="ma")
    y += FRAME[1] + 34
    for row in made.moments:
        pen.question(y, row)
        for place, cell in enumerate(row.cells):
            pen.score((MARGIN + LEFT + place * step, y), cell, row)
        y += 58
    return y


def _draw_audio(pen: _PagePainter, y: int, rows: Sequence[SheetRow]) -> int:
    for row in rows:
        pen.question(y, row)
        for place, cell in enumerate(row.cells):
            ink = _row_colour(row) if cell.first else SOFT
            pen.text((MARGIN + LEFT, y + 6 + place * 23), f"{cell.score:.3f}", 14, ink, bold=cell.first)
            pen.text((MARGIN + LEFT + 60, y + 6 + place * 23), cell.name, 14, ink, bold=cell.first)
        y += 23 * len(row.cells) + 26
    return y


def _row_colour(row: SheetRow) -> str:
    return RIGHT if row.right else WRONG


class _PagePainter:
    """A painter of the page's elements. It uses Pillow's own font, so that the page looks the same everywhere."""

    def __init__(self, canvas: Image.Image) -> None:
        self._canvas = canvas
        self._draw = ImageDraw.Draw(canvas)

    def text(
        self, at: tuple[float, float], text: str, size: int, ink: str = INK, *, bold: bool = False, anchor: str = "la"
    ) -> None:
        """Draw text. The font has one weight, so a thin stroke of the same colour makes it bold."""
        font = ImageFont.load_default(size)
        self._draw.text(at, text, ink, font, anchor=anchor, stroke_width=size / 50 if bold else 0)

    def draw_fitted_text(
        self, at: tuple[float, float], text: str, size: int, width: float, ink: str, *, bold: bool
    ) -> None:
        """Draw text, cut with an ellipsis to the width."""
        font = ImageFont.load_default(size)
        if font.getlength(text) > width:
            while text and font.getlength(text + "…") > width:
                text = text[:-1]
            text += "…"
        self.text(at, text, size, ink, bold=bold)

    def draw_heading(self, y: int, text: str) -> int:
        """Draw a rule and a title; return the y coordinate below them."""
        self._draw.line((MARGIN, y + 14, PAGE - MARGIN, y + 14), LINE)
        self.text((MARGIN, y + 28), text.upper(), 13, SOFT, bold=True)
        return y + 66

    def question(self, y: int, row: SheetRow) -> None:
        """Draw the query, and below it whether the answer is right."""
        self.draw_fitted_text((MARGIN, y + 4), row.title, 18, LEFT - GAP, INK, bold=True)
        self.text((MARGIN, y + 30), _describe_verdict(row), 13, _row_colour(row))

    def paste(self, image: Image.Image, at: tuple[int, int], *, radius: int) -> None:
        """Paste an image with round corners. The mask is drawn four times as large for smooth edges."""
        mask = Image.new("L", (4 * image.width, 4 * image.height))
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * image.width - 1, 4 * image.height - 1), 4 * radius, 255)
        self._canvas.paste(image, at, mask.resize(image.size, Image.Resampling.LANCZOS))

    def picture(self, at: tuple[int, int], cell: SheetCell, row: SheetRow) -> None:
        """Draw a thumbnail with its name and score; the best one has a frame."""
        assert cell.image is not None
        (x, y), (wide, high) = at, THUMB
        self.paste(cell.image, at, radius=6)
        if cell.first:
            self._draw.rounded_rectangle((x, y, x + wide - 1, y + high - 1), 6, outline=_row_colour(row), width=4)
        ink = INK if cell.first else SOFT
        self.draw_fitted_text((x, y + high + 7), cell.name, 13, wide - 54, ink, bold=cell.first)
        self.text((x + wide, y + high + 7), f"{cell.score:.3f}", 13, ink, bold=cell.first, anchor="ra")

    def score(self, at: tuple[int, int], cell: SheetCell, row: SheetRow) -> None:
        """Draw a score below its video frame; the best one has a coloured background."""
        x, y = at
        if cell.first:
            self._draw.rounded_rectangle((x, y, x + FRAME[0] - 1, y + 30), 4, fill=_row_colour(row))
        ink = PAPER if cell.first else SOFT
        self.text((x + FRAME[0] / 2, y + 15), f"{cell.score:.3f}", 13, ink, bold=cell.first, anchor="mm")
