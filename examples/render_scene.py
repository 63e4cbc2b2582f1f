"""Render the example picture: a brick bakery on a cobbled street in evening light, drawn entirely by this script."""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Array = NDArray[Any]
Colour = tuple[int, int, int]
Point = Sequence[float]
Shape = str | Point | Sequence[Point]  # words, a box, stroke or arc by its numbers, or a polygon
RNG, SIZE = np.random.default_rng(1874), (3072, 2304)  # drawn half as large again as the original
# In metres, x runs right along the house front, y up and z towards the street; the camera looks level, to the left.
RIGHT, UP, BACK, SLOPE, LEAN = np.array([(1, 0, 0), (0, 1, 0), (0, 0, -1), (0, 0.92, -1), (0, 1, 0.92)], float)
ACROSS, AHEAD, EYE = 0.88 * RIGHT + 0.477 * BACK, 0.88 * BACK - 0.477 * RIGHT, np.array([11.6, 2.6, 9.4])
LENS = np.array([SIZE[0] * (0.82 * ACROSS + 0.5 * AHEAD), SIZE[0] * (0.485 * AHEAD - 0.82 * UP), AHEAD])
SUN, SUNLIGHT, SKYLIGHT = np.array([(-0.6, 0.5, 0.62), (2.3, 1.6, 0.9), (0.24, 0.3, 0.42)])
STONE, IRON, WHITE, GREEN, BLUE, RED = (
    (205, 190, 162),
    (34, 36, 40),
    (234, 226, 208),
    (54, 86, 74),
    (74, 102, 124),
    (166, 44, 36),
)
BRICK = (0.34, 0.115), 0.016, ((170, 154, 132), (160, 92, 70), (128, 66, 52), (92, 62, 58)), 0.006, 0.006
SETTS = (0.24, 0.17), 0.02, ((66, 62, 58), (150, 138, 126), (112, 106, 104), (164, 134, 110)), 0.022, 0.02
FLAGS = (0.9, 0.53), 0.015, ((80, 74, 68), (178, 168, 152), (158, 148, 136), (188, 166, 140)), 0.008, 0.006
TILES = (0.25, 0.2), 0.006, ((70, 44, 38), (160, 96, 72), (122, 72, 58), (116, 96, 78)), 0.02, 0.01, 0.5


def linear(colour: Point | Array) -> Array:
    return (np.array(colour, np.float32) / 255) ** 2.2


def noise(shape: Sequence[int], cell: float, octaves: int) -> Array:
    """Smooth fractal noise about zero whose largest features are `cell` pixels wide."""
    grids = [RNG.normal(0, 0.5 ** (k + 1), [int(n * 2**k / cell) + 3 for n in shape]) for k in range(octaves)]
    images = [Image.fromarray(grid.astype(np.float32)) for grid in grids]
    return np.sum([image.resize(shape[::-1], Image.Resampling.BICUBIC) for image in images], 0)


def blur(values: Array, radius: float) -> Array:
    picture = Image.fromarray((values * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(float(radius)))
    return np.asarray(picture, np.float32) / 255


class Panel:
    """A rectangle in space, in metres: its colour, what it covers, and how much sun and sky light reaches it."""

    def __init__(self, at: Point, u: Array, v: Array, w: float, h: float, colour: Colour | None = STONE) -> None:
        self.ppm, u, v = 220, u / np.linalg.norm(u), v / np.linalg.norm(v)
        self.frame, self.sun = np.array([u / self.ppm, v / self.ppm, at]).T, np.array([u, v, np.cross(u, v)]) @ SUN
        self.size = (round(w * self.ppm), round(h * self.ppm))
        self.grain = 1 + 0.12 * noise(self.size[::-1], self.ppm / 2, 6)[..., None]
        self.albedo, levels = linear(colour or IRON) * self.grain, (max(self.sun[2], 0), 1, colour is not None)
        self.light, self.sky, self.cover = (np.full(self.size[::-1], level, np.float32) for level in levels)

    def paint(self, colour: Colour | None, relief: float, *shapes: Shape, top: Colour | None = None) -> None:
        """Colour some shapes, fading to `top`, which stand `relief` metres proud or lie sunk, and cast shadow."""
        stencil, ppm = Image.new("L", self.size), self.ppm
        pen = ImageDraw.Draw(stencil)
        for shape in shapes:
            match shape:
                case str():
                    font = ImageFont.load_default(self.size[1] * 0.66)
                    pen.text((self.size[0] / 2, self.size[1] / 2), shape, 255, font, "mm", stroke_width=2)
                    stencil = ImageOps.flip(stencil)
                case [(_, _), *_]:
                    pen.polygon([(x * ppm, y * ppm) for x, y in shape], 255)
                case [x0, y0, x1, y1]:  # a box
                    pen.rectangle((x0 * ppm, y0 * ppm, x1 * ppm, y1 * ppm), 255)
                case [x0, y0, x1, y1, width]:  # a stroke
                    pen.line((x0 * ppm, y0 * ppm, x1 * ppm, y1 * ppm), 255, round(width * ppm))
                case [x, y, r, width, start, stop]:  # an arc
                    ends = ((x - r) * ppm, (y - r) * ppm, (x + r) * ppm, (y + r) * ppm)
                    pen.arc(ends, start, stop, 255, round(width * ppm))
        left, low, right, high = stencil.getbbox()
        pad = round(ppm * (2 * abs(relief) + 0.12))
        part = slice(max(low - pad, 0), high + pad), slice(max(left - pad, 0), right + pad)
        inside = np.asarray(stencil, np.float32)[part] / 255
        upper = inside if relief > 0 else 1 - inside
        reach = -abs(relief) * ppm * self.sun[1::-1] / max(self.sun[2], 0.4)
        moved = [np.roll(upper, tuple(np.rint(t * reach).astype(int)), (0, 1)) for t in np.linspace(0, 1, 6)]
        self.light[part] *= 1 - blur(np.max(moved, 0), 0.012 * ppm) * (1 - upper)
        self.sky[part] *= 1 - 0.6 * (1 - upper) * blur(upper, (0.02 + abs(relief) / 3) * ppm)
        self.cover[part] = np.maximum(self.cover[part], inside)
        if colour:
            gy, gx = np.gradient(blur(inside, 0.012 * ppm) * 0.03 * ppm)
            edge = -gx * self.sun[0] - gy * max(self.sun[1], 0.3)
            fade = np.linspace(0, 1, len(inside))[:, None, None]
            tone = (linear(colour) * (1 - fade) + linear(top or colour) * fade) * self.grain[part]
            self.albedo[part] += (tone - self.albedo[part]) * inside[..., None]
            self.light[part] += (np.maximum(self.sun[2] + edge, 0) - self.light[part]) * inside
            self.sky[part] += (1 + 0.6 * edge - self.sky[part]) * inside

    def shade(self, casters: Sequence["Panel"]) -> None:
        """Let panels in front throw their shadows on this one, softer the farther they stand off."""
        for caster in casters:
            back = np.linalg.inv(np.column_stack([caster.frame[:, :2], -SUN]))
            matrix = back @ (self.frame - np.outer(caster.frame[:, 2], (0, 0, 1)))
            mask = Image.fromarray((caster.cover * 255).astype(np.uint8)).transform(
                self.size, Image.Transform.AFFINE, matrix[:2].ravel(), Image.Resampling.BILINEAR
            )
            away = np.clip(matrix[2] @ (self.size[0] / 2, self.size[1] / 2, 1), 0, 3)
            self.light *= 1 - blur(np.asarray(mask, np.float32) / 255, (0.004 + 0.012 * away) * self.ppm)

    def place(self, canvas: Image.Image) -> None:
        """Light the panel and draw it where the camera sees it."""
        rgb = self.albedo * (self.light[..., None] * SUNLIGHT + self.sky[..., None] * SKYLIGHT)
        rgba = np.dstack([(1.25 * rgb / (0.45 + rgb)).clip(0, 1) ** 0.56, self.cover]) * 255
        matrix = np.linalg.inv(LENS @ (self.frame - np.outer(EYE, (0, 0, 1))))
        canvas.alpha_composite(
            Image.fromarray(rgba.astype(np.uint8)).transform(
                SIZE, Image.Transform.PERSPECTIVE, (matrix / matrix[2, 2]).ravel()[:8], Image.Resampling.BICUBIC
            )
        )


def masonry(
    p: Panel,
    unit: tuple[float, float],
    gap: float,
    colours: Sequence[Colour],
    bulge: float,
    wobble: float,
    lap: float = 0,
) -> Panel:
    """Cover a panel with bricks or setts, or round-ended tiles that overlap; the first colour fills the joints."""
    shape = p.light.shape
    v, u = ((np.indices(shape, np.float32)[k] / p.ppm + wobble * noise(shape, 66, 3)) / unit[1 - k] for k in (0, 1))
    row = np.floor(v)
    row -= v - row < lap * (1 - np.sqrt(1 - (2 * ((u + row / 2) % 1) - 1) ** 2))
    u, v = u + row / 2, v - row
    pick = RNG.random((97, 89, 4, 1)).astype(np.float32)[row.astype(int) % 97, np.floor(u).astype(int) % 89]
    edge = np.minimum((0.5 - abs(u % 1 - 0.5)) * unit[0], 1 if lap else (0.5 - abs(v - 0.5)) * unit[1])
    face = 1 - (1 - np.clip((edge - gap / 2) / (0.008 + bulge), 0, 1)) ** 2
    joint, first, second, third = (linear(colour) for colour in colours)
    tone = np.where(pick[:, :, 2] > 0.88, third, first + (second - first) * pick[:, :, 0]) * (0.7 + 0.6 * pick[:, :, 1])
    stain = p.grain * (1 + 0.25 * noise(shape, p.ppm, 4))[..., None]
    p.albedo = (joint + (tone - joint) * np.clip(face * 3, 0, 1)[..., None]) * stain
    level = (face + lap * 3 * (1 - v)) * (0.75 + 0.5 * pick[:, :, 3, 0])
    gy, gx = np.gradient((bulge * level + 0.0025 * noise(shape, 13, 3)) * p.ppm)
    p.light *= np.maximum(1 - (gx * p.sun[0] + gy * p.sun[1]) / p.sun[2], 0) / np.sqrt(1 + gx**2 + gy**2)
    level /= level.max()
    p.sky *= np.clip(1 - 2 * (blur(level, 0.02 * p.ppm) - level) - 0.2 * (gx + gy), 0.2, 1.5)
    return p


def foliage(p: Panel, blobs: Sequence[Point], count: int, size: float, colours: tuple[Colour, Colour]) -> Panel:
    """Scatter leaves over balls of (x, y, radius), far ones first, each lit as the ball is where it grows."""
    ball, out = np.array(blobs)[RNG.integers(len(blobs), size=count)], RNG.normal(size=(count, 3))
    out = out / np.linalg.norm(out, axis=1, keepdims=True) * np.where(out[:, 2:] < 0, [1, 1, -1], 1)
    spot = (ball[:, :2] + out[:, :2] * ball[:, 2:] * RNG.uniform(0.5, 1.05, (count, 1))) @ (1, 1j)
    glow = (0.3 + 0.25 * out[:, 1] + 0.55 * np.clip(out @ p.sun, 0, 1)) * RNG.uniform(0.6, 1.3, count)
    tone = np.array(colours[0]) + np.subtract(colours[1], colours[0]) * RNG.uniform(size=(count, 1)) ** 1.5
    tone, skin = (tone * glow.clip(0.12, 1)[:, None] ** 0.6).astype(int), Image.new("RGBA", p.size)
    pen = ImageDraw.Draw(skin)
    for k in np.argsort(out[:, 2] + 0.7 * glow):
        turn = np.exp(1j * RNG.uniform(0, 6.3)) * size * RNG.uniform(0.7, 1.3)
        leaf = (np.array([-1, -0.4 + 0.42j, 0.3 + 0.4j, 1, 0.3 - 0.4j, -0.4 - 0.42j]) * turn + spot[k]) * p.ppm
        pen.polygon([(z.real, z.imag) for z in leaf], (*tone[k], 255))
    leaves = np.asarray(skin, np.float32)
    p.light[leaves[..., 3] > 0], p.sky[leaves[..., 3] > 0] = max(p.sun[2], 0), 1
    p.albedo = np.where(leaves[..., 3:] > 0, linear(leaves[..., :3]), p.albedo)
    p.cover = np.maximum(p.cover, leaves[..., 3] / 255)
    return p


def window(
    p: Panel,
    x: float,
    y: float,
    w: float,
    h: float,
    panes: tuple[int, int] = (2, 3),
    shutter: Colour | None = GREEN,
    glow: bool = False,
) -> None:
    """A sash window, its opening's lower left at (x, y), with curtains and louvred shutters or the baker's shelves."""
    r, t, m = x + w, y + h, x + w / 2
    key = [(m - 0.09, t), (m + 0.09, t), (m + 0.13, t + 0.26), (m - 0.13, t + 0.26)]
    p.paint(STONE, 0.04, (x - 0.14, t, r + 0.14, t + 0.2), key)
    glass, above = ((255, 204, 116), (176, 104, 48)) if glow else ((40, 48, 58), (130, 152, 178))
    p.paint(glass, 0.001, (x, y, r, t), top=above)
    if shutter:
        drape = ((0.5, 0.02), (0.4, 0.02), (0.31, 0.5), (0.1, 1), (0.5, 1))
        p.paint((220, 208, 184), 0.01, *([(m + side * a * w, y + b * h) for a, b in drape] for side in (-1, 1)))
    else:
        for b in np.arange(y + 0.25, t - 0.3, 0.5):
            loaves = [(a, b, 0.12, 0.12, 0, 180) for a in np.arange(x + 0.14, r - 0.1, 0.26)]
            p.paint((176, 104, 48), 0.02, (x, b - 0.05, r, b), *loaves)
    bars = [(a, y, a + 0.05, t) for a in np.linspace(x, r - 0.05, panes[0] + 1)]
    p.paint(WHITE, 0.03, *bars, *((x, b, r, b + 0.05) for b in np.linspace(y, t - 0.05, panes[1] + 1)))
    p.paint(None, -0.13, (x, y, r, t))
    p.paint(STONE, 0.12, (x - 0.12, y - 0.12, r + 0.12, y))
    for a, b in ((x - w / 2 - 0.04, x - 0.04), (r + 0.04, r + w / 2 + 0.04)) if shutter else ():
        p.paint(shutter, 0.05, (a, y - 0.02, b, t + 0.02))
        p.paint(shutter, 0.025, *((a + 0.06, c, b - 0.06, c + 0.05) for c in np.arange(y + 0.06, t - 0.08, 0.085)))


def railing(at: Point, u: Array, w: float, h: float) -> Panel:
    """Wrought iron: rails and bars with spear heads, rings between the upper rails and scrolls lower down."""
    p, bars = Panel(at, u, UP, w, h, None), np.linspace(0.03, w - 0.03, round(w / 0.14) + 1)
    p.paint(IRON, 0.012, *((0, y, w, y + 0.035) for y in (0.08, h - 0.3, h - 0.14)))
    p.paint(IRON, 0.012, *((x - 0.012, 0, x + 0.012, h - 0.1) for x in bars))
    rings = [(x + 0.07, h - 0.2, 0.052, 0.018, 0, 360) for x in bars[:-1]]
    scrolls = [(x + 0.07, 0.36, 0.06, 0.02, 180 * (k % 2), 270 + 180 * (k % 2)) for k, x in enumerate(bars[:-1])]
    spears = [[(x - 0.035, h - 0.07), (x, h), (x + 0.035, h - 0.07)] for x in bars]
    p.paint(IRON, 0.012, *rings, *scrolls, *spears)
    return p


def house() -> tuple[Panel, Panel]:
    """The brick front and the gable, with stone dressings, windows, the arched door and the shop front."""
    front = masonry(Panel((0, 0, 0), RIGHT, UP, 8.4, 5.75), *BRICK)
    gable = masonry(Panel((8.4, 0, 0), BACK, UP, 6, 9, None), *BRICK)
    front.paint(STONE, 0.07, (0, 0, 8.4, 0.45), (0, 3.36, 4.6, 3.5), (4.6, 3.5, 8.4, 3.62), (0, 5.45, 8.4, 5.75))
    front.paint(STONE, 0.06, *((x, 5.49, x + 0.12, 5.65) for x in np.arange(0.05, 8.4, 0.22)))
    quoins = [(0, y, 0.46 - 0.16 * (k % 2), y + 0.325) for k, y in enumerate(np.arange(0, 5.4, 0.34))]
    front.paint(STONE, 0.03, *quoins, *((8.4 - x1, y0, 8.4, y1) for _, y0, x1, y1 in quoins))
    gable.paint(None, 0.001, [(0, 0), (6, 0), (6, 5.75), (3, 8.7), (0, 5.75)])
    gable.paint(STONE, 0.03, *quoins[1:])
    door = [(0.8, 0, 1.7, 2.1), (1.25, 2.1, 0.45, 0.45, 0, 180)]
    front.paint(STONE, 0.05, (0.62, 0, 1.88, 2.1), (1.25, 2.1, 0.63, 0.63, 0, 180))
    front.paint(BLUE, 0.001, *door)
    fan = [(1.25, 2.1, 1.25 + 0.45 * np.cos(t), 2.1 + 0.45 * np.sin(t), 0.03) for t in np.arange(1, 6) * np.pi / 6]
    front.paint(BLUE, 0.03, *((x, y, x + 0.32, y + 0.84) for x in (0.88, 1.3) for y in (0.18, 1.12)), *fan)
    front.paint(None, -0.14, *door)
    front.paint(GREEN, 0.06, (4.75, 0, 7.85, 2.75))
    for x, y, w, h in ((0.8, 3.85, 0.85, 1.3), (5.2, 3.85, 0.8, 1.3), (6.8, 3.85, 0.8, 1.3), (2.62, 1.15, 0.95, 1.5)):
        window(front, x, y, w, h)
    window(front, 2.95, 3.55, 1, 1.6, (2, 4), glow=True)
    window(front, 4.9, 0.75, 1.75, 1.75, (5, 3), None, True)
    window(front, 6.9, 0.3, 0.8, 2.2, (2, 4), None, True)
    window(gable, 2.5, 3.85, 0.85, 1.3)
    window(gable, 2.6, 6.4, 0.7, 0.9, (2, 2), glow=True)
    return front, gable


def bicycle() -> Panel:
    p, hubs = Panel((2.05, 0.13, 0.42), RIGHT, UP, 1.9, 1.2, None), (0.37, 1.45)
    turn = np.arange(16) * np.pi / 8
    spokes = [(x, 0.36, x + 0.33 * np.cos(t), 0.36 + 0.33 * np.sin(t), 0.005) for x in hubs for t in turn]
    wheels = [(x, 0.36, r, 0.035, 0, 360) for x, r in zip((*hubs, 0.78), (0.35, 0.35, 0.1), strict=True)]
    p.paint((180, 180, 180), 0.004, *spokes)
    p.paint(IRON, 0.01, *wheels, (0.52, 0.93, 0.8, 0.9, 0.06))
    p.paint(IRON, 0.01, (1.27, 0.95, 1.24, 1.07, 0.03), (1.25, 1.05, 1.08, 1.08, 0.03))
    frame = (0.67, 0.87), (0.78, 0.35), (0.37, 0.36), (0.7, 0.78), (1.3, 0.82), (0.78, 0.35)
    p.paint(RED, 0.015, *((*a, *b, 0.035) for a, b in pairwise(frame)))
    p.paint(RED, 0.015, (1.27, 0.95, 1.45, 0.36, 0.035))
    p.paint((176, 132, 78), 0.03, (1.3, 0.72, 1.62, 0.98))
    return p


def scene() -> list[Panel]:
    """Every panel with its shadows, the farthest first."""
    front, gable = house()
    beside = Panel((-7, 0, 0), RIGHT, UP, 7, 4.9, (220, 196, 154))
    for x, y in ((0.8, 0.95), (0.8, 3.1), (3, 0.95), (3, 3.1), (5.2, 0.95), (5.2, 3.1)):
        window(beside, x, y, 0.9, 1.3, shutter=BLUE)
    beside.paint(STONE, 0.06, (0, 0, 7, 0.5), (0, 4.6, 7, 4.9))
    roof = masonry(Panel((-0.1, 5.73, 0.42), RIGHT, SLOPE, 8.75, 4.65), *TILES)
    shed = masonry(Panel((-7, 4.88, 0.35), RIGHT, SLOPE, 7, 4), *TILES)
    shed.albedo *= (0.62, 0.85, 1.0)
    verge = Panel((8.65, 5.55, 0.42), SLOPE, LEAN, 4.65, 0.17)
    gutter = Panel((-0.1, 5.59, 0.44), RIGHT, UP, 8.75, 0.15)
    gutter.paint((52, 46, 42), 0.02, (0, 0, 8.75, 0.15), top=(150, 138, 124))
    stacks = [
        Panel((x, 8.32, -2.5), u, UP, w, 1.5)
        for x, u, w in ((2, BACK, 0.6), (1.2, RIGHT, 0.8), (7.5, BACK, 0.6), (6.7, RIGHT, 0.8))
    ]
    for stack in stacks:
        masonry(stack, *BRICK).paint(STONE, 0.06, (0, 1.32, 1, 1.5))
    sign = Panel((4.7, 2.87, 0.1), RIGHT, UP, 3.25, 0.54, (156, 116, 62))
    sign.paint((26, 54, 52), 0.001, (0.05, 0.05, 3.2, 0.49))
    sign.paint((250, 214, 130), 0.015, "THE OLD BAKERY")
    awning = Panel((4.6, 2.2, 1.25), RIGHT, np.array([0, 0.6, -1.25]), 3.4, 1.385)
    hem = Panel((4.6, 1.95, 1.25), RIGHT, UP, 3.4, 0.25, None)
    for k, x in enumerate(np.arange(0, 3.3, 0.2)):
        awning.paint((WHITE, RED)[k % 2], 0.002, (x, 0, x + 0.2, 1.4))
        hem.paint((WHITE, RED)[k % 2], 0.002, (x, 0.1, x + 0.2, 0.25), (x + 0.1, 0.1, 0.1, 0.1, 180, 360))
    slab, floor = Panel((2.3, 3.32, 0.85), RIGHT, UP, 2.3, 0.16), Panel((2.3, 3.48, 0.85), RIGHT, BACK, 2.3, 0.85)
    ends, rails = Panel((4.6, 3.32, 0.85), BACK, UP, 0.85, 0.16), railing((2.3, 3.48, 0.85), RIGHT, 2.3, 1)
    side, fence = railing((4.6, 3.48, 0.85), BACK, 0.85, 1), railing((8.4, 0.73, -0.15), RIGHT, 7, 1.25)
    flowers = Panel((0, 0, 0.25), RIGHT, UP, 8.4, 5.75, None)
    for x, y, w in ((0.73, 3.66, 1.0), (5.12, 3.66, 0.95), (6.72, 3.66, 0.95), (2.55, 0.96, 1.1)):
        flowers.paint((98, 62, 40), 0.01, (x, y, x + w, y + 0.18))
        row = [(x + w * t, y + 0.24, 0.13) for t in np.linspace(0, 1, 7)]
        foliage(flowers, row, 260, 0.04, ((50, 94, 44), (130, 170, 70)))
        foliage(flowers, row, 70, 0.035, ((220, 40, 60), (255, 180, 180)))
    street = masonry(Panel((-7, 0, 5.6), RIGHT, BACK, 22, 4.2), *SETTS)
    pavement = masonry(Panel((-7, 0.13, 1.5), RIGHT, BACK, 22, 1.6), *FLAGS)
    kerb, lawn = Panel((-7, 0, 1.5), RIGHT, UP, 22, 0.13), Panel((8.4, 0, -0.1), RIGHT, BACK, 14, 14, (96, 110, 54))
    wall, bike = masonry(Panel((8.4, 0.13, -0.1), RIGHT, UP, 7, 0.6), *BRICK), bicycle()
    wall.paint(STONE, 0.05, (0, 0.5, 7, 0.6))
    vines = [(0.5 + 5.3 * t + 0.4 * RNG.normal(), (1 + 4.6 * t) * s, 0.4) for t, s in RNG.random((70, 2))]
    ivy = foliage(Panel((8.44, 0.1, 0), BACK, UP, 6, 6, None), vines, 9000, 0.07, ((50, 90, 44), (150, 170, 80)))
    tree = Panel((8.3, 0, -5), ACROSS, UP, 7, 8.5, None)
    tree.paint((104, 78, 58), 0.03, (3.5, 0, 3.55, 5, 0.35), (3.5, 2.4, 1.8, 4.8, 0.13), (3.5, 2.4, 5.2, 5, 0.13))
    spread = RNG.random((60, 3)) * [6.3, 1, 1]
    crown = [(3.5 + 2.5 * r * np.cos(a), 5 + 2.1 * r * np.sin(a), 0.45 + 0.4 * s) for a, r, s in spread]
    foliage(tree, crown, 22000, 0.075, ((62, 100, 44), (212, 196, 92)))
    shrubs = [(x, 0.7 + 0.5 * RNG.random(), 0.5) for x in np.linspace(0, 7, 30)]
    hedge = foliage(Panel((8.7, 0, -2.5), RIGHT, UP, 7, 2.4, None), shrubs, 11000, 0.06, ((50, 90, 44), (170, 170, 76)))
    boughs = [(8 * t, 8 * s, 0.7) for t, s in RNG.random((22, 2))]
    canopy = foliage(Panel((-11, 3, 6), RIGHT, UP, 9, 9, None), boughs, 4000, 0.1, (STONE, STONE))
    casters = (roof, shed, awning, hem, slab, floor, rails, side, bike, flowers, canopy, sign)
    for p in (front, beside, street, pavement, sign, wall, awning):
        p.shade([caster for caster in casters if caster is not p])
    back = [lawn, tree, hedge, gable, ivy, verge, beside, shed, roof, *stacks, front, gutter, sign, street, kerb]
    return [*back, pavement, wall, fence, awning, hem, floor, ends, side, slab, rails, flowers, bike]


def backdrop() -> Image.Image:
    """An evening sky with soft cloud over two ranges of hills."""
    down = np.linspace(0, 1.6, SIZE[1])[:, None, None]
    cloud = np.clip(noise((SIZE[1], SIZE[0] // 2), 600, 7).repeat(2, 1) + 0.15, 0, 1)[..., None] ** 0.8 * 0.8
    rgb = np.array([92, 140, 196]) * (1 - down) + np.array([255, 208, 148]) * down
    rgb = rgb * (1 - cloud) + np.array([255, 230, 202]) * cloud
    for level, colour in ((0.93, np.array([190, 174, 164])), (0.98, np.array([134, 142, 110]))):
        ridge = level - 0.05 * noise((4, SIZE[0]), 500, 6)[:1, :, None]
        rgb = np.where(down > ridge, colour + 160 * (down - level), rgb)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).convert("RGBA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent, help="where house.png goes")
    parser.add_argument("--hr", type=Path, metavar="FILE", help="also write the 2048 x 1536 original")
    options, canvas = parser.parse_args(), backdrop()
    for panel in scene():
        panel.place(canvas)
    original = canvas.convert("RGB").resize((2048, 1536), Image.Resampling.LANCZOS)
    if options.hr:
        original.save(options.hr)
    original.resize((512, 384), Image.Resampling.BICUBIC).save(options.folder / "house.png")


if __name__ == "__main__":
    main()
