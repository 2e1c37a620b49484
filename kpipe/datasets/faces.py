"""Cartoon faces with CelebA's forty attributes, painted by NumPy alone.

The faces stand in for CelebA wherever the real pictures are not at hand: in tests, in examples
and in trial runs. Attributes are drawn first, with shares and correlations close to CelebA's, and
each one that can be seen is then painted.

Two ideas carry the module:

* **The face frame.** Every part is described in coordinates fixed to its face: the origin lies
  between the eyes, x grows to the right, y grows downwards, the crown of the head is at y = -1 and
  the chin at y = 1. The pose of a face (place, scale, tilt, turn) enters only once, when the
  pixels' coordinates are computed, so the parts themselves need not know it.
* **Signed distances.** A shape is an array that tells each pixel how far it lies from the outline,
  negative inside. ``np.minimum`` unites two shapes, ``np.maximum`` intersects them, and a minus
  sign turns a shape inside out.

Only additions, products, quotients and square roots are used, which IEEE 754 defines to the last
bit, and only uniform draws of the frozen ``RandomState`` stream. The same arguments therefore
give the same bytes on every machine and every version of NumPy.
"""

import numpy as np

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip

# Faces are drawn and painted block by block: a block's arrays fit the processor's cache, and since
# each block has a seed of its own, the i-th face does not depend on how many follow it.
_BLOCK = 256
_BATCH = 64

# Share of women, share of men, and the tendency (see _draw_attributes) the attribute goes with.
_SHARES = {
    "Young": (0.88, 0.64, "youth"),
    "Attractive": (0.68, 0.28, "youth"),
    "Bags_Under_Eyes": (0.10, 0.35, "age"),
    "Bald": (0.00, 0.055, "age"),
    "Receding_Hairline": (0.04, 0.16, "age"),
    "Eyeglasses": (0.03, 0.12, "age"),
    "Heavy_Makeup": (0.66, 0.00, "care"),
    "Wearing_Lipstick": (0.80, 0.01, "care"),
    "Arched_Eyebrows": (0.42, 0.05, "care"),
    "Rosy_Cheeks": (0.11, 0.01, "care"),
    "Wearing_Earrings": (0.31, 0.02, "care"),
    "Wearing_Necklace": (0.20, 0.02, "care"),
    "Smiling": (0.54, 0.40, "joy"),
    "High_Cheekbones": (0.56, 0.31, "joy"),
    "Mouth_Slightly_Open": (0.52, 0.43, "joy"),
    "Chubby": (0.02, 0.11, "weight"),
    "Double_Chin": (0.02, 0.09, "weight"),
    "Big_Nose": (0.10, 0.42, "weight"),
    "5_o_Clock_Shadow": (0.00, 0.27, "growth"),
    "Goatee": (0.00, 0.16, "growth"),
    "Sideburns": (0.00, 0.14, "growth"),
    "Mustache": (0.00, 0.11, "growth"),
    "Bushy_Eyebrows": (0.07, 0.25, "growth"),
    "Bangs": (0.21, 0.09, None),
    "Big_Lips": (0.30, 0.16, None),
    "Blurry": (0.05, 0.05, None),
    "Narrow_Eyes": (0.11, 0.12, None),
    "Oval_Face": (0.32, 0.23, None),
    "Pale_Skin": (0.055, 0.03, None),
    "Pointy_Nose": (0.33, 0.20, None),
    "Wavy_Hair": (0.46, 0.14, None),
    "Straight_Hair": (0.35, 0.27, None),
    "Wearing_Hat": (0.03, 0.08, None),
    "Wearing_Necktie": (0.003, 0.175, None),
}
_BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")
_HAIR_SHARES = {  # share of women, share of men; whoever is left over has auburn or sandy hair
    "Gray_Hair": (0.08, 0.24),
    "Black_Hair": (0.21, 0.30),
    "Blond_Hair": (0.24, 0.03),
    "Brown_Hair": (0.25, 0.17),
}

# Colours are red, green, blue from 0 to 255.
_HAIR_COLOURS = {
    "Gray_Hair": (186, 186, 190),
    "Black_Hair": (34, 29, 31),
    "Blond_Hair": (232, 196, 116),
    "Brown_Hair": (101, 66, 42),
}
_AUBURN, _SANDY = (150, 66, 38), (164, 124, 82)
_SKINS = ((250, 219, 196), (238, 192, 160), (208, 154, 116), (134, 89, 64))  # light to dark
_PALE = (252, 234, 224)
_EYE_COLOURS = ((84, 54, 36), (60, 40, 30), (78, 120, 170), (84, 132, 96), (120, 130, 140))
_LIPSTICKS = ((200, 36, 56), (222, 78, 116), (150, 40, 70), (212, 96, 92), (176, 74, 72))
_CLOTHES = ((70, 96, 140), (150, 60, 66), (84, 128, 104), (222, 214, 200), (58, 58, 66),
            (196, 150, 84), (124, 96, 148), (232, 168, 160))  # fmt: skip
_BACKGROUNDS = ((150, 182, 206), (214, 196, 170), (168, 192, 160), (206, 170, 176), (120, 130, 150),
                (236, 232, 226), (62, 58, 66), (112, 84, 66), (218, 188, 130), (178, 110, 92))
_METALS = ((236, 196, 84), (226, 228, 234))
_DARK, _WHITE, _BLUSH, _MOUTH = (40, 28, 30), (252, 250, 248), (236, 96, 104), (110, 28, 36)
# Landmarks in the face frame.
_EYE_X = 0.30
_MOUTH_Y = 0.61


def paint(count: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Paints labelled cartoon faces.

    The i-th face depends on ``seed`` and ``size`` only, not on ``count``: a longer run begins with
    the pictures of a shorter one. At another ``size`` the same people are painted.

    Args:
        count: How many faces to paint.
        seed: Selects the faces, from 0 to 2**32 - 1.
        size: Height and width of each picture in pixels, at least 16.

    Returns:
        The pictures, ``uint8`` of shape (count, size, size, 3), red, green and blue from 0 to 255,
        and their attributes, ``bool`` of shape (count, 40), in the order of ``ATTRIBUTES``.

    Raises:
        ValueError: If ``count`` is negative, ``size`` is below 16 or ``seed`` is out of range.

    Example:
        >>> images, attributes = paint(1000, seed=7)
        >>> images.shape, attributes.shape
        ((1000, 64, 64, 3), (1000, 40))
        >>> smiling = images[attributes[:, ATTRIBUTES.index("Smiling")]]
    """
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie from 0 to 2**32 - 1, got {seed}")
    images = np.empty((count, size, size, 3), np.uint8)
    attributes = np.empty((count, len(ATTRIBUTES)), bool)
    planes = np.empty((3, _BLOCK, size, size), np.float32)
    for block, start in enumerate(range(0, count, _BLOCK)):
        dice = _Dice(np.random.RandomState([seed, block]))
        face = _draw_face(dice)
        _paint_block(planes, face, dice.grain(size))
        these = slice(start, start + _BLOCK)
        kept = count - start
        for channel, plane in enumerate(planes):
            images[these, ..., channel] = plane[:kept]
        attributes[these] = np.stack([face[name].ravel() for name in ATTRIBUTES], axis=1)[:kept]
    return images, attributes


class _Dice:
    """Throws one number for each face of a block."""

    def __init__(self, random):
        self._random = random

    def spread(self, low, high):
        """Even between two bounds."""
        return self._random.uniform(low, high, _BLOCK)

    def bell(self, mean, deviation):
        """Nearly normal: the sum of four even draws."""
        total = self._random.random_sample((4, _BLOCK)).sum(axis=0)
        return mean + deviation * 3**0.5 * (total - 2)

    def colour(self, palette, jitter):
        """One of the palette's colours, each channel a little off: (3, _BLOCK)."""
        chosen = np.array(palette)[self._random.randint(len(palette), size=_BLOCK)].T
        return chosen + self._random.uniform(-jitter, jitter, (3, _BLOCK))

    def grain(self, size):
        """Even noise from -128 to 127 for every pixel: (_BLOCK, size, size)."""
        noise = np.frombuffer(self._random.bytes(_BLOCK * size * size), np.int8)
        return noise.reshape(_BLOCK, size, size)


def _draw_attributes(dice):
    """Draws one block's attributes: a dictionary from name to bool (_BLOCK,).

    Attributes that go together share a tendency. Each compares a rank between 0 and 1 with its
    share, and mostly takes the rank from its tendency, so that the shares stay exact and the
    attributes still coincide: who is joyful smiles, raises the cheekbones and opens the mouth.
    """
    tendency = {name: dice.spread(0, 1) for name in ("youth", "care", "joy", "weight", "growth")}
    tendency["age"] = 1 - tendency["youth"]
    male = dice.spread(0, 1) < 0.42
    has = {"Male": male}
    for name, (women, men, shared) in _SHARES.items():
        own, follows = dice.spread(0, 1), dice.spread(0, 1) < 0.65
        rank = own if shared is None else np.where(follows, tendency[shared], own)
        has[name] = rank < np.where(male, men, women)

    # One rank against the cumulated shares lets nobody have two hair colours.
    rank, low = dice.spread(0, 1), 0
    for name, (women, men) in _HAIR_SHARES.items():
        high = low + np.where(male, men, women)
        has[name] = (low <= rank) & (rank < high) & ~has["Bald"]
        low = high

    has["Gray_Hair"] &= ~has["Young"]
    has["Wavy_Hair"] &= ~has["Bald"]
    has["Straight_Hair"] &= ~has["Bald"] & ~has["Wavy_Hair"]
    has["Bangs"] &= ~has["Bald"] & ~has["Wearing_Hat"]
    has["Receding_Hairline"] &= ~has["Bangs"] & ~has["Wearing_Hat"]
    has["No_Beard"] = ~np.any([has[name] for name in _BEARDS], axis=0)
    return has


def _draw_face(dice):
    """Draws all there is to know about one block of faces.

    Returns:
        A dictionary from name to float32, (_BLOCK, 1, 1) for numbers and attributes (0 or 1) and
        (3, _BLOCK, 1, 1) for colours, ready to be combined with (_BLOCK, height, width).
    """
    face = {name: flag.astype(float) for name, flag in _draw_attributes(dice).items()}
    _draw_view(face, dice)
    _draw_features(face, dice)
    _draw_haircut(face, dice)
    _draw_colours(face, dice)
    return {name: values.astype(np.float32)[..., None, None] for name, values in face.items()}


def _draw_view(face, dice):
    face["centre_x"], face["centre_y"] = dice.bell(0, 0.08), dice.bell(-0.02, 0.06)
    face["scale"], face["tilt"] = dice.bell(0.64, 0.045), dice.bell(0, 0.08)
    face["turn"] = dice.bell(0, 0.05)
    face["light_x"], face["light_y"] = dice.spread(-0.16, 0.16), dice.spread(-0.14, 0.02)
    face["grain"] = dice.spread(0.02, 0.07)
    face["slope_x"], face["slope_y"] = dice.spread(-0.1, 0.1), dice.spread(-0.12, 0.12)


def _draw_features(face, dice):
    male, smiling, makeup = face["Male"], face["Smiling"], face["Heavy_Makeup"]
    chubby, oval, narrow = face["Chubby"], face["Oval_Face"], face["Narrow_Eyes"]
    face["head_width"] = dice.bell(0.735, 0.025) + 0.02 * male + 0.09 * chubby - 0.06 * oval
    face["taper"] = dice.bell(0.26, 0.05) - 0.08 * male - 0.12 * chubby + 0.12 * oval
    face["jaw"] = dice.bell(0.18, 0.13) + 0.26 * male + 0.2 * chubby - 0.1 * oval
    face["brow"] = dice.bell(0.034, 0.006) + 0.010 * male + 0.022 * face["Bushy_Eyebrows"]
    face["eye_width"] = dice.bell(0.155, 0.01) + 0.01 * makeup + 0.012 * face["Attractive"]
    face["eye_height"] = dice.bell(0.106, 0.01) - 0.046 * narrow - 0.012 * smiling + 0.01 * makeup
    face["mouth_width"] = dice.bell(0.25, 0.02) + 0.05 * smiling
    face["smile"] = dice.bell(0.05, 0.14) + 0.95 * smiling
    face["gap"] = 0.012 + face["Mouth_Slightly_Open"] * dice.bell(0.09, 0.015)
    face["lip"] = dice.bell(0.045, 0.006) + 0.035 * face["Big_Lips"]
    nose_width = dice.bell(0.125, 0.012) + 0.065 * face["Big_Nose"]
    face["nose_width"] = nose_width - 0.04 * face["Pointy_Nose"]
    face["nose_tip"] = dice.bell(0.33, 0.02) + 0.05 * face["Pointy_Nose"]
    face["neckline"], face["shaded"] = dice.spread(1.2, 1.55), dice.spread(0, 1) < 0.3
    face["wrinkled"] = 1 - face["Young"]


def _draw_haircut(face, dice):
    # Some men wear their hair long and some women short, so its length alone does not tell.
    swapped = dice.spread(0, 1) < 0.13
    long = np.where(swapped, face["Male"], 1 - face["Male"]) * (1 - face["Bald"])
    face["long_hair"], face["short_hair"] = long, 1 - long - face["Bald"]
    face["bare_ears"] = 1 - long
    face["hair_length"] = np.where(long > 0, dice.bell(1.1, 0.3), dice.bell(0.25, 0.05))
    face["hair_volume"] = dice.bell(0.08, 0.02) + 0.06 * long + 0.05 * face["Wavy_Hair"]
    face["hairline"] = dice.bell(-0.62, 0.03) - 0.24 * face["Receding_Hairline"]
    face["parting"], face["phase"] = dice.bell(0, 0.07), dice.spread(0, 1)


def _draw_colours(face, dice):
    face["hair"] = dice.colour((_AUBURN, _SANDY), 8)
    for name, colour in _HAIR_COLOURS.items():
        face["hair"] = np.where(face[name] > 0, dice.colour([colour], 5), face["hair"])
    darkness = dice.spread(0, 1) ** 2 * (1.4 + 1.6 * face["Black_Hair"])
    skin = [np.interp(darkness, range(len(_SKINS)), channel) for channel in np.transpose(_SKINS)]
    face["skin"] = np.where(face["Pale_Skin"] > 0, dice.colour([_PALE], 3), skin)
    lips = face["skin"] * np.reshape((0.86, 0.64, 0.62), (3, 1)) + dice.spread(-12, 12)
    face["lips"] = np.where(face["Wearing_Lipstick"] > 0, dice.colour(_LIPSTICKS, 14), lips)
    face["eye"], face["metal"] = dice.colour(_EYE_COLOURS, 14), dice.colour(_METALS, 10)
    face["clothes"], face["accent"] = dice.colour(_CLOTHES, 14), dice.colour(_CLOTHES, 14)
    face["background"] = dice.colour(_BACKGROUNDS, 18)
    exposure = dice.bell(0.97, 0.11)
    for name in ("hair", "skin", "lips", "clothes", "background"):
        face[name] = face[name] * exposure


class _Part:
    """A patch lifted off every picture of a block, to be painted on and put back.

    Each face has the patch at a place of its own, following its pose, so that a patch need not be
    larger than what is painted on it. ``part[name]`` is what is known of the part's faces.

    Args:
        planes: Red, green and blue of the block's pictures, (3, _BLOCK, size, size).
        face: What is known of the block's faces, see ``_draw_face``.
        box: Left, top, right and bottom of the patch in the face frame.
        shown: Name of what the n faces have that show the part, or None for all faces.

    Attributes:
        planes: Red, green and blue of the patch, (3, n, height, width).
        x: Face-frame coordinate of its pixels, (n, height, width).
        level: The face frame's other coordinate but for the tilt, (n, height, 1).
    """

    def __init__(self, planes, face, shown, box):
        self._face, self._shown = face, shown
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        size, scale, tilt = planes.shape[-1], self["scale"], self["tilt"]
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        columns, column = _span(
            size,
            self["centre_x"] + scale * (middle_x - tilt * middle_y),
            scale * (width + np.abs(tilt) * height),
        )
        rows, row = _span(
            size,
            self["centre_y"] + scale * (middle_y + tilt * middle_x),
            scale * (height + np.abs(tilt) * width),
        )
        across = (columns - self["centre_x"]).swapaxes(1, 2) / scale
        self.level = (rows - self["centre_y"]) / scale
        self._light = 1 + self["light_x"] * across, self["light_y"] * self.level
        self._rise = tilt * across
        across -= self["turn"] * np.maximum(1 - across**2, 0)  # hardly moves the outline
        self.x = across + tilt * self.level

        self._patches = np.lib.stride_tricks.sliding_window_view(
            planes, self.x.shape[1:], axis=(2, 3), writeable=True
        )
        self._where = slice(None), shown, row, column
        self.planes = self._patches[self._where]
        self._edge = 2.4 / (0.65 * size)  # a little more than a pixel

    def __getitem__(self, name):
        return self._face[name].take(self._shown, axis=-3)

    @property
    def y(self):
        """The face frame's other coordinate, (n, height, width)."""
        return self.level - self._rise

    @property
    def light(self):
        """How brightly each of the pixels is lit, about 1, (n, height, width)."""
        along_x, along_y = self._light
        return along_x + along_y

    def put_back(self):
        """Puts the painted patch back into the pictures."""
        self._patches[self._where] = self.planes

    def fill(self, distance, colour, opacity=None, softness=0, light=None):
        """Paints a shape.

        Args:
            distance: Signed distances in the face frame, (n, height, width).
            colour: Red, green, blue from 0 to 255, (3,) or (3, n, 1, 1).
            opacity: 0 leaves the picture as it is, 1 covers it, and so does None.
            softness: Width of the edge in the face frame, beyond about one pixel.
            light: Factor on the colour, such as ``self.light``.
        """
        cover = distance * (-1 / (self._edge + softness))
        cover += 0.5
        np.clip(cover, 0, 1, out=cover)
        if opacity is not None:
            cover *= opacity
        for plane, channel in zip(self.planes, colour):
            change = (channel if light is None else channel * light) - plane
            change *= cover
            plane += change


def _span(size, middle, extent):
    """Pixels along one axis of a patch: their places (n, length, 1) and the first's index (n,).

    Middle and extent are given, and places returned, in pictures that reach from -1 to 1.
    """
    length = min(int(extent.max() * (size / 2)) + 3, size)
    first = ((middle + 1) * (size / 2) - length / 2 + 0.5).astype(np.int32)
    first = np.minimum(np.maximum(first, 0), size - length)
    pixels = np.arange(0.5, length, dtype=np.float32)[:, None] - size / 2
    return (first.astype(np.float32) + pixels) * (2 / size), first.ravel()


def _paint_block(planes, face, grain):
    """Paints a block of faces, from the background to what lies in front."""
    size = planes.shape[-1]
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    gradient = 1 + face["slope_x"] * axis + face["slope_y"] * axis[:, None]
    for plane, channel in zip(planes, face["background"]):
        np.multiply(channel, gradient, out=plane)
    for paint_part, box, shown in _PARTS:
        faces = np.arange(_BLOCK) if shown is None else np.flatnonzero(face[shown])
        for start in range(0, len(faces), _BATCH):
            part = _Part(planes, face, faces[start : start + _BATCH], box)
            paint_part(part)
            part.put_back()
    noise = grain * face["grain"]
    for plane in planes:
        plane += noise
        np.clip(plane, 0, 255, out=plane)


def _ellipse(x, y, radius_x, radius_y):
    """Signed distance, right near the outline, from an ellipse about the origin."""
    squares = (x * (1 / radius_x)) ** 2 + (y * (1 / radius_y)) ** 2
    return np.sqrt(squares) * radius_y - radius_y


def _wave(turns):
    """A sine made of parabolas, because np.sin may round differently elsewhere."""
    turns = turns - np.rint(turns)
    return turns * (8 - 16 * np.abs(turns))


def _head_shape(part):
    below = np.maximum(part.level, 0) ** 2
    across = part.x * (1 / (part["head_width"] * (1 - part["taper"] * below)))
    # A square jaw is full until shortly above the chin.
    down = np.maximum(part.level**2 - part["jaw"] * below * (1 - below), 0)
    return np.sqrt(across**2 + down) * 0.8 - 0.8


def _hair_shape(part):
    wave = 0.05 * part["Wavy_Hair"] * _wave(1.7 * part.level + part["phase"])
    across = part.x * (1 / (part["head_width"] + part["hair_volume"] + wave))
    # The crown is half an ellipse. Below it long hair falls straight, short hair closes in.
    rise = part.level + 0.1
    rise = np.maximum(rise * (-1 / (0.9 + part["hair_volume"])), rise * part["short_hair"])
    outline = np.sqrt(across**2 + rise**2) * 0.8 - 0.8
    return np.maximum(outline, part.x**2 * 0.25 + (part.level - part["hair_length"]))


def _back_hair(part):
    part.fill(_hair_shape(part), 0.72 * part["hair"], light=part.light)


def _shoulders(part):
    shape = _ellipse(part.x, part.level - 2.05, 1.3 + 0.15 * part["Male"], 0.82)
    part.fill(shape, part["clothes"], light=part.light)


def _neck(part):
    x, y, skin = np.abs(part.x), part.level, part["skin"]
    width = 0.30 + 0.05 * part["Male"] + 0.08 * part["Chubby"]
    neck = np.maximum(x - width, y - 1.3)
    neckline = np.maximum(_ellipse(x, y - 1.15, 0.45, part["neckline"] - 1.15), 1.2 - y)
    part.fill(np.minimum(neck, neckline), 0.94 * skin, light=part.light)
    chin_shadow = np.maximum(_ellipse(x, y - 0.95, 0.5, 0.2), x - width)
    part.fill(chin_shadow, 0.72 * skin, opacity=0.8, softness=0.1)


def _necktie(part):
    x, y = np.abs(part.x), part.y
    part.fill(_ellipse(x, y - 2.05, 1.45, 0.82), 0.25 * part["clothes"] + 30)
    part.fill(np.maximum(x - 0.42 + 0.5 * (y - 1.2), 1.12 + 0.3 * x - y), _WHITE)
    knot = _ellipse(x, y - 1.3, 0.1, 0.09)
    blade = np.maximum(x - 0.05 - 0.2 * (y - 1.3), 1.3 - y)
    part.fill(np.minimum(knot, blade), part["accent"])


def _necklace(part):
    chain = np.abs(_ellipse(part.x, part.y - 0.95, 0.36, 0.42)) - 0.025
    pendant = _ellipse(part.x, part.y - 1.42, 0.07, 0.085)
    part.fill(np.minimum(np.maximum(chain, 1.05 - part.y), pendant), part["metal"])


def _ears(part):
    side = np.abs(part.x) - part["head_width"]
    part.fill(_ellipse(side, part.y - 0.06, 0.1, 0.19), 0.92 * part["skin"], light=part.light)


def _double_chin(part):
    fold = _ellipse(part.x, part.y - 0.85, 0.52, 0.34)
    part.fill(fold, 0.97 * part["skin"], light=part.light)
    crease = np.maximum(fold, _head_shape(part) - 0.03)
    part.fill(crease, 0.75 * part["skin"], softness=0.03)


def _head(part):
    shape = _head_shape(part)
    part.fill(shape, part["skin"], light=part.light - 0.15 * np.abs(shape + 0.4))


def _bald_shine(part):
    part.fill(_ellipse(part.x + 0.15, part.y + 0.7, 0.25, 0.12), _WHITE, 0.5, softness=0.15)


def _cheekbones(part):
    side, y, skin = np.abs(part.x), part.y, part["skin"]
    part.fill(_ellipse(side - 0.42, y - 0.2, 0.14, 0.06), 1.1 * skin + 12, 0.7, softness=0.1)
    part.fill(_ellipse(side - 0.52, y - 0.42, 0.07, 0.14), 0.82 * skin, 0.6, softness=0.12)


def _blush(part):
    part.fill(_ellipse(np.abs(part.x) - 0.43, part.y - 0.32, 0.15, 0.12), _BLUSH, 0.6, 0.12)


def _bags(part):
    side = np.abs(part.x) - _EYE_X
    lower = _ellipse(side, part.y - 0.1, 0.16, 0.1)
    bag = np.maximum(lower, -_ellipse(side, part.y - 0.04, 0.18, 0.09))
    part.fill(bag, 0.66 * part["skin"], 0.8, softness=0.02)


def _wrinkles(part):
    side, y = np.abs(part.x), part.y
    forehead = np.maximum(np.abs(np.abs(y + 0.45) - 0.05) - 0.008, side - 0.26)
    folds = np.maximum(np.abs(side - 0.2 - 0.35 * (y - 0.35)) - 0.012, np.abs(y - 0.48) - 0.12)
    part.fill(np.minimum(forehead, folds), 0.78 * part["skin"], 0.7)


def _stubble(part):
    lower = np.maximum(_head_shape(part), 0.45 - 0.4 * part.x**2 - part.y)
    part.fill(lower, 0.5 * part["hair"] + 20, 0.33, softness=0.1)


def _goatee(part):
    tuft = _ellipse(part.x, part.y - 0.95, 0.27, 0.22)
    part.fill(np.maximum(tuft, _head_shape(part) - 0.05), 0.9 * part["hair"], 0.92)


def _sideburns(part):
    side = np.abs(part.x) - 0.93 * part["head_width"] + 0.1 * part.y
    part.fill(_ellipse(side, part.y - 0.1, 0.11, 0.48), 0.9 * part["hair"], 0.92)


def _mustache(part):
    side = np.abs(part.x)
    wing = _ellipse(side - 0.14, part.y - 0.47 - 0.2 * side, 0.19, 0.065)
    part.fill(wing, 0.9 * part["hair"], 0.95)


def _nose(part):
    x, width, tip = np.abs(part.x), part["nose_width"], part.y - part["nose_tip"]
    ridge = np.maximum(x - 0.35 * width, np.abs(tip + 0.2) - 0.2)
    part.fill(ridge, 1.06 * part["skin"] + 8, 0.6, softness=0.08)
    under = np.maximum(_ellipse(x, tip, width, 0.085), -_ellipse(x, tip + 0.045, width, 0.085))
    part.fill(under, 0.68 * part["skin"])
    part.fill(_ellipse(x - 0.5 * width, tip - 0.04, 0.03, 0.022), 0.45 * part["skin"])


def _mouth(part):
    gap, lip = part["gap"], part["lip"]
    along = (part.x * (1 / part["mouth_width"])) ** 2
    full = 1 - along  # the lips are fullest in the middle and end at the corners
    level = part.y - _MOUTH_Y - part["smile"] * (0.03 - 0.1 * along)
    upper = np.maximum(-level, np.abs(part.x) - part["mouth_width"])
    part.fill(np.maximum(upper - lip * full, level - (gap + 1.2 * lip) * full), part["lips"])
    part.fill(np.maximum(upper, level - gap * full), _MOUTH)
    teeth = np.maximum(upper, level - 0.55 * gap * full)
    part.fill(teeth, _WHITE, part["Mouth_Slightly_Open"])


def _eyes(part):
    x, y = part.x, part.y
    side, wide, high = np.abs(x) - _EYE_X, part["eye_width"], part["eye_height"]
    tint = 0.6 * part["accent"] + 0.4 * part["skin"]
    eyeshadow = _ellipse(side, y + 0.06, wide + 0.04, high + 0.05)
    part.fill(eyeshadow, tint, 0.6 * part["Heavy_Makeup"], softness=0.04)
    lash = 0.014 + 0.018 * part["Heavy_Makeup"]
    part.fill(_ellipse(side, y + 0.025, wide + lash, high + lash), _DARK)
    white = _ellipse(side, y - 0.01, wide, high)
    part.fill(white, _WHITE)
    gaze = np.sqrt(side**2 + y**2)
    part.fill(np.maximum(gaze - 0.105, white), part["eye"])
    part.fill(np.maximum(gaze - 0.05, white), _DARK)
    glint = np.abs(x + 0.04) - _EYE_X
    part.fill(_ellipse(glint, y + 0.035, 0.026, 0.026), _WHITE)


def _brows(part):
    side = np.abs(part.x) - _EYE_X - 0.01
    along = (side * (1 / 0.18)) ** 2
    arch = (0.04 + 0.09 * part["Arched_Eyebrows"]) * (1 - along)
    brow = np.abs(part.y + 0.19 + arch) - part["brow"] * (1 - 0.5 * along)
    part.fill(np.maximum(brow, np.abs(side) - 0.18), 0.6 * part["hair"])


def _front_hair(part):
    # The face looks out of an opening: half an ellipse above, open below.
    rise = np.minimum(part.level - 0.25, 0)
    width, height = 0.97 * part["head_width"], 0.25 - part["hairline"]
    opening = _ellipse(part.x - part["parting"], rise, width, height)
    opening = np.maximum(opening, np.abs(part.x) - width)
    fringe = 0.035 * _wave(3 * part.x[:, :1] + part["phase"]) - 0.34 + part["hairline"] * (1 - part["Bangs"])
    opening = np.maximum(opening, fringe - part.level)
    curl = 0.3 * part["Wavy_Hair"] * _wave(1.7 * part.level + part["phase"])
    strands = _wave(part.x * (9 / (2.2 + part.level)) + curl)
    gloss = part.light + strands * (0.06 + 0.05 * part["Straight_Hair"])
    part.fill(np.maximum(_hair_shape(part), -opening), part["hair"], light=gloss)


def _glasses(part):
    x, y = np.abs(part.x), part.y
    lens = _ellipse(x - 0.32, y - 0.01, 0.25, 0.2)
    part.fill(lens, _DARK, 0.08 + 0.8 * part["shaded"])
    bridge = np.maximum(np.abs(y + 0.03) - 0.02, np.abs(x - 0.32) - 0.45)
    rim = np.minimum(np.abs(lens) - 0.025, np.maximum(bridge, -lens))
    part.fill(rim, 0.35 * part["accent"])


def _earrings(part):
    side = np.abs(part.x) - part["head_width"] - 0.04
    part.fill(_ellipse(side, part.y - 0.4, 0.065, 0.13), part["metal"])


def _hat(part):
    x, y = part.x, part.y
    dome = np.maximum(_ellipse(x, y + 0.5, part["head_width"] + 0.12, 0.85), y + 0.5)
    part.fill(dome, part["accent"], light=part.light)
    part.fill(np.maximum(dome, -0.68 - y), 0.6 * part["accent"])
    brim = _ellipse(x, y + 0.47 - 0.06 * x**2, part["head_width"] + 0.3, 0.1)
    part.fill(brim, 0.85 * part["accent"], light=part.light)


def _blur(part):
    size = part.planes.shape[-1]
    for _ in range(max(size * size // 900, 1)):  # a spread of about 2 pixels in 64
        for axis in (2, 3):
            before = np.take(part.planes, np.maximum(np.arange(size) - 1, 0), axis)
            behind = np.take(part.planes, np.minimum(np.arange(size) + 1, size - 1), axis)
            part.planes = (before + part.planes + behind) * (1 / 3)


# From back to front: how to paint the part, its box in the face frame (left, top, right, bottom),
# and what a face must have to show it.
_PARTS = (
    (_back_hair, (-0.8, 0.3, 0.8, 1.8), "long_hair"),
    (_shoulders, (-1.5, 1.2, 1.5, 1.8), None),
    (_neck, (-0.5, 0.7, 0.5, 1.6), None),
    (_necktie, (-1.5, 1.1, 1.5, 1.8), "Wearing_Necktie"),
    (_necklace, (-0.6, 1, 0.6, 1.7), "Wearing_Necklace"),
    (_ears, (-0.95, -0.2, 0.95, 0.35), "bare_ears"),
    (_double_chin, (-0.7, 0.7, 0.7, 1.3), "Double_Chin"),
    (_head, (-0.9, -1, 0.9, 1), None),
    (_bald_shine, (-0.6, -1, 0.4, -0.4), "Bald"),
    (_cheekbones, (-0.8, 0, 0.8, 0.7), "High_Cheekbones"),
    (_blush, (-0.8, 0, 0.8, 0.7), "Rosy_Cheeks"),
    (_bags, (-0.5, -0.02, 0.5, 0.3), "Bags_Under_Eyes"),
    (_wrinkles, (-0.5, -0.6, 0.5, 0.75), "wrinkled"),
    (_stubble, (-0.9, 0.2, 0.9, 1.05), "5_o_Clock_Shadow"),
    (_goatee, (-0.4, 0.6, 0.4, 1.1), "Goatee"),
    (_nose, (-0.25, -0.1, 0.25, 0.5), None),
    (_mouth, (-0.35, 0.45, 0.35, 0.85), None),
    (_mustache, (-0.4, 0.3, 0.4, 0.75), "Mustache"),
    (_eyes, (-0.5, -0.2, 0.5, 0.15), None),
    (_brows, (-0.5, -0.45, 0.5, -0.1), None),
    (_sideburns, (-0.95, -0.4, 0.95, 0.65), "Sideburns"),
    (_front_hair, (-1, -1.2, 1, 0.4), "short_hair"),
    (_front_hair, (-1, -1.2, 1, 2), "long_hair"),
    (_glasses, (-0.85, -0.3, 0.85, 0.35), "Eyeglasses"),
    (_earrings, (-1.1, 0.15, 1.1, 0.65), "Wearing_Earrings"),
    (_hat, (-1.2, -1.6, 1.2, -0.2), "Wearing_Hat"),
    (_blur, (-9, -9, 9, 9), "Blurry"),
)
