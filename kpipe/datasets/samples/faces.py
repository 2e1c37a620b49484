"""Cartoon faces with CelebA's forty attributes, painted by NumPy alone.

They stand in for CelebA where the photographs are not at hand. Attributes are drawn first, with
shares and correlations close to CelebA's; then everything that can be seen of them is painted.

Two ideas carry the module:

* The face frame. Every part of a face is described in coordinates of that face: the origin lies
  between the eyes, x grows to the right, y grows downwards, the crown is at y = -1 and the chin at
  y = 1. Place, scale, tilt and turn enter once, when the pixels' coordinates are computed.
* Signed distances. A shape is an array of every pixel's distance from the outline, negative
  inside. `np.minimum` unites shapes, `np.maximum` intersects them, a minus turns one inside out.

Pictures are made of even draws from the frozen `RandomState` stream by sums, products, quotients
and square roots, all of which IEEE 754 rounds in one way only. Hence the same arguments give the
same bytes on other machines and with other versions of NumPy.
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

_BLOCK = 256  # faces drawn from one seed, so that a face does not depend on how many follow it
_BATCH = 1 << 16  # pixels painted at once, so that their arrays stay in the processor's cache

# For each tendency, what comes with it: the share among women and among men. See _draw_attributes.
_SHARES = {
    "youth": {"Young": (0.88, 0.64), "Attractive": (0.68, 0.28)},
    "age": {
        "Bags_Under_Eyes": (0.10, 0.35),
        "Bald": (0, 0.055),
        "Eyeglasses": (0.03, 0.12),
        "Receding_Hairline": (0.04, 0.16),
    },
    "care": {
        "Arched_Eyebrows": (0.42, 0.05),
        "Heavy_Makeup": (0.66, 0.003),
        "Rosy_Cheeks": (0.11, 0.003),
        "Wearing_Earrings": (0.31, 0.02),
        "Wearing_Lipstick": (0.80, 0.006),
        "Wearing_Necklace": (0.20, 0.015),
    },
    "joy": {
        "High_Cheekbones": (0.56, 0.31),
        "Mouth_Slightly_Open": (0.52, 0.43),
        "Smiling": (0.54, 0.40),
    },
    "weight": {"Big_Nose": (0.10, 0.42), "Chubby": (0.02, 0.11), "Double_Chin": (0.02, 0.09)},
    "growth": {
        "5_o_Clock_Shadow": (0, 0.27),
        "Bushy_Eyebrows": (0.07, 0.25),
        "Goatee": (0, 0.16),
        "Mustache": (0, 0.11),
        "Sideburns": (0, 0.14),
    },
    "none": {
        "Bangs": (0.21, 0.09),
        "Big_Lips": (0.30, 0.16),
        "Blurry": (0.05, 0.05),
        "Narrow_Eyes": (0.11, 0.12),
        "Oval_Face": (0.32, 0.23),
        "Pale_Skin": (0.055, 0.03),
        "Pointy_Nose": (0.33, 0.20),
        "Straight_Hair": (0.35, 0.27),
        "Wavy_Hair": (0.46, 0.14),
        "Wearing_Hat": (0.03, 0.08),
        "Wearing_Necktie": (0.003, 0.175),
    },
}
_BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")
_HAIR = {  # the same shares, and the colour; the hair of all others is auburn or sandy
    "Gray_Hair": (0.08, 0.24, "bababe"),
    "Black_Hair": (0.21, 0.30, "221d1f"),
    "Blond_Hair": (0.24, 0.03, "e8c474"),
    "Brown_Hair": (0.25, 0.17, "65422a"),
}


def _colours(codes):
    """Red, green and blue from 0 to 255 of hexadecimal colours: (number of colours, 3)."""
    return np.array([list(bytes.fromhex(code)) for code in codes.split()], np.float32)


_OTHER_HAIR = _colours("964226 a47c52")
_SKIN = _colours("fadbc4 eec0a0 d09a74 865940")  # from light to dark
_PALE_SKIN = _colours("fceae0")
_IRIS = _colours("543624 3c281e 4e78aa 548460 78828c")
_LIPSTICK = _colours("c82438 de4e74 962846 d4605c b04a48")
_CLOTHES = _colours("46608c 963c42 548068 ded6c8 3a3a42 c49654 7c6094 e8a8a0")
_BACKDROP = _colours("96b6ce d6c4aa a8c0a0 ceaab0 788296 ece8e2 3e3a42 705442 dabc82 b26e5c")
_METAL = _colours("ecc454 e2e4ea")
_DARK, _WHITE, _BLUSH, _MOUTH = _colours("281c1e fcfaf8 ec6068 6e1c24")

_SCALE = 0.64  # of the face frame in a picture that reaches from -1 to 1
_EYE_X, _MOUTH_Y = 0.30, 0.61


def paint(count: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Paints labelled cartoon faces.

    The i-th face does not depend on `count`, and another `size` shows the same people.

    Args:
        count: How many faces.
        seed: Selects the faces; from 0 to 2**32 - 1.
        size: Height and width of the pictures in pixels, at least 16.

    Returns:
        The pictures, uint8 (count, size, size, 3), red, green and blue from 0 to 255, and their
        attributes, bool (count, 40), in the order of `ATTRIBUTES`.

    Raises:
        ValueError: `count` is negative, `size` is below 16 or `seed` is out of range.

    Example:
        images, attributes = paint(1000, seed=7)
        smiling = images[attributes[:, ATTRIBUTES.index("Smiling")]]
    """
    if count < 0:
        raise ValueError(f"count={count} is negative")
    if size < 16:
        raise ValueError(f"size={size} is below 16 pixels")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed} is not from 0 to 2**32 - 1")
    images = np.empty((count, size, size, 3), np.uint8)
    attributes = np.empty((count, len(ATTRIBUTES)), bool)
    for block, start in enumerate(range(0, count, _BLOCK)):
        dice = _Dice(np.random.RandomState([seed, block]))
        here = slice(start, min(start + _BLOCK, count))
        face = _draw_face(dice, here.stop - start)
        attributes[here] = np.stack([face[name].ravel() for name in ATTRIBUTES], axis=1)
        _paint_block(face, dice.grain(size), images[here])
    return images, attributes


# --- what the faces are like ------------------------------------------------------------------


class _Dice:
    """Throws one value for each face of a block, the same ones however many are painted."""

    def __init__(self, random):
        self._random = random

    def even(self, low=0.0, high=1.0):
        return low + (high - low) * self._random.random_sample(_BLOCK)

    def bell(self, mean, deviation):
        """Nearly normal: four even draws, whose sum has a variance of a third."""
        total = self._random.random_sample((4, _BLOCK)).sum(axis=0) - 2
        return mean + deviation * np.sqrt(3) * total

    def colour(self, palette, jitter):
        """One of the palette's colours, each channel a little off: (3, _BLOCK)."""
        chosen = palette[self._random.randint(len(palette), size=_BLOCK)].T
        return chosen + jitter * (2 * self._random.random_sample((3, _BLOCK)) - 1)

    def grain(self, size):
        """A value from -128 to 127 for every pixel: (_BLOCK, size, size)."""
        noise = np.frombuffer(self._random.bytes(_BLOCK * size * size), np.int8)
        return noise.reshape(_BLOCK, size, size)


def _draw_attributes(dice):
    """Draws one block's attributes: a dictionary from name to bool (_BLOCK,).

    A face has an attribute if a rank from 0 to 1 lies below the attribute's share. The rank is
    mostly that of the face's tendency: who is joyful smiles and raises the cheekbones. Thus
    attributes come together and their shares stay exact.
    """
    male = dice.even() < 0.42
    has = {"Male": male}
    tendency = {name: dice.even() for name in _SHARES}
    tendency["age"] = 1 - tendency["youth"]
    for name, attributes in _SHARES.items():
        loyalty = 0 if name == "none" else 0.65
        for attribute, (women, men) in attributes.items():
            rank = np.where(dice.even() < loyalty, tendency[name], dice.even())
            has[attribute] = rank < np.where(male, men, women)

    rank, low = dice.even(), 0  # one rank for all colours, so that nobody has two
    for attribute, (women, men, _) in _HAIR.items():
        high = low + np.where(male, men, women)
        has[attribute] = (low <= rank) & (rank < high) & ~has["Bald"]
        low = high

    has["Gray_Hair"] &= ~has["Young"]
    has["Wavy_Hair"] &= ~has["Bald"]
    has["Straight_Hair"] &= ~has["Bald"] & ~has["Wavy_Hair"]
    has["Bangs"] &= ~has["Bald"] & ~has["Wearing_Hat"]
    has["Receding_Hairline"] &= ~has["Bangs"] & ~has["Wearing_Hat"]
    has["No_Beard"] = ~np.any([has[attribute] for attribute in _BEARDS], axis=0)
    return has


def _draw_face(dice, count):
    """Draws all there is to know about one block's first `count` faces.

    Returns:
        A dictionary from name to float32, (count, 1, 1) for attributes (0 or 1) and measures,
        (3, count, 1, 1) for colours, to be combined with arrays (count, height, width).
    """
    face = {name: flags.astype(float) for name, flags in _draw_attributes(dice).items()}
    _draw_view(face, dice)
    _draw_features(face, dice)
    _draw_haircut(face, dice)
    _draw_colours(face, dice)
    return {name: values[..., :count, None, None].astype("f4") for name, values in face.items()}


def _draw_view(face, dice):
    face["centre_x"], face["centre_y"] = dice.bell(0, 0.08), dice.bell(-0.02, 0.06)
    face["scale"], face["tilt"] = dice.bell(_SCALE, 0.04), dice.bell(0, 0.07)
    face["turn"] = dice.bell(0, 0.05)
    face["light_x"], face["light_y"] = dice.even(-0.16, 0.16), dice.even(-0.14, 0.02)
    face["slope_x"], face["slope_y"] = dice.even(-0.1, 0.1), dice.even(-0.12, 0.12)
    face["grain"] = dice.even(0.02, 0.07)


def _draw_features(face, dice):
    male, smiling, attractive = face["Male"], face["Smiling"], face["Attractive"]
    chubby, oval, narrow = face["Chubby"], face["Oval_Face"], face["Narrow_Eyes"]
    face["head_width"] = dice.bell(0.735, 0.025) + 0.02 * male + 0.09 * chubby - 0.06 * oval
    face["taper"] = dice.bell(0.26, 0.05) - 0.08 * male - 0.12 * chubby + 0.12 * oval
    face["jaw"] = dice.bell(0.18, 0.13) + 0.26 * male + 0.2 * chubby - 0.1 * oval
    face["neck_width"] = 0.30 + 0.05 * male + 0.08 * chubby
    face["neckline"] = dice.even(1.2, 1.55)
    face["brow"] = dice.bell(0.034, 0.006) + 0.01 * male + 0.022 * face["Bushy_Eyebrows"]
    face["eye_width"] = dice.bell(0.152, 0.009) + 0.022 * attractive
    face["eye_height"] = dice.bell(0.1, 0.008) + 0.02 * attractive - 0.046 * narrow
    face["eye_height"] -= 0.012 * smiling
    face["nose_tip"] = dice.bell(0.33, 0.02) + 0.05 * face["Pointy_Nose"]
    face["nose_width"] = dice.bell(0.125, 0.012) - 0.04 * face["Pointy_Nose"]
    face["nose_width"] += 0.065 * face["Big_Nose"]
    face["mouth_width"] = dice.bell(0.25, 0.02) + 0.05 * smiling
    face["smile"] = dice.bell(0.05, 0.14) + 0.95 * smiling
    face["gap"] = 0.012 + face["Mouth_Slightly_Open"] * dice.bell(0.09, 0.015)
    face["lip"] = dice.bell(0.045, 0.006) + 0.035 * face["Big_Lips"]
    face["wrinkled"] = 1 - face["Young"]
    face["sunglasses"] = face["Eyeglasses"] * (dice.even() < 0.3)


def _draw_haircut(face, dice):
    # Some men wear their hair long and some women short, so the haircut alone does not tell.
    swapped = dice.even() < 0.13
    long = np.where(swapped, face["Male"], 1 - face["Male"]) * (1 - face["Bald"])
    face["long_hair"], face["short_hair"] = long, 1 - long - face["Bald"]
    face["bare_ears"] = 1 - long
    face["hair_length"] = np.where(long > 0, dice.bell(1.1, 0.3), dice.bell(0.25, 0.05))
    face["hair_volume"] = dice.bell(0.08, 0.015) + 0.06 * long + 0.05 * face["Wavy_Hair"]
    face["hair_volume"] -= 0.03 * face["Straight_Hair"]
    face["hairline"] = dice.bell(-0.62, 0.03) - 0.24 * face["Receding_Hairline"]
    face["fringe"] = np.where(face["Bangs"] > 0, dice.bell(-0.34, 0.03), -1)
    face["parting"], face["phase"] = dice.bell(0, 0.07), dice.even()


def _draw_colours(face, dice):
    face["hair"] = dice.colour(_OTHER_HAIR, 8)
    for attribute, (_, _, code) in _HAIR.items():
        face["hair"] = np.where(face[attribute] > 0, dice.colour(_colours(code), 5), face["hair"])
    darkness = dice.even() ** 2 * (1.4 + 1.6 * face["Black_Hair"])  # black hair, darker skin
    lighter = darkness.astype(int)
    skin = _SKIN[lighter] + (_SKIN[lighter + 1] - _SKIN[lighter]) * (darkness - lighter)[:, None]
    face["skin"] = np.where(face["Pale_Skin"] > 0, dice.colour(_PALE_SKIN, 3), skin.T)
    lips = face["skin"] * [[0.86], [0.64], [0.62]] + dice.even(-12, 12)
    face["lips"] = np.where(face["Wearing_Lipstick"] > 0, dice.colour(_LIPSTICK, 14), lips)
    face["iris"], face["metal"] = dice.colour(_IRIS, 14), dice.colour(_METAL, 10)
    face["clothes"], face["accent"] = dice.colour(_CLOTHES, 14), dice.colour(_CLOTHES, 14)
    face["backdrop"] = dice.colour(_BACKDROP, 18)
    exposure = dice.bell(0.97, 0.11)
    for name in ("hair", "skin", "lips", "clothes", "backdrop"):
        face[name] = face[name] * exposure


# --- how they are painted ---------------------------------------------------------------------


def _paint_block(face, grain, images):
    """Paints n faces, from the background to the front, into uint8 (n, size, size, 3)."""
    count, size = images.shape[:2]
    axis = (np.arange(size, dtype="f4") + 0.5) * (2 / size) - 1
    gradient = 1 + face["slope_x"] * axis + face["slope_y"] * axis[:, None]
    planes = face["backdrop"] * gradient
    windows = _windows(face, size)
    for (paint_part, _, shown), window in zip(_PARTS, windows, strict=True):
        faces = np.flatnonzero(face[shown]) if shown else np.arange(count)
        left, right, top, bottom = window
        at_once = _BATCH // ((right - left) * (bottom - top)).max() + 1
        for start in range(0, len(faces), at_once):
            batch = faces[start : start + at_once]
            part = _Part(planes, face, batch, window[:, batch])
            paint_part(part)
            part.put_back()
    noise = grain[:count] * face["grain"]
    for channel, plane in enumerate(planes):
        plane += noise
        images[..., channel] = np.clip(plane, 0, 255, out=plane)


def _windows(face, size):
    """Finds the pixels that the box of each part takes up in each picture.

    Returns:
        First and end of the columns, first and end of the rows: int (parts, 4, count).
    """
    centre_x, centre_y, scale, tilt, turn = (
        face[name].ravel() for name in ("centre_x", "centre_y", "scale", "tilt", "turn")
    )
    left, top, right, bottom = np.array([box for _, box, _ in _PARTS], "f4").T[..., None]
    # Turning the head moves what is in the middle and leaves the sides where they are.
    left, right = (side + turn * np.maximum(1 - side**2, 0) for side in (left, right))
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    column = centre_x + scale * (x - tilt * y)
    row = centre_y + scale * (y + tilt * x)
    soft_edge = 2 / size  # a pixel
    wide = scale * (width + np.abs(tilt) * height) / 2 + soft_edge
    high = scale * (height + np.abs(tilt) * width) / 2 + soft_edge
    edges = np.stack([column - wide, column + wide, row - high, row + high], axis=1)
    pixels = np.rint((edges + 1) * (size / 2)).astype(int)
    return pixels.clip([[0], [1]] * 2, [[size - 1], [size]] * 2)


class _Part:
    """A patch lifted off some faces' pictures, to be painted on and put back.

    The patch follows the pose of each face, so that it is hardly larger than what is painted on
    it. `part[name]` is what is known about these faces, see `_draw_face`.

    Args:
        planes: Red, green and blue of all pictures, float32 (3, count, size, size).
        face: What is known about all faces.
        faces: Indices of the n faces that the patch is lifted off.
        window: The pixels that the patch must cover, see `_windows`: (4, n).

    Attributes:
        planes: Red, green and blue of the patch, (3, n, height, width).
        x, y: Its pixels' coordinates in the face frame, (n, height, width).
        upright_x, upright_y: The same without tilt, (n, 1, width) and (n, height, 1); they save
            much time where a tilt would hardly show.
        light: How brightly each pixel is lit, about 1, (n, height, width).
    """

    def __init__(self, planes, face, faces, window):
        self._face, self._faces = face, faces
        size, scale, tilt = planes.shape[-1], self["scale"], self["tilt"]
        left, right, top, bottom = window
        height, width = (bottom - top).max(), (right - left).max()
        row, column = np.minimum(top, size - height), np.minimum(left, size - width)
        across = (_places(column, width, size)[:, None, :] - self["centre_x"]) / scale
        self.upright_y = (_places(row, height, size)[:, :, None] - self["centre_y"]) / scale
        self.light = 1 + self["light_x"] * across + self["light_y"] * self.upright_y
        self.y = self.upright_y - tilt * across
        self.upright_x = across - self["turn"] * np.maximum(1 - across**2, 0)
        self.x = self.upright_x + tilt * self.upright_y
        # Every patch of this shape there is, by colour, face, row and column: a view.
        self._patches = np.lib.stride_tricks.as_strided(
            planes,
            (*planes.shape[:2], size - height + 1, size - width + 1, height, width),
            planes.strides + planes.strides[2:],
        )
        self._place = slice(None), faces, row, column
        self.planes = self._patches[self._place]
        self._edge = 1.2 * 2 / (_SCALE * size)  # a little more than a pixel

    def __getitem__(self, name):
        return self._face[name].take(self._faces, axis=-3)

    def put_back(self):
        self._patches[self._place] = self.planes

    def fill(self, distance, colour, opacity=None, softness=0.0, light=None):
        """Paints a shape.

        Args:
            distance: Signed distances in the face frame, (n, height, width).
            colour: Red, green and blue, (3,) or (3, n, 1, 1).
            opacity: 0 leaves the picture as it is, 1 covers it, as does None.
            softness: Width of the edge in the face frame, beyond about a pixel.
            light: Factor on the colour, such as `self.light`.
        """
        cover = distance * (-1 / (self._edge + softness))
        cover += 0.5
        np.clip(cover, 0, 1, out=cover)
        if opacity is not None:
            cover *= opacity
        for plane, channel in zip(self.planes, colour, strict=True):
            change = (channel if light is None else channel * light) - plane
            change *= cover
            plane += change


def _places(first, length, size):
    """Middles of `length` pixels from each first one, in pictures from -1 to 1: (n, length)."""
    pixels = first.astype("f4")[:, None] + np.arange(0.5, length, dtype="f4")
    return pixels * (2 / size) - 1


def _ellipse(x, y, radius_x, radius_y):
    """Roughly the signed distance from an ellipse about the origin; right for a circle."""
    squares = (x * (1 / radius_x)) ** 2 + (y * (1 / radius_y)) ** 2
    radius = (radius_x + radius_y) / 2
    return np.sqrt(squares) * radius - radius


def _wave(turns):
    """A sine made of parabolas, since np.sin may round differently elsewhere."""
    turns = turns - np.rint(turns)
    return turns * (8 - 16 * np.abs(turns))


def _head_shape(part):
    below = np.maximum(part.upright_y, 0) ** 2
    across = part.x * (1 / (part["head_width"] * (1 - part["taper"] * below)))
    # A square jaw stays wide until shortly above the chin.
    down = np.maximum(part.upright_y**2 - part["jaw"] * below * (1 - below), 0)
    return np.sqrt(across**2 + down) - 1


def _hair_shape(part):
    wave = 0.05 * part["Wavy_Hair"] * _wave(1.7 * part.upright_y + part["phase"])
    across = part.x * (1 / (part["head_width"] + part["hair_volume"] + wave))
    # The crown is half an ellipse. Below it long hair falls straight, short hair closes in.
    rise = part.upright_y + 0.1
    rise = np.maximum(rise * (-1 / (0.9 + part["hair_volume"])), rise * part["short_hair"])
    outline = np.sqrt(across**2 + rise**2) - 1
    return np.maximum(outline, 0.25 * part.upright_x**2 + (part.upright_y - part["hair_length"]))


def _back_hair(part):
    behind_neck = np.maximum(np.abs(part.x) - 0.9, 0.25 - part.upright_y)
    shape = np.maximum(_hair_shape(part), behind_neck)
    part.fill(shape, 0.72 * part["hair"], light=part.light)


def _front_hair(part):
    # The face looks out of an opening: half an ellipse above, open below.
    rise = np.minimum(part.upright_y - 0.25, 0)
    width, height = 0.97 * part["head_width"], 0.25 - part["hairline"]
    opening = _ellipse(part.x + part["parting"] * rise, rise, width, height)
    tips = 0.035 * _wave(3 * part.upright_x + part["phase"])
    opening = np.maximum(opening, part["fringe"] + tips - part.upright_y)
    straight, wavy = part["Straight_Hair"], part["Wavy_Hair"]
    strands = _wave(4.5 * part.upright_x) * (0.04 + 0.05 * straight)
    curls = 1 - wavy * (1 - _wave(1.7 * part.upright_y + part["phase"]))
    sheen = np.maximum(0.28 - 25 * (part.upright_y + 0.78) ** 2, 0) * straight
    light = part.light + strands * curls + sheen
    part.fill(np.maximum(_hair_shape(part), -opening), part["hair"], light=light)


def _shoulders(part):
    shape = _ellipse(part.x, np.minimum(part.upright_y - 2.05, 0), 1.3 + 0.15 * part["Male"], 0.82)
    part.fill(shape, part["clothes"], light=part.light)


def _neck(part):
    x, y, skin = np.abs(part.x), part.upright_y, part["skin"]
    beside = x - part["neck_width"]
    neckline = _ellipse(x, y - 1.15, 0.45, part["neckline"] - 1.15)
    neckline = np.maximum(neckline, 1.2 - y)
    neck = np.minimum(np.maximum(beside, np.abs(y - 1) - 0.3), neckline)
    part.fill(neck, 0.94 * skin, light=part.light)
    chin_shadow = np.maximum(_ellipse(x, y - 0.95, 0.5, 0.2), beside)
    part.fill(chin_shadow, 0.72 * skin, opacity=0.8, softness=0.1)


def _necktie(part):
    x, y = np.abs(part.x), part.upright_y
    jacket = _ellipse(x, np.minimum(y - 2.05, 0), 1.45, 0.82)
    part.fill(jacket, 0.25 * part["clothes"] + 30)
    collar = np.maximum(x - 0.42 + 0.5 * (y - 1.2), 1.12 + 0.3 * x - y)
    part.fill(collar, _WHITE)
    knot = _ellipse(x, y - 1.3, 0.1, 0.09)
    blade = np.maximum(x - 0.05 - 0.2 * (y - 1.3), 1.3 - y)
    part.fill(np.minimum(knot, blade), part["accent"])


def _necklace(part):
    chain = np.abs(_ellipse(part.x, part.y - 0.95, 0.36, 0.42)) - 0.025
    pendant = _ellipse(part.x, part.y - 1.42, 0.07, 0.085)
    part.fill(np.minimum(np.maximum(chain, 1.05 - part.y), pendant), part["metal"])


def _ears(part):
    ear = _ellipse(np.abs(part.x) - part["head_width"], part.y - 0.06, 0.1, 0.19)
    part.fill(ear, 0.92 * part["skin"], light=part.light)


def _earrings(part):
    side = np.abs(part.x) - part["head_width"] - 0.04
    part.fill(_ellipse(side, part.y - 0.4, 0.065, 0.13), part["metal"])


def _head(part):
    shape = _head_shape(part)
    part.fill(shape, part["skin"], light=part.light - 0.15 * np.abs(shape + 0.4))


def _double_chin(part):
    fold = _ellipse(part.x, part.upright_y - 0.85, 0.52, 0.34)
    part.fill(fold, 0.97 * part["skin"], light=part.light)
    crease = np.maximum(fold, _head_shape(part) - 0.03)
    part.fill(crease, 0.75 * part["skin"], softness=0.03)


def _bald_shine(part):
    part.fill(_ellipse(part.x + 0.15, part.y + 0.7, 0.25, 0.12), _WHITE, 0.5, softness=0.15)


def _cheekbones(part):
    side, y, skin = np.abs(part.x), part.y, part["skin"]
    part.fill(_ellipse(side - 0.42, y - 0.2, 0.14, 0.06), 1.1 * skin + 12, 0.7, softness=0.1)
    part.fill(_ellipse(side - 0.52, y - 0.42, 0.07, 0.14), 0.82 * skin, 0.6, softness=0.12)


def _blush(part):
    cheek = _ellipse(np.abs(part.x) - 0.43, part.y - 0.32, 0.15, 0.12)
    part.fill(cheek, _BLUSH, 0.6, softness=0.12)


def _bags(part):
    side = np.abs(part.x) - _EYE_X
    below, above = (
        _ellipse(side, part.y - 0.1, 0.16, 0.1),
        _ellipse(side, part.y - 0.04, 0.18, 0.09),
    )
    part.fill(np.maximum(below, -above), 0.66 * part["skin"], 0.8, softness=0.02)


def _wrinkles(part):
    side, y = np.abs(part.x), part.y
    forehead = np.maximum(np.abs(np.abs(y + 0.45) - 0.05) - 0.008, side - 0.26)
    folds = np.maximum(np.abs(side - 0.2 - 0.35 * (y - 0.35)) - 0.012, np.abs(y - 0.48) - 0.12)
    part.fill(np.minimum(forehead, folds), 0.7 * part["skin"], 0.8)


def _stubble(part):
    lower = np.maximum(_head_shape(part), 0.45 - 0.4 * part.x**2 - part.y)
    part.fill(lower, 0.5 * part["hair"] + 20, 0.35, softness=0.1)


def _goatee(part):
    tuft = np.maximum(_ellipse(part.x, part.y - 0.95, 0.27, 0.22), _head_shape(part) - 0.05)
    part.fill(tuft, 0.9 * part["hair"], 0.92)


def _mustache(part):
    side = np.abs(part.x)
    wing = _ellipse(side - 0.14, part.y - 0.47 - 0.2 * side, 0.19, 0.065)
    part.fill(wing, 0.9 * part["hair"], 0.95)


def _sideburns(part):
    side = np.abs(part.x) - 0.93 * part["head_width"] + 0.1 * part.y
    part.fill(_ellipse(side, part.y - 0.1, 0.11, 0.48), 0.9 * part["hair"], 0.92)


def _nose(part):
    x, width, tip = np.abs(part.x), part["nose_width"], part.y - part["nose_tip"]
    ridge = np.maximum(x - 0.35 * width, np.abs(tip + 0.2) - 0.2)
    part.fill(ridge, 1.06 * part["skin"] + 8, 0.6, softness=0.08)
    under = np.maximum(_ellipse(x, tip, width, 0.085), -_ellipse(x, tip + 0.045, width, 0.085))
    part.fill(under, 0.68 * part["skin"])
    nostrils = _ellipse(x - 0.5 * width, tip - 0.04, 0.03, 0.022)
    part.fill(nostrils, 0.45 * part["skin"])


def _mouth(part):
    gap, lip = part["gap"], part["lip"]
    along = (part.x * (1 / part["mouth_width"])) ** 2
    full = 1 - along  # lips are fullest in the middle and end at the corners
    y = part.y - _MOUTH_Y - part["smile"] * (0.03 - 0.1 * along)
    above = np.maximum(-y, np.abs(part.x) - part["mouth_width"])
    part.fill(np.maximum(above - lip * full, y - (gap + 1.2 * lip) * full), part["lips"])
    part.fill(np.maximum(above, y - gap * full), _MOUTH)
    teeth = np.maximum(above, y - 0.55 * gap * full)
    part.fill(teeth, _WHITE, part["Mouth_Slightly_Open"])


def _eyes(part):
    side, y = np.abs(part.x) - _EYE_X, part.y
    width, height, makeup = part["eye_width"], part["eye_height"], part["Heavy_Makeup"]
    shadow = _ellipse(side, y + 0.06, width + 0.04, height + 0.05)
    part.fill(shadow, 0.6 * part["accent"] + 0.4 * part["skin"], 0.6 * makeup, softness=0.04)
    lash = 0.014 + 0.018 * makeup
    part.fill(_ellipse(side, y + 0.025, width + lash, height + lash), _DARK)
    white = _ellipse(side, y - 0.01, width, height)
    part.fill(white, _WHITE)
    from_pupil = np.sqrt(side**2 + y**2)
    part.fill(np.maximum(from_pupil - 0.105, white), part["iris"])
    part.fill(np.maximum(from_pupil - 0.05, white), _DARK)
    glint = _ellipse(np.abs(part.x + 0.04) - _EYE_X, y + 0.035, 0.026, 0.026)
    part.fill(glint, _WHITE)


def _brows(part):
    side = np.abs(part.x) - _EYE_X - 0.01
    along = (side * (1 / 0.18)) ** 2
    arch = (0.04 + 0.09 * part["Arched_Eyebrows"]) * (1 - along)
    brow = np.abs(part.y + 0.19 + arch) - part["brow"] * (1 - 0.5 * along)
    part.fill(np.maximum(brow, np.abs(side) - 0.18), 0.6 * part["hair"])


def _glasses(part):
    side, y = np.abs(part.x) - 0.32, part.y
    lens = _ellipse(side, y - 0.01, 0.25, 0.2)
    part.fill(lens, _DARK, 0.08 + 0.8 * part["sunglasses"])
    bar = np.maximum(np.abs(y + 0.03) - 0.02, np.abs(side) - 0.45)
    rims = np.minimum(np.abs(lens) - 0.025, np.maximum(bar, -lens))
    part.fill(rims, 0.35 * part["accent"])


def _hat(part):
    x, y, width = part.x, part.y, part["head_width"]
    dome = np.maximum(_ellipse(x, y + 0.5, width + 0.12, 0.85), y + 0.5)
    part.fill(dome, part["accent"], light=part.light)
    band = np.maximum(dome, -0.68 - y)
    part.fill(band, 0.6 * part["accent"])
    brim = _ellipse(x, y + 0.47 - 0.06 * x**2, width + 0.3, 0.1)
    part.fill(brim, 0.85 * part["accent"], light=part.light)


def _blur(part):
    size = part.planes.shape[-1]
    for _ in range(max(size * size // 900, 1)):  # a spread of about two pixels in 64
        for planes in (part.planes, part.planes.swapaxes(2, 3)):
            inner = planes[..., 1:-1]
            inner[...] = (planes[..., :-2] + inner + planes[..., 2:]) * (1 / 3)


# From back to front: how a part is painted, its box in the face frame (left, top, right, bottom)
# and what a face needs in order to show it.
_PARTS = (
    (_back_hair, (-0.95, 0.2, 0.95, 2.3), "long_hair"),
    (_shoulders, (-1.5, 1.2, 1.5, 3), None),
    (_neck, (-0.5, 0.65, 0.5, 1.6), None),
    (_necktie, (-1.5, 1.1, 1.5, 3), "Wearing_Necktie"),
    (_necklace, (-0.45, 1, 0.45, 1.55), "Wearing_Necklace"),
    (_ears, (-1.05, -0.2, 1.05, 0.3), "bare_ears"),
    (_double_chin, (-0.55, 0.5, 0.55, 1.25), "Double_Chin"),
    (_head, (-0.95, -1, 0.95, 1), None),
    (_bald_shine, (-0.6, -1, 0.3, -0.4), "Bald"),
    (_cheekbones, (-0.75, 0.05, 0.75, 0.7), "High_Cheekbones"),
    (_blush, (-0.7, 0.1, 0.7, 0.55), "Rosy_Cheeks"),
    (_bags, (-0.55, -0.05, 0.55, 0.25), "Bags_Under_Eyes"),
    (_wrinkles, (-0.4, -0.55, 0.4, 0.65), "wrinkled"),
    (_stubble, (-0.95, 0, 0.95, 1.05), "5_o_Clock_Shadow"),
    (_goatee, (-0.35, 0.7, 0.35, 1.1), "Goatee"),
    (_nose, (-0.3, -0.2, 0.3, 0.55), None),
    (_mouth, (-0.4, 0.4, 0.4, 0.95), None),
    (_mustache, (-0.4, 0.3, 0.4, 0.7), "Mustache"),
    (_eyes, (-0.58, -0.28, 0.58, 0.18), None),
    (_brows, (-0.53, -0.45, 0.53, -0.03), None),
    (_sideburns, (-1, -0.45, 1, 0.65), "Sideburns"),
    (_front_hair, (-1.1, -1.2, 1.1, 0.4), "short_hair"),
    (_front_hair, (-1.2, -1.3, 1.2, 2.3), "long_hair"),
    (_glasses, (-0.85, -0.25, 0.85, 0.25), "Eyeglasses"),
    (_earrings, (-1.1, 0.2, 1.1, 0.6), "Wearing_Earrings"),
    (_hat, (-1.3, -1.4, 1.3, -0.15), "Wearing_Hat"),
    (_blur, (-9, -9, 9, 9), "Blurry"),
)
