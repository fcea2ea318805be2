"""Caricatures of what is no limb: chest, head, spine, abdomen and sections, bone bright.

Drawn from ellipses, bands and noise on coordinates from -1 to 1; no radiograph was used.
"""

import cv2
import numpy as np

from inference.types import Float32Array
from models.outliers.canvas import Canvas, Rng, Size


def draw_chest(rng: Rng, size: Size) -> Float32Array:
    """Draw a frontal chest: dark lungs in a cage of ribs, heart, diaphragm, spine, clavicles, shoulders."""
    art = Canvas(rng, size)
    x, y, side = art.x, art.y, np.abs(art.x)
    art.ellipse(0.45, 0, 0.5, rng.uniform(0.75, 1.0), 1.3, soft=0.15)
    art.ellipse(0.25, 0, -0.75, 0.95, 0.35, soft=0.3)
    art.ellipse(0.2, 0, -1.1, 0.28, 0.5, soft=0.2)
    height, reach = rng.uniform(0.5, 0.8), rng.uniform(0.28, 0.4)
    lungs = np.zeros(size)
    for sign in (-1, 1):
        lungs = np.maximum(lungs, art.inside(sign * 0.4, -0.1, reach, height, turn=sign * 0.12, soft=0.25))
    art.light -= rng.uniform(0.3, 0.5) * lungs
    art.ellipse(0.35, rng.uniform(0.05, 0.2), 0.3, rng.uniform(0.25, 0.42), 0.36, turn=0.5, soft=0.25)
    for sign in (-1, 1):
        art.ellipse(0.4, sign * 0.42, rng.uniform(0.8, 1.0), 0.5, 0.42, soft=0.15)
        art.band(0.2, y + 0.62 + 0.25 * (side - 0.3) ** 2 - 0.1 * side, 0.03, (sign * x > 0.05) & (side < 0.75))
        art.ellipse(0.15, sign * 0.8, -0.45, 0.16, 0.35, turn=-sign * 0.4, soft=0.4)
        art.ellipse(0.1, sign * 0.25, -0.05, 0.12, 0.25, soft=0.6)
    art.band(0.3, x, 0.1)
    art.band(0.07, np.sin(y * rng.uniform(25, 35)), 0.4, np.exp(-((x / 0.09) ** 2)))
    pitch, fall = rng.uniform(0.12, 0.18), rng.uniform(0.2, 0.6)
    cage = art.inside(0, 0, reach + 0.45, height + 0.15, soft=0.15)
    for rib in range(-6, 7):
        art.band(rng.uniform(0.08, 0.16), y - rib * pitch - fall * side + 0.5 * side**2, 0.022, cage * (side > 0.08))
        art.band(rng.uniform(0.02, 0.08), y - rib * pitch + fall * side, 0.03, cage * (side > 0.3))
    return art.finish()


def draw_lateral_chest(rng: Rng, size: Size) -> Float32Array:
    """Draw a lateral chest: one dark lung field between sternum and spine, heart, domes, slanting ribs."""
    art = Canvas(rng, size)
    x, y = art.x, art.y
    art.ellipse(0.6, 0, 0.2, rng.uniform(0.6, 0.8), 1.3, soft=0.12)
    art.ellipse(0.3, 0.1, -0.9, 0.6, 0.35, soft=0.2)
    art.ellipse(-0.4, 0.05, -0.1, 0.42, 0.72, turn=-0.1, soft=0.25)
    art.ellipse(0.25, -0.15, 0.25, 0.3, 0.3, turn=0.6, soft=0.25)
    art.ellipse(0.4, 0, 0.95, 0.7, rng.uniform(0.35, 0.5), soft=0.15)
    back = x - 0.5 + 0.15 * y**2
    art.band(0.25, back, 0.09)
    art.band(0.12, np.sin(y * rng.uniform(22, 32)), 0.4, np.exp(-((back / 0.09) ** 2)))
    art.band(0.2, x + 0.5 - 0.15 * y, 0.03, (y < 0.3) & (y > -0.6))
    slant = rng.uniform(0.4, 0.9)
    for rib in range(-7, 8):
        art.band(rng.uniform(0.04, 0.14), y - rib * 0.15 + slant * x - 0.4 * x**2, 0.022, np.abs(x) < 0.55)
    return art.finish()


def draw_skull(rng: Rng, size: Size) -> Float32Array:
    """Draw a head, frontal or lateral: bright rim of the vault, orbits, sinuses, teeth, jaw, neck."""
    art = Canvas(rng, size)
    lateral = rng.random() < 0.5
    wide, high = (0.8, 0.62) if lateral else (0.56, 0.72)
    art.ellipse(0.35, 0, -0.15, wide + 0.06, high + 0.06, soft=0.05)
    art.ellipse(rng.uniform(0.2, 0.5), 0, -0.15, wide, high, soft=0.04)
    art.ellipse(-rng.uniform(0.05, 0.35), 0, -0.15, wide - rng.uniform(0.04, 0.09), high - 0.06, soft=0.06)
    art.ellipse(0.3, 0.45 if lateral else 0, 0.6, 0.3, 0.5, soft=0.15)
    face = -0.5 if lateral else 0.0
    if lateral:
        art.ellipse(0.25, -0.45, 0.4, 0.35, 0.45, turn=0.3, soft=0.12)
        art.ellipse(0.3, 0.1, 0.3, 0.25, 0.12, turn=0.2, soft=0.3)
        art.ellipse(-0.2, -0.55, 0.1, 0.14, 0.16, soft=0.2)
        art.band(0.2, art.y - 0.15 - 0.3 * art.x, 0.03, np.abs(art.x + 0.3) < 0.4)
    else:
        art.ellipse(0.25, 0, 0.45, 0.4, 0.45, soft=0.1)
        for sign in (-1, 1):
            art.ellipse(-0.3, sign * 0.24, 0.05, 0.16, 0.13, soft=0.15)
            art.ellipse(0.2, sign * 0.3, 0.18, 0.2, 0.05, turn=sign * 0.3, soft=0.4)
            art.ellipse(-0.15, sign * 0.2, 0.32, 0.1, 0.13, soft=0.25)
            art.band(0.25, np.abs(art.x - sign * 0.38) + 0.15 * np.abs(art.y - 0.5), 0.05, np.abs(art.y - 0.55) < 0.3)
        art.ellipse(-0.2, 0, 0.22, 0.07, 0.16, soft=0.3)
    for row in (0.52, 0.62):
        teeth = np.exp(-(((art.y - row) / 0.045) ** 2)) * (np.abs(art.x - face) < 0.22)
        art.light += rng.uniform(0.1, 0.4) * teeth * (0.6 + 0.4 * np.cos((art.x - face) * rng.uniform(60, 100)))
    jaw = np.hypot((art.x - face) / 0.4, (art.y - 0.45) / 0.38) - 1
    art.band(0.25, jaw, 0.1, art.y > 0.45)
    art.band(rng.uniform(0, 0.12), art.x - 0.15 * np.sin(8 * art.y) - 0.1, 0.015, art.inside(0, -0.15, wide, high))
    art.band(0.15, np.sin(art.y * 24), 0.5, np.exp(-(((art.x - 0.3 * lateral) / 0.12) ** 2)) * (art.y > 0.5))
    return art.finish()


def draw_spine(rng: Rng, size: Size) -> Float32Array:
    """Draw a column of vertebrae, frontal or lateral, straight or curved, in an even body."""
    art = Canvas(rng, size)
    art.ellipse(rng.uniform(0.2, 0.5), 0, 0, rng.uniform(0.4, 1.2), 1.8, soft=0.3)
    centre = rng.uniform(-0.2, 0.2) * np.sin(art.y * rng.uniform(1, 3) + rng.uniform(0, 6))
    across, width, pitch = art.x - centre, rng.uniform(0.1, 0.28), rng.uniform(0.18, 0.4)
    phase = np.mod(art.y / pitch + rng.random(), 1) - 0.5
    column = 1 / (1 + np.exp((np.abs(across) - width) * 60))
    body = 1 / (1 + np.exp((np.abs(phase) - rng.uniform(0.36, 0.44)) * 40))
    art.light += column * (0.2 + 0.3 * body)
    art.band(0.15, np.abs(np.abs(phase) - 0.4), 0.05, column)
    if rng.random() < 0.5:
        for sign in (-1, 1):
            art.band(0.2, np.hypot((across - sign * width * 0.6) / pitch, phase) - 0.12, 0.05)
            art.band(0.15, phase, 0.12, (sign * across > width) & (sign * across < width * 2))
    else:
        art.band(0.2, np.hypot((across - width * 1.8) / pitch, phase - 0.2), 0.25)
    if rng.random() < 0.4:
        art.band(0.12, np.mod(art.y + 0.4 * np.abs(across), 0.2) - 0.1, 0.03, np.abs(across) > width)
    return art.finish()


def draw_abdomen(rng: Rng, size: Size) -> Float32Array:
    """Draw an abdomen: even tissue, bubbles of gas, lower ribs, the spine, wings of the pelvis at times."""
    art = Canvas(rng, size)
    art.ellipse(0.6, 0, 0, rng.uniform(0.75, 1.1), 1.5, soft=0.12)
    art.ellipse(0.2, -0.4, -0.6, 0.5, 0.4, soft=0.4)
    for _ in range(int(rng.integers(3, 25))):
        x, y = rng.normal(0, 0.4, 2)
        rx, ry = rng.uniform(0.03, 0.18, 2)
        art.ellipse(-rng.uniform(0.05, 0.25), x, y, rx, ry, turn=rng.uniform(0, 3), soft=0.3)
    side = np.abs(art.x)
    art.band(0.25, art.x, 0.11)
    art.band(0.1, np.sin(art.y * rng.uniform(14, 24)), 0.4, np.exp(-((art.x / 0.1) ** 2)))
    for sign in (-1, 1):
        art.band(0.08, sign * art.x - 0.12 - 0.3 * (art.y + 0.3), 0.02, np.abs(art.y - 0.1) < 0.5)
        for rib in range(3):
            art.band(0.1, art.y + 0.85 - rib * 0.17 - 0.6 * side, 0.025, (sign * art.x > 0.1) & (side < 0.8))
        if rng.random() < 0.5:
            art.ellipse(0.2, sign * 0.5, 0.85, 0.3, 0.35, turn=sign * 0.5, soft=0.1)
    return art.finish()


def draw_section(rng: Rng, size: Size) -> Float32Array:
    """Draw a section by computed tomography, magnetic resonance or ultrasound: a body on black, or a speckled fan."""
    art = Canvas(rng, size, zoom=(0.8, 1.2))
    if rng.random() < 0.25:
        fan = (np.abs(np.arctan2(art.x, art.y + 1)) < rng.uniform(0.4, 0.8)) & (np.hypot(art.x, art.y + 1) < 1.8)
        speckle = cv2.GaussianBlur(rng.exponential(size=size), (0, 0), rng.uniform(0.8, 3))
        for _ in range(int(rng.integers(2, 8))):
            art.ellipse(rng.uniform(-0.5, 0.5), *rng.normal(0, 0.4, 2), *rng.uniform(0.1, 0.5, 2), soft=0.2)
        art.light = np.where(fan, speckle * np.clip(0.6 + art.light, 0.05, 2), 0)
        return art.finish()
    wide, high = rng.uniform(0.6, 0.95), rng.uniform(0.45, 0.9)
    art.ellipse(rng.uniform(0.2, 0.5), 0, 0, wide, high, soft=0.03)
    if rng.random() < 0.5:
        art.ellipse(rng.uniform(0.3, 0.9), 0, 0, wide - 0.03, high - 0.03, soft=0.03)
        art.ellipse(-rng.uniform(0.1, 0.6), 0, 0, wide - 0.1, high - 0.1, soft=0.04)
    for _ in range(int(rng.integers(4, 20))):
        x, y = rng.normal(0, 0.3, 2) * (wide, high)
        rx, ry = rng.uniform(0.04, 0.4, 2)
        art.ellipse(rng.uniform(-0.35, 0.35), x, y, rx, ry, turn=rng.uniform(0, 3), soft=rng.uniform(0.03, 0.2))
    if rng.random() < 0.6:
        art.ellipse(0.6, 0, high * 0.5, 0.12, 0.1, soft=0.15)
        art.ellipse(-0.3, 0, high * 0.68, 0.05, 0.05, soft=0.2)
    art.light *= art.inside(0, 0, wide + 0.01, high + 0.01, soft=0.02)
    if rng.random() < 0.4:
        art.band(0.4, art.y - high - 0.08 - 0.1 * art.x**2, 0.02)
    return art.finish()
