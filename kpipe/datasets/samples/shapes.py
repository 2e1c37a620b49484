"""Drawn shapes and textures in the ten classes of CIFAR-10, painted by NumPy alone.

They stand in for CIFAR-10 where the photographs are not at hand. Classes share colours, places
and backgrounds, so that the mean colour tells little. Cats and dogs differ in ears, muzzle and
coat, automobiles and trucks in what is built on the wheels.

Two ideas carry the module, as they carry `faces`:

* The frame of the thing. It is described in its own coordinates: x grows to where it looks, y
  grows downwards, and it fills about -1 to 1. Place, scale, turn, tilt and mirroring enter once,
  when the pixels' coordinates are computed.
* Signed distances. A shape is an array of every pixel's distance from the outline, negative
  inside. `_join` unites shapes, `_cut` intersects them, a minus turns one inside out.
"""

from functools import reduce

import numpy as np

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_SIZE = 32
_BATCH = 64  # pictures painted at once, so that their arrays stay in the processor's cache


def _colours(codes):
    """Red, green and blue from 0 to 255 of hexadecimal colours: (number of colours, 3)."""
    return np.array([list(bytes.fromhex(code)) for code in codes.split()], np.float32)


_PAINT = _colours("e8e8ea c02c30 2c56a4 26282e b4b8c0 e0b42c 3c7c50 d87834 7c2434 86a8c8")
_PALE_PAINT = _colours("e8e8ea e8e8ea f4f0e4 b4b8c0 a4b0bc e0b42c c02c30 86a8c8")
_FUR = _colours("2c2828 6c4a30 a47444 c89860 d8c8b0 8c8884 f0ece4 b86830 54443c")
_HIDE = _colours("8c5c34 a87444 6c4428 b88c5c 4c3428 c8a888 94643c 9a8878")
_PLUMAGE = _colours("5c4434 34588c a83c30 d8b43c 8c8c90 26262a ece8e0 7c5c40 4c7048")
_SLIME = _colours("5c8c34 3c6c2c 84a444 6c6434 8c7444 4c7c5c a0b050 b45c2c")
_PLANTS = _colours("3c5c2c 5c7c3c 2c4428 7c8c4c 6c5438 8c7c64")
_CLUTTER = np.concatenate([_PLANTS, _PAINT])
_EYES = _colours("b8c850 d8b040 7c6434 4c4030")
_HORN = _colours("e0d0b0 6c5840 b89870")
_BLACK, _DARK, _WHITE, _GLASS, _PINK, _BEAK, _LAMP = _colours(
    "16161a 3a3634 f6f4f0 344454 d8888c e09838 fff0b0"
)

# Of each surface the colours, how many grains fill the height and the width of a picture, and by
# how much these are lighter or darker than the colour.
_SURFACES = {
    "sky": (_colours("8cb8e4 b4d0ec 6494d0 c8ccd4 e4c4a4 a4b0c0"), 5, 3, 24),
    "water": (_colours("3c6c98 2c5070 5c8ca4 4c7c78 7c94a8 8c9c9c"), 20, 5, 26),
    "grass": (_colours("5c8c3c 7c9c4c 4c7034 94984c 6c8450"), 14, 32, 34),
    "leaves": (_colours("3c5c30 4c6c38 2c442c 6c7444 5c5838"), 11, 11, 46),
    "road": (_colours("7c7c80 5c5c62 94908c a8a4a0 686460"), 32, 24, 14),
    "sand": (_colours("c8b088 b89870 d8c8a4 a48460 c0a890"), 24, 16, 18),
    "wall": (_colours("b8a890 a4a8ac c8b8b0 7c6c64 8c9cac d4ccc0 6c5048"), 3, 3, 18),
}


def paint(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Paints labelled drawings.

    Args:
        count: How many drawings; each class has a tenth of them, rounded up or down.
        seed: Selects the drawings; not negative.

    Returns:
        The pictures, uint8 (count, 32, 32, 3), red, green and blue from 0 to 255, and their
        labels, int64 (count,), indices into `CLASSES` in random order.

    Raises:
        ValueError: `count` or `seed` is negative.

    Example:
        images, labels = paint(1000, seed=7)
        cats = images[labels == CLASSES.index("cat")]
    """
    random = np.random.default_rng(seed)
    images = np.empty((count, _SIZE, _SIZE, 3), np.uint8)
    labels = random.permutation(np.arange(count, dtype=np.int64) % len(CLASSES))
    for label, name in enumerate(CLASSES):
        draw, *surroundings = _DRAWINGS[name]
        drawings = np.flatnonzero(labels == label)
        for start in range(0, len(drawings), _BATCH):
            batch = drawings[start : start + _BATCH]
            canvas = _Canvas(random, len(batch))
            canvas.paint_background(*surroundings)
            draw(canvas, canvas.at)
            images[batch] = canvas.develop()
    return images, labels


class _Canvas:
    """Pictures of n things of one class, painted from the background to the front.

    Attributes:
        at: The pixels' coordinates x and y in the frame of the thing, each (n, 32, 32).
        planes: Red, green and blue, float32 (3, n, 32, 32).
    """

    def __init__(self, random, count):
        self._random, self._count = random, count
        axis = (np.arange(_SIZE, dtype="f4") + 0.5) * (2 / _SIZE) - 1
        self._light = 1 + self.even(-0.2, 0.2) * axis + self.even(-0.3, 0.1) * axis[:, None]
        self._scale = self.even(0.55, 1.1)
        self._across = (axis - self.even(-0.28, 0.28)) / self._scale
        self._down = (axis[:, None] - self.even(-0.25, 0.25)) / self._scale
        half = self.even(-0.12, 0.12)  # the tangent of half the tilt gives its sine and cosine
        cosine, sine = (1 - half**2) / (1 + half**2), 2 * half / (1 + half**2)
        x, y = cosine * self._across + sine * self._down, cosine * self._down - sine * self._across
        side = 1 - 2 * self.chance(0.5)
        self.at = x * side / self.even(0.72, 1), y  # turned away, a thing looks narrower

    def even(self, low=0.0, high=1.0):
        """A number for each picture: (n, 1, 1)."""
        return low + (high - low) * self._random.random((self._count, 1, 1), np.float32)

    def chance(self, share):
        """1 in this share of the pictures and 0 in the others: (n, 1, 1)."""
        return (self.even() < share).astype("f4")

    def colour(self, palette, jitter=16):
        """One of the palette's colours, each channel a little off: (3, n, 1, 1)."""
        chosen = palette[self._random.integers(len(palette), size=self._count)].T[..., None, None]
        return chosen + jitter * (2 * self._random.random(chosen.shape, np.float32) - 1)

    def fill(self, distance, colour, opacity=1.0):
        """Paints a shape; an opacity of 0 leaves the picture as it is, 1 covers it."""
        cover = distance * (-_SIZE / 2.2 * self._scale)  # the edge is about a pixel wide
        cover += 0.5
        np.clip(cover, 0, 1, out=cover)
        cover *= opacity
        for plane, channel in zip(self.planes, colour, strict=True):
            change = channel * self._light
            change -= plane
            change *= cover
            plane += change

    def paint_background(self, above, below, horizon):
        """Paints one of the surfaces above and one below a horizon, which lies in a range of y."""
        across, down = self._across, self._down - self.even(*horizon)
        self.planes = self._surface(above) * self._light
        middle, radii = (self.even(-1, 1), 0.0), (self.even(0.2, 0.9), self.even(0.1, 0.6))
        hill, house = (shape((across, down), middle, radii) for shape in (_ellipse, _box))
        shape = np.where(self.chance(0.5), hill, house)
        self.fill(shape, self.colour(_CLUTTER), 0.8 * self.chance(0.5))
        self.fill(-down, self._surface(below))

    def _surface(self, names):
        chosen = self._random.choice(names.split(), size=self._count)
        planes = np.empty((3, self._count, _SIZE, _SIZE), np.float32)
        for name, (palette, rows, columns, contrast) in _SURFACES.items():
            here = chosen == name
            if here.any():
                surface = self.colour(palette) + contrast * self._grain(rows, columns)
                planes[:, here] = surface[:, here]
        return planes

    def _grain(self, rows, columns):
        """Noise from -1 to 1, smooth between so many random values a picture: (n, 32, 32)."""
        values = 2 * self._random.random((self._count, rows, columns), np.float32) - 1
        for length in (columns, rows):
            places = (np.arange(_SIZE, dtype="f4") + 0.5) * ((length - 1) / _SIZE)
            before = places.astype(int)
            here, there = values.take(before, axis=2), values.take(before + 1, axis=2)
            values = here + (there - here) * (places - before.astype("f4"))
            values = values.swapaxes(1, 2)  # first along the rows, then along the columns
        return values

    def develop(self):
        """Puts a pole before some things, and returns all as a camera sees them: uint8."""
        x, y = self.even(-1.2, 1.2), self.even(-1, 1)
        pole = _line(self.at, (x, 1.6), (x + self.even(-0.5, 0.5), y), self.even(0.04, 0.12), 0.03)
        self.fill(pole, self.colour(_CLUTTER), self.chance(0.35))
        planes = (self.planes - 128) * self.even(0.55, 1.1) + 128
        planes += self.even(-28, 28) + self.colour(np.zeros((1, 3), np.float32), 12)
        planes += self.even(8, 44) * (self._random.random(planes.shape, np.float32) - 0.5)
        return np.clip(planes, 0, 255, out=planes).astype(np.uint8).transpose(1, 2, 3, 0)


# --- shapes -----------------------------------------------------------------------------------


def _ellipse(at, middle, radii):
    """Roughly the signed distance from an ellipse; right for a circle."""
    across, down = (at[0] - middle[0]) * (1 / radii[0]), (at[1] - middle[1]) * (1 / radii[1])
    return (np.sqrt(across**2 + down**2) - 1) * ((radii[0] + radii[1]) / 2)


def _box(at, middle, radii):
    return np.maximum(np.abs(at[0] - middle[0]) - radii[0], np.abs(at[1] - middle[1]) - radii[1])


def _line(at, start, end, start_radius, end_radius=None):
    """A line with round ends, which may grow thinner."""
    across, down = at[0] - start[0], at[1] - start[1]
    width, height = end[0] - start[0], end[1] - start[1]
    along = np.clip((across * width + down * height) / (width**2 + height**2), 0, 1)
    distance = np.sqrt((across - along * width) ** 2 + (down - along * height) ** 2)
    growth = 0 if end_radius is None else end_radius - start_radius
    return distance - start_radius - along * growth


def _polygon(at, *corners):
    """A polygon without dents, whose corners are named clockwise."""
    sides = []
    for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
        width, height = next_x - x, next_y - y
        beside = (at[0] - x) * height - (at[1] - y) * width
        sides.append(beside / np.sqrt(width**2 + height**2))
    return _cut(*sides)


def _stripes(along, pitch, width):
    return np.abs(along - pitch * np.rint(along * (1 / pitch))) - width / 2


def _spots(at, pitch, radius):
    x, y = (place - pitch * np.rint(place * (1 / pitch)) for place in at)
    return np.sqrt(x**2 + y**2) - radius


def _join(*shapes):
    return reduce(np.minimum, shapes)


def _cut(*shapes):
    return reduce(np.maximum, shapes)


# --- things -----------------------------------------------------------------------------------


def _airplane(canvas, at):
    body, fin = canvas.colour(_PALE_PAINT), canvas.colour(_PAINT)
    near, far = canvas.even(0.35, 0.85), canvas.even(0.1, 0.7)  # wings, as the airplane banks
    canvas.fill(_polygon(at, (-0.35, -far), (-0.2, -far), (0.25, 0), (-0.15, 0)), 0.75 * body)
    canvas.fill(_polygon(at, (-0.95, -0.36), (-0.8, -0.36), (-0.5, 0), (-0.9, 0)), fin)
    tube = _line(at, (-0.85, -0.03), (0.8, 0.02), 0.07, canvas.even(0.11, 0.16))
    canvas.fill(tube, body)
    canvas.fill(_cut(tube, 0.06 - at[1]), 0.72 * body)
    canvas.fill(_cut(tube + 0.04, _stripes(at[0], 0.15, 0.07), np.abs(at[1]) - 0.04), _GLASS)
    wing = _polygon(at, (-0.15, 0.03), (0.3, 0.03), (-0.2, near), (-0.4, near))
    tail = _polygon(at, (-0.9, 0), (-0.65, 0), (-0.85, 0.3 * near), (-1, 0.3 * near))
    canvas.fill(_join(wing, tail), 0.88 * body)


def _automobile(canvas, at):
    body, roof, hood = canvas.colour(_PAINT), canvas.even(-0.6, -0.25), canvas.even(0.03, 0.16)
    rear, front = canvas.even(-0.9, -0.4), canvas.even(0.1, 0.5)
    cabin = _polygon(at, (rear, roof), (front, roof), (front + 0.35, 0.1), (rear - 0.1, 0.1))
    canvas.fill(cabin, body)
    canvas.fill(_cut(cabin + 0.08, at[1] - 0.02, -_stripes(at[0] + 0.1, 0.5, 0.07)), _GLASS)
    chassis = _line(at, (-0.78, 0.27), (0.78, 0.27), 0.14)
    chassis = _join(chassis, _line(at, (-0.85, hood), (0.85, hood), 0.08))
    canvas.fill(chassis, body)
    canvas.fill(_cut(chassis, 0.28 - at[1]), 0.6 * body)
    canvas.fill(_ellipse(at, (0.86, 0.14), (0.07, 0.06)), _LAMP)
    _wheels(canvas, at, (-0.55, 0.57))


def _truck(canvas, at):
    body, roof = canvas.colour(_PAINT), canvas.even(-0.45, -0.25)
    load = np.where(canvas.chance(0.5), body, canvas.colour(_PAINT))
    top, gap = canvas.even(-0.75, -0.05), canvas.even(0.3, 0.45)
    canvas.fill(_box(at, (0, 0.33), (0.9, 0.06)), _DARK)
    box = _polygon(at, (-0.95, top), (gap, top), (gap, 0.28), (-0.95, 0.28))
    canvas.fill(box, load)
    canvas.fill(_cut(box + 0.05, _stripes(at[0], 0.22, 0.05)), 0.75 * load, canvas.chance(0.6))
    cab = _polygon(at, (0.45, roof), (0.75, roof), (0.95, 0.05), (0.95, 0.35), (0.45, 0.35))
    canvas.fill(cab, body)
    canvas.fill(_cut(cab + 0.07, at[1] - 0.02), _GLASS)
    canvas.fill(_ellipse(at, (0.92, 0.22), (0.06, 0.06)), _LAMP)
    _wheels(canvas, at, (-0.65, canvas.even(-0.65, -0.2), 0.64))


def _wheels(canvas, at, places):
    radius = canvas.even(0.15, 0.21)
    canvas.fill(_ellipse(at, (0, 0.56), (1.05, 0.07)), _BLACK, 0.5)
    for x in places:
        tyre = _ellipse(at, (x, 0.4), (radius, radius))
        canvas.fill(tyre, _BLACK)
        canvas.fill(tyre + 0.1, 0.7 * _WHITE)


def _bird(canvas, at):
    plumage, flying = canvas.colour(_PLUMAGE), canvas.chance(0.45)
    wing, lift = plumage * canvas.even(0.55, 0.85), canvas.even(-0.95, -0.6)
    x, y = canvas.even(0.45, 0.6), canvas.even(-0.42, -0.2)  # of the head
    far = _polygon(at, (-0.25, lift), (0.1, lift + 0.15), (0.3, 0), (-0.15, 0.05))
    canvas.fill(far, 0.8 * wing, flying)
    legs = _join(*(_line(at, (foot, 0.2), (foot + 0.06, 0.68), 0.025) for foot in (0, 0.15)))
    canvas.fill(legs, 0.8 * _BEAK, 1 - flying)
    canvas.fill(_line(at, (-0.3, 0.05), (-0.9, canvas.even(-0.1, 0.35)), 0.13, 0.08), wing)
    canvas.fill(_line(at, (x, y), (x + 0.33, y + 0.06), 0.08, 0), canvas.colour(_BEAK[None]))
    body = _join(_ellipse(at, (0, 0.02), (0.48, 0.28)), _line(at, (0.25, 0), (x, y), 0.2, 0.15))
    canvas.fill(body, plumage)
    canvas.fill(_cut(body, 0.08 - at[1]), canvas.colour(_PLUMAGE), canvas.even())
    canvas.fill(_ellipse(at, (-0.12, 0), (0.36, 0.15)), wing, 1 - flying)
    near = _polygon(at, (-0.6, lift + 0.1), (-0.35, lift), (0.22, -0.05), (-0.2, 0.05))
    canvas.fill(near, wing, flying)
    canvas.fill(_ellipse(at, (x + 0.03, y - 0.03), (0.045, 0.045)), _BLACK)


def _sit(canvas, at, fur, tail, width):
    """Paints the sitting body of a cat or dog; returns its outline and the frame of its head."""
    back, turn, nod = canvas.even(-0.4, 0), canvas.even(-0.15, 0.2), canvas.even(0.32, 0.48)
    canvas.fill(_ellipse(at, (-0.1, 0.87), (0.7, 0.08)), _BLACK, 0.4)
    canvas.fill(_line(at, (back - 0.27, 0.68), (back - 0.62, tail), width, 0.06), 0.85 * fur)
    haunch = _ellipse(at, (back, 0.52), (canvas.even(0.34, 0.46), 0.36))
    body = _join(haunch, _line(at, (0, -0.1), (back, 0.5), 0.24, 0.36))
    canvas.fill(body, fur)
    for x in (-0.15, 0.15):
        canvas.fill(_line(at, (x, 0.25), (x + 0.03, 0.82), 0.1, 0.09), (0.92 + x) * fur)
    return body, (at[0] - turn, at[1] + nod)


def _cat(canvas, at):
    fur, tabby, ear = canvas.colour(_FUR), canvas.chance(0.5), canvas.even(-0.68, -0.48)
    body, head = _sit(canvas, at, fur, canvas.even(-0.3, 0.6), 0.07)
    side = np.abs(head[0]), head[1]
    canvas.fill(_cut(body, _stripes(at[1] + 0.3 * at[0], 0.2, 0.08)), 0.55 * fur, tabby)
    canvas.fill(_polygon(side, (0.06, -0.22), (0.36, ear), (0.42, -0.05)), fur)
    canvas.fill(_polygon(side, (0.17, -0.26), (0.33, ear + 0.1), (0.35, -0.16)), _PINK, 0.6)
    face = _ellipse(head, (0, 0), (0.43, 0.34))
    canvas.fill(face, fur)
    canvas.fill(_cut(face, head[1] + 0.14, _stripes(head[0], 0.15, 0.06)), 0.55 * fur, tabby)
    canvas.fill(_ellipse(side, (0.08, 0.15), (0.12, 0.09)), 0.5 * fur + 110)
    canvas.fill(_ellipse(side, (0.18, -0.03), (0.09, 0.075)), canvas.colour(_EYES))
    canvas.fill(_ellipse(side, (0.18, -0.03), (0.03, 0.08)), _BLACK)
    canvas.fill(_ellipse(head, (0, 0.09), (0.05, 0.035)), _PINK)
    whiskers = (_line(side, (0.15, 0.15), (0.55, y), 0.008) for y in (0.06, 0.22))
    canvas.fill(_join(*whiskers), _WHITE, 0.6)


def _dog(canvas, at):
    fur, patch, ear = canvas.colour(_FUR), canvas.colour(_FUR), canvas.even(0.5, 0.9)
    pied, brindled, pricked = canvas.chance(0.4), canvas.chance(0.15), canvas.chance(0.4)
    body, head = _sit(canvas, at, fur, canvas.even(0, 0.6), 0.1)
    side = np.abs(head[0]), head[1]
    canvas.fill(_cut(body, _spots(at, 0.55, 0.2)), patch, pied)
    canvas.fill(_cut(body, _stripes(at[1] + 0.3 * at[0], 0.2, 0.08)), 0.55 * fur, brindled)
    canvas.fill(_polygon(side, (0.12, -0.2), (0.36, -0.54), (0.4, -0.05)), ear * fur, pricked)
    canvas.fill(_ellipse(head, (0, 0), (0.38, 0.35)), fur)
    canvas.fill(_ellipse(head, (0.18, -0.05), (0.15, 0.15)), patch, pied)
    flap = _line(side, (0.33, -0.2), (0.45, canvas.even(0.05, 0.3)), 0.09, 0.13)
    canvas.fill(flap, ear * fur, 1 - pricked)
    canvas.fill(_ellipse(side, (0.16, -0.06), (0.06, 0.06)), _BLACK)
    canvas.fill(_line(head, (0, 0.26), (0.02, 0.4), 0.07), _PINK, canvas.chance(0.4))
    canvas.fill(_line(head, (0, 0.02), (0, 0.2), 0.12, 0.18), 0.7 * fur + canvas.even(10, 80))
    canvas.fill(_ellipse(head, (0, 0.12), (0.1, 0.075)), _BLACK)


def _stand(canvas, at, hide, head, bulk, leg):
    """Paints body, legs, neck and head of a deer or horse; returns the outline of the body."""
    canvas.fill(_ellipse(at, (-0.05, 0.86), (0.75, 0.06)), _BLACK, 0.4)
    for x, shade in ((-0.36, 0.65), (0.3, 0.65), (-0.5, 0.9), (0.2, 0.9)):
        knee, hoof = (x + canvas.even(-0.1, 0.12), 0.45), (x + canvas.even(-0.12, 0.1), 0.84)
        thigh, shin = _line(at, (x, 0.05), knee, 1.7 * leg, leg), _line(at, knee, hoof, leg)
        canvas.fill(_join(thigh, shin), shade * hide)
    neck = _line(at, (0.22, -0.02), (head[0] - 0.08, head[1]), 0.2 * bulk, 0.09 * bulk)
    body = _join(_ellipse(at, (-0.12, 0), (0.52, 0.25 * bulk)), neck)
    canvas.fill(body, hide)
    canvas.fill(_line(at, head, (head[0] + 0.25, head[1] + 0.16), 0.11 * bulk, 0.06), hide)
    canvas.fill(_ellipse(at, (head[0] + 0.05, head[1] - 0.02), (0.03, 0.03)), _BLACK)
    return body


def _deer(canvas, at):
    hide, horn, antlers = canvas.colour(_HIDE), canvas.colour(_HORN), canvas.chance(0.8)
    x, y = canvas.even(0.45, 0.65), canvas.even(-0.6, -0.35)  # of the head
    body = _stand(canvas, at, hide, (x, y), canvas.even(0.75, 0.95), 0.04)
    canvas.fill(_cut(body, 0.1 - at[1]), 0.4 * hide + 130, 0.8)
    dapples = _cut(body + 0.04, at[1] - 0.08, _spots(at, 0.17, 0.04))
    canvas.fill(dapples, _WHITE, 0.8 * canvas.chance(0.5))
    canvas.fill(_ellipse(at, (-0.64, -0.02), (0.08, 0.13)), _WHITE)
    canvas.fill(_line(at, (x - 0.06, y - 0.08), (x - 0.28, y - 0.16), 0.06, 0.03), 0.8 * hide)
    for tip in (x - 0.3, x + 0.14):
        beam = _line(at, (x - 0.02, y - 0.08), (tip, y - 0.42), 0.035)
        tine = _line(at, ((x + tip) / 2, y - 0.24), (tip + 0.2, y - 0.38), 0.03)
        canvas.fill(_join(beam, tine), horn, antlers)


def _horse(canvas, at):
    hide, patch = canvas.colour(np.concatenate([_HIDE, _FUR])), canvas.colour(_FUR)
    x, y, hair = canvas.even(0.5, 0.7), canvas.even(-0.62, -0.3), patch * canvas.even(0.3, 1)
    canvas.fill(_line(at, (-0.6, -0.08), (-0.8, canvas.even(0.3, 0.55)), 0.07, 0.1), hair)
    body = _stand(canvas, at, hide, (x, y), canvas.even(1, 1.2), 0.055)
    canvas.fill(_cut(body, _spots((at[0] + 0.2, at[1]), 0.6, 0.22)), patch, canvas.chance(0.3))
    canvas.fill(_line(at, (0.12, -0.22), (x - 0.12, y - 0.08), 0.08), hair)
    canvas.fill(_line(at, (x - 0.04, y - 0.06), (x - 0.06, y - 0.2), 0.045, 0.02), hide)
    blaze = _line(at, (x + 0.06, y - 0.04), (x + 0.24, y + 0.1), 0.03)
    canvas.fill(blaze, _WHITE, canvas.chance(0.4))


def _frog(canvas, at):
    side = np.abs(at[0]), at[1]  # seen from the front, it has two equal halves
    skin, wide, eye = canvas.colour(_SLIME), canvas.even(0.5, 0.66), canvas.even(-0.34, -0.28)
    canvas.fill(_ellipse(at, (0, 0.62), (1, 0.08)), _BLACK, 0.4)
    thigh = _line(side, (0.5, 0.3), (0.82, canvas.even(-0.05, 0.2)), 0.17, 0.13)
    canvas.fill(thigh, 0.75 * skin)
    shin, foot = ((0.8, 0.15), (0.72, 0.58), 0.1), ((0.6, 0.6), (1, 0.6), 0.06)
    canvas.fill(_join(_line(side, *shin), _line(side, *foot)), 0.9 * skin)
    trunk = _ellipse(at, (0, 0.16), (wide, canvas.even(0.32, 0.44)))
    body = _join(trunk, _ellipse(side, (0.3, eye), (0.17, 0.18)))
    canvas.fill(body, skin)
    warts = _spots((at[0] + 0.1, at[1] + 0.06), 0.27, canvas.even(0.05, 0.09))
    canvas.fill(_cut(body, warts), 0.6 * skin, canvas.chance(0.6))
    canvas.fill(_ellipse(at, (0, 0.38), (0.8 * wide, 0.2)), 0.4 * skin + 130, 0.85)
    canvas.fill(_line(side, (0, 0.2), (0.8 * wide, 0.1), 0.025), 0.3 * skin)
    canvas.fill(_ellipse(side, (0.31, eye), (0.11, 0.11)), canvas.colour(_EYES))
    canvas.fill(_ellipse(side, (0.31, eye), (0.07, 0.05)), _BLACK)
    canvas.fill(_line(side, (0.24, 0.35), (0.32, 0.6), 0.09, 0.07), 0.9 * skin)


def _ship(canvas, at):
    stern, deck, top = canvas.even(-0.95, -0.7), canvas.even(0.05, 0.2), canvas.even(-0.95, -0.6)
    mast, sailing, height = canvas.even(-0.2, 0.2), canvas.chance(0.35), canvas.even(0.14, 0.4)
    canvas.fill(_line(at, (mast, top), (mast, deck), 0.025), _DARK)
    boom, x = deck - 0.06, at[0] - mast
    jib = _polygon((x, at[1]), (0.03, top), (0.6, boom), (0.03, boom))
    mainsail = _polygon((x, at[1]), (-0.03, top + 0.1), (-0.03, boom), (-0.5, boom))
    canvas.fill(_join(jib, mainsail), canvas.colour(_PALE_PAINT), sailing)
    funnel = _box(at, (-0.4, deck - height - 0.1), (0.08, 0.14))
    canvas.fill(funnel, canvas.colour(_PAINT), 1 - sailing)
    house = _box(at, (-0.3, deck - height / 2), (canvas.even(0.2, 0.45), height / 2))
    canvas.fill(house, canvas.colour(_PALE_PAINT), 1 - sailing)
    windows = _cut(house + 0.04, _stripes(at[0], 0.13, 0.07), _stripes(at[1], 0.16, 0.08))
    canvas.fill(windows, _GLASS, 1 - sailing)
    hull = _polygon(at, (stern, deck), (0.98, deck - 0.05), (0.7, 0.45), (stern + 0.1, 0.45))
    canvas.fill(hull, canvas.colour(_PAINT))
    canvas.fill(_cut(hull, 0.36 - at[1]), canvas.colour(_PAINT))
    canvas.fill(_ellipse(at, (-0.1, 0.48), (0.95, 0.04)), _WHITE, 0.6)


# Of each class what draws it, the surfaces above and below the horizon, and where this lies.
_DRAWINGS = {
    "airplane": (_airplane, "sky sky sky wall", "road grass water leaves", (0.3, 2.5)),
    "automobile": (_automobile, "sky leaves wall", "road road grass sand", (-0.3, 0.4)),
    "bird": (_bird, "sky sky leaves wall", "grass water sand leaves road", (0.0, 1.8)),
    "cat": (_cat, "wall wall leaves sky", "wall grass sand road", (-0.2, 0.8)),
    "deer": (_deer, "leaves leaves sky", "grass grass sand leaves", (-0.5, 0.6)),
    "dog": (_dog, "wall leaves sky", "grass sand wall road water", (-0.2, 0.8)),
    "frog": (_frog, "leaves water wall grass", "grass sand leaves water", (-0.8, 0.4)),
    "horse": (_horse, "sky leaves wall", "grass sand road", (-0.3, 0.6)),
    "ship": (_ship, "sky sky leaves wall", "water", (-0.3, 0.25)),
    "truck": (_truck, "sky leaves wall", "road road sand grass", (-0.3, 0.4)),
}
