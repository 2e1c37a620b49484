"""Drawn fruit, vegetables and packages: the Grocery Store dataset's classes, by NumPy alone.

They stand in for the photographs (Klasson, Zhang, Kjellström, WACV 2019) where these are not at
hand. As in a shop, one to four pieces lie in a heap, stand on a shelf or are held in a hand, and
what belongs to one coarse class differs in little but colours and texture.

One primitive carries the module. A `_Part` is a bulging or flat shape between an ellipse and a
rectangle, which may taper and bend. A piece is a handful of parts: a pear is a tapering ellipse
and its stem, a milk carton a few rectangles in the colours of its class. Which parts and which
colours, says the table of classes.
"""

from typing import NamedTuple

import numpy as np


class Look(NamedTuple):
    """How the pieces of one class look."""

    fine: str
    coarse: str
    form: tuple[str, ...]  # names of what a piece consists of, from back to front; see _FORMS
    texture: tuple[str, ...]  # how the first two colours mix, see _MIXES, and perhaps gloss
    colours: tuple[str, ...]  # five, to which the parts of _FORMS refer


# In the order of the official IDs. The colours are those of skin, texture, stem or leaf; those of
# packages are of paper, top, foot, picture and print.
_TABLE = """
Golden-Delicious   Apple           apple            freckled,gloss c6c94c e6dfa0 5f4a22
Granny-Smith       Apple           apple            freckled,gloss 86b92c c2dc80 4f4a1c
Pink-Lady          Apple           apple            blush,gloss    d23a52 c4b054 5f3a22
Red-Delicious      Apple           apple            plain,gloss    8c1026 8c1026 3a2012
Royal-Gala         Apple           apple            streaked,gloss d4502c e8b650 5f3a22
Avocado            Avocado         avocado          freckled       39402a 5c6436 6a5030
Banana             Banana          bananas          ends           ebd03a a9ad3c 5a4a20
Kiwi               Kiwi            oval,calyx       mottled        a5855a 80603c 5a4428
Lemon              Lemon           lemon            freckled       eecb28 f6e27a c8b430
Lime               Lime            lime             freckled,gloss 6c9a22 a0c04c 5a7a20
Mango              Mango           mango,stem       blush          86a246 d0653a 5a4a28
Cantaloupe         Melon           melon,furrows    netted         bfae88 e0d6b8 7c8a5c
Galia-Melon        Melon           melon,calyx      netted         d8a83c ecd28c 8a7a40
Honeydew-Melon     Melon           melon,calyx      plain          e6c038 e6c038 a8943c
Watermelon         Melon           melon,calyx      ragged,gloss   7fa35c 22422a 5a6a38
Nectarine          Nectarine       round,crease     blush,gloss    c0242f f2ae3e 8a1a28
Orange             Orange          round,calyx      freckled,gloss f28c14 f8b04a 7a7a2c
Papaya             Papaya          papaya,stem      ends           5c9a44 d8b448 6a5a30
Passion-Fruit      Passion-Fruit   plum,calyx       freckled       55303e 96747a 9a7a50
Peach              Peach           round,crease     blush          d8684c f0b46a a03c34
Anjou              Pear            pear             freckled       a9b83a ced87c 5a4020
Conference         Pear            slim-pear        ends           9aa444 8a6636 4a3418
Kaiser             Pear            pear             mottled        b67c34 d0a050 4a3018
Pineapple          Pineapple       pineapple        netted         8a5c22 d2a244 5c7a44
Plum               Plum            plum,crease      blush,gloss    42183a 86284a 2a1028
Pomegranate        Pomegranate     crown,round      blush          c2324a e6985e d0604a
Red-Grapefruit     Red-Grapefruit  large,calyx      blush          ecb244 dc683c 8a7a3c
Satsumas           Satsumas        leaf,flat,calyx  freckled,gloss f47c10 fba040 3e6a2a
Bravo-Apple-Juice               Juice tall,cap,swoosh,logo    - 2f9a68 f0f4f0 1c6a44 a8d05c f8f8f4
Bravo-Orange-Juice              Juice tall,cap,swoosh,logo    - f4a81c f8d830 e06a14 f8dc40 3a8a3c
God-Morgon-Apple-Juice          Juice tall,cap,cup,logo       - 1e1a1c 1e1a1c 2a2022 ead894 f4f0ec
God-Morgon-Orange-Juice         Juice tall,cap,cup,logo       - 1e1a1c 1e1a1c 7a3450 f8a81c f4f0ec
God-Morgon-Orange-Red-Grapefruit-Juice Juice tall,cap,cup,logo - 1e1a1c 3a2420 8a3a2c f07a30 f4ece8
God-Morgon-Red-Grapefruit-Juice Juice tall,cap,cup,logo       - 1e1a1c f0ece8 8a1c24 d8362c f4ece8
Tropicana-Apple-Juice           Juice tall,cap,disc,line      - f4f4ee 58a048 f4f4ee c83038 2c7a3c
Tropicana-Golden-Grapefruit     Juice tall,cap,disc,line      - f4f4ee e8d428 f4f4ee f2dc3c 2c7a3c
Tropicana-Juice-Smooth          Juice tall,cap,disc,line      - f4f4ee 2c78c0 f4f4ee f49a24 2c7a3c
Tropicana-Mandarin-Morning      Juice tall,cap,disc,line      - f4f4ee f08a24 f8c060 f49a24 2c7a3c
Arla-Ecological-Medium-Fat-Milk Milk tall,band,cow,line       - c4a474 2e8a48 c4a474 c8382c 2e7a44
Arla-Lactose-Medium-Fat-Milk    Milk tall,band,block,line     - f2f4f0 2e8a48 2e8a48 283c7c 2e7a44
Arla-Medium-Fat-Milk            Milk tall,band,cow,line       - f2f4f0 2e8a48 2e8a48 d03a30 2e7a44
Arla-Standard-Milk              Milk tall,band,cow,line       - f2f4f0 c8222c c8222c d03a30 c8222c
Garant-Ecological-Medium-Fat-Milk Milk tall,cap,text          - ece4a8 3ca048 ece4a8 4a9a3c 2e8a3c
Garant-Ecological-Standard-Milk Milk tall,cap,text            - e6d4b4 d8402c e6d4b4 c8502c c8382c
Oatly-Natural-Oatghurt    Oatghurt   tall,cap,bowl,text       - d8dcd8 f0f0ec 88b4c4 303438 202428
Oatly-Oat-Milk            Oat-Milk   tall,text,bowl           - a4bcd0 b4c8d8 7c98b4 f0f0f0 20242c
Arla-Ecological-Sour-Cream Sour-Cream low,band,cow,line       - c8ac80 2c4a9c e8c438 e0b030 2c4a9c
Arla-Sour-Cream           Sour-Cream low,band,cow,line        - f0f2f4 2440a0 2440a0 d03a30 2440a0
Arla-Sour-Milk            Sour-Milk  tall,band,waist,cow      - f0f2f4 2440a0 2440a0 d03a30 2c4aa8
Alpro-Blueberry-Soyghurt  Soyghurt   pot,cap,badge,disc       - f2f2ec f4f4f0 8ab82c 54387c 24449c
Alpro-Vanilla-Soyghurt    Soyghurt   pot,cap,badge,disc       - f2f2ec f4f4f0 8ab82c e8cc6c 24449c
Alpro-Fresh-Soy-Milk      Soy-Milk   tall,cap,badge,swoosh    - f0f4f4 f4f4f0 2c9cd4 74c4e4 24449c
Alpro-Shelf-Soy-Milk      Soy-Milk   brick,cap,badge,swoosh   - e4f0f4 3c9cd0 2c8cc8 50b0dc 24449c
Arla-Mild-Vanilla-Yoghurt Yoghurt    brick,block,line         - f0ecdc ecc43c e0b038 70481c 3c342c
Arla-Natural-Mild-Low-Fat-Yoghurt Yoghurt brick,cow,line      - f0f0ec c8ccd0 c8ccc8 d03a30 3c3c40
Arla-Natural-Yoghurt      Yoghurt    brick,block,line         - f2f4f4 2890d0 f2f4f4 4c4038 2c3c4c
Valio-Vanilla-Yoghurt     Yoghurt    tall,cap,badge,bowl      - f4eed8 f4f0e4 f0e4b8 e4c43c 2c5cac
Yoggi-Strawberry-Yoghurt  Yoghurt    pot,cap,logo,disc        - f0d42c 3448a0 e87828 d82c38 3c3490
Yoggi-Vanilla-Yoghurt     Yoghurt    pot,cap,logo,disc        - f0dc48 3448a0 f4ecc0 f4ecd0 3c3490
Asparagus          Asparagus       spears           tip            7c9a4c 54485c c4406c
Aubergine          Aubergine       aubergine        plain,gloss    2c1a30 2c1a30 5c8a3a
Cabbage            Cabbage         leaves           ribbed         a6c468 d8e4ac 84a848
Carrots            Carrots         carrots          ringed         ea7420 c8581a 5a8a34
Cucumber           Cucumber        cucumber         striped,gloss  2c5426 5a8440 b0b84c
Garlic             Garlic          garlic           ribbed         ece6de bca4ac d4c4a0
Ginger             Ginger          ginger           ringed         c8a068 a27c48 e0c48c
Leek               Leek            leek             tip            f0f2dc 86b054 2c6234
Brown-Cap-Mushroom Mushroom        mushroom         mottled        ac7a44 cba26c ecdcc0
Yellow-Onion       Onion           onion            ribbed,gloss   cc8a34 a05c20 b88a50
Green-Bell-Pepper  Pepper          pepper           plain,gloss    2c7a26 2c7a26 6ca03c
Orange-Bell-Pepper Pepper          pepper           plain,gloss    f48a14 f48a14 5c9a34
Red-Bell-Pepper    Pepper          pepper           plain,gloss    cc1c1e cc1c1e 5c9a34
Yellow-Bell-Pepper Pepper          pepper           plain,gloss    f4c414 f4c414 5c9a34
Floury-Potato      Potato          potato           mottled        be9650 98743c 7a5c30
Solid-Potato       Potato          potato           freckled       d8bc7c a4844c 8a6a3c
Sweet-Potato       Potato          sweet-potato     ringed         b26c48 8a4c38 7a4430
Red-Beet           Red-Beet        beet             mottled        643840 8a6a60 8a2c50
Beef-Tomato        Tomato          flat,star        ribbed,gloss   de4820 c02c1a 3c7a2c
Regular-Tomato     Tomato          round,star       plain,gloss    d8281c d8281c 3c7a2c
Vine-Tomato        Tomato          vine             plain,gloss    d42a1a d42a1a 4c8a30
Zucchini           Zucchini        zucchini         freckled       33602a 7c9c54 a8b46c
"""


def _look(line):
    fine, coarse, form, texture, *colours = line.split()
    colours += colours[-1:] * (5 - len(colours))
    return Look(fine, coarse, tuple(form.split(",")), tuple(texture.split(",")), tuple(colours))


CLASSES = tuple(_look(line) for line in _TABLE.strip().splitlines())
FINE = tuple(look.fine for look in CLASSES)
COARSE = tuple(dict.fromkeys(look.coarse for look in CLASSES))
COARSE_OF_FINE = tuple(COARSE.index(look.coarse) for look in CLASSES)


class _Part(NamedTuple):
    """A shape in the frame of its piece, which reaches from -1 to 1, to the right and down."""

    colour: int  # which of the look's; the first one is mixed with the second
    x: float
    y: float
    width: float  # half of it, as of the height
    height: float
    turn: float = 0  # degrees clockwise
    taper: float = 0  # how much wider than the middle the lower end is
    bend: float = 0  # how far to the right both ends are, in half widths
    ends: int = 2  # exponent of an ellipse; 1 makes pointed ends, 8 makes those of a rectangle
    sides: int = 2
    flat: float = 0  # brightness of a flat part; others bulge


def _box(colour, x, y, width, height, flat=1.0, **shape):
    return _Part(colour, x, y, width, height, ends=8, sides=8, flat=flat, **shape)


def _fan(part, turns, spread=0.0):
    """The part once for each turn, from left to right."""
    steps = zip(np.linspace(-spread, spread, len(turns)), turns, strict=True)
    return tuple(part._replace(x=part.x + step, turn=turn) for step, turn in steps)


_STEM = _Part(2, 0.03, -0.88, 0.05, 0.2, turn=12, ends=8)
_PEPPER = _Part(0, 0, 0.05, 0.42, 0.74, taper=-0.16, ends=4)
_FORMS = {
    "apple": (_Part(0, 0, 0, 0.88, 0.82, taper=-0.1), _Part(2, 0, -0.6, 0.22, 0.07), _STEM),
    "aubergine": (_Part(0, 0, 0.1, 0.42, 0.86, taper=0.3, bend=0.25),
        *_fan(_Part(2, 0, -0.62, 0.12, 0.24), (35, 0, -35), 0.2),
        _Part(2, 0.05, -0.88, 0.09, 0.15, ends=8)),
    "avocado": (_Part(0, 0, 0, 0.62, 0.86, taper=0.25), _Part(2, 0, -0.84, 0.08, 0.05)),
    "bananas": (*_fan(_Part(0, 0, 0.05, 0.2, 0.86, bend=1.7, ends=4), (25, 5, -15), 0.42),
        _Part(2, 0.36, -0.78, 0.28, 0.12, ends=8)),
    "beet": (*_fan(_Part(2, 0, -0.74, 0.06, 0.28, ends=8), (-25, 0, 25), 0.15),
        _Part(2, 0, 0.85, 0.06, 0.3, ends=1), _Part(0, 0, 0.05, 0.72, 0.7)),
    "calyx": (_Part(2, 0.1, -0.5, 0.11, 0.07, flat=0.9),),
    "carrots": (*_fan(_Part(2, 0, -0.86, 0.05, 0.22, ends=8), (-30, 0, 30), 0.3),
        *_fan(_Part(0, 0, 0.08, 0.2, 0.86, taper=-0.7, ends=4), (14, -4, -18), 0.4)),
    "crease": (_Part(2, 0.2, -0.1, 0.04, 0.66, bend=-5, flat=0.9),),
    "crown": _fan(_Part(2, 0, -0.88, 0.1, 0.24, ends=1), (-25, 0, 25), 0.16),
    "cucumber": (_Part(0, 0, 0, 0.23, 1, bend=0.4, ends=8), _Part(2, 0.08, 0.98, 0.08, 0.05)),
    "flat": (_Part(0, 0, 0, 0.88, 0.72),),
    "furrows": (_Part(2, 0, 0, 0.05, 0.86, ends=4, flat=1),
        _Part(2, 0.3, 0, 0.05, 0.78, bend=-3, flat=0.9),
        _Part(2, -0.3, 0, 0.05, 0.78, bend=3, flat=1)),
    "garlic": (_Part(2, 0.04, -0.68, 0.11, 0.32, turn=8, taper=0.4, ends=8),
        _Part(0, 0, 0.15, 0.78, 0.64, taper=0.2)),
    "ginger": (_Part(0, -0.45, 0.25, 0.34, 0.55, turn=60), _Part(0, 0.5, 0.3, 0.26, 0.5, turn=-60),
        _Part(0, 0.35, -0.4, 0.24, 0.46, turn=25), _Part(0, -0.3, -0.35, 0.24, 0.42, turn=-20),
        _Part(0, 0, 0.12, 0.4, 0.5, turn=80), _Part(2, 0.55, -0.8, 0.13, 0.08, turn=25, flat=1)),
    "large": (_Part(0, 0, 0, 0.98, 0.94),),
    "leaf": (_Part(2, 0.35, -0.78, 0.2, 0.42, turn=65, ends=1),),
    "leaves": (_Part(2, -0.3, 0.15, 0.7, 0.8, turn=-25), _Part(2, 0.3, 0.15, 0.7, 0.8, turn=25),
        _Part(0, 0, -0.02, 0.82, 0.84), _Part(0, 0.22, 0.12, 0.62, 0.68, turn=30)),
    "leek": (*_fan(_Part(2, 0, -0.62, 0.13, 0.52, taper=-0.2, ends=4), (-24, 24, 0), 0.2),
        _Part(0, 0, 0.28, 0.15, 0.7, ends=8)),
    "lemon": (*(_Part(0, 0, y, 0.2, 0.22, ends=4) for y in (-0.78, 0.78)),
        _Part(0, 0, 0, 0.66, 0.84)),
    "lime": (_Part(0, 0, 0.72, 0.16, 0.16), _Part(0, 0, 0, 0.72, 0.78)),
    "mango": (_Part(0, 0, 0, 0.66, 0.88, taper=0.12, bend=0.3),),
    "melon": (_Part(0, 0, 0, 0.86, 0.98),),
    "mushroom": (_Part(2, 0, 0.42, 0.3, 0.46, taper=-0.15, ends=8),
        _Part(2, 0, 0.1, 0.72, 0.22, flat=0.6), _Part(0, 0, -0.25, 0.88, 0.52, taper=0.2, ends=4)),
    "onion": (_Part(2, 0.03, -0.78, 0.1, 0.26, turn=10, taper=0.6),
        *_fan(_Part(2, 0, 0.82, 0.03, 0.14, ends=8), (25, 0, -25), 0.08),
        _Part(0, 0, 0.05, 0.8, 0.74)),
    "oval": (_Part(0, 0, 0, 0.66, 0.84),),
    "papaya": (_Part(0, 0, 0, 0.5, 0.95, taper=0.22),),
    "pear": (_STEM, _Part(0, 0, -0.35, 0.4, 0.52), _Part(0, 0, 0.25, 0.7, 0.66, taper=0.1)),
    "slim-pear": (_STEM, _Part(0, 0, 0, 0.46, 0.9, taper=0.5), _Part(0, 0, 0.42, 0.56, 0.5)),
    "pepper": (*_fan(_PEPPER, (8, -8), 0.42), _PEPPER._replace(y=0.1), _Part(2, 0, -0.6, 0.28, 0.1),
        _Part(2, 0.04, -0.78, 0.08, 0.24, turn=14, ends=8)),
    "pineapple": (*_fan(_Part(2, 0, -0.62, 0.1, 0.42, ends=1), (-60, 60, -35, 35, -12, 12), 0.1),
        _Part(0, 0, 0.34, 0.5, 0.64, ends=4)),
    "plum": (_Part(0, 0, 0, 0.7, 0.76),),
    "potato": (_Part(0, 0, 0, 0.66, 0.86, taper=0.15, bend=0.2, ends=4),),
    "round": (_Part(0, 0, 0, 0.86, 0.84),),
    "spears": (*_fan(_Part(0, 0, 0, 0.11, 0.98, ends=4), (-6, 5, -2, 7, -5), 0.45),
        _box(2, 0, 0.4, 0.6, 0.1)),
    "star": _fan(_Part(2, 0, -0.4, 0.07, 0.3, ends=1, flat=0.9), (0, 60, 120)),
    "stem": (_STEM,),
    "sweet-potato": (_Part(0, 0, 0, 0.48, 1, taper=0.15, bend=0.3, ends=1),),
    "vine": (*(_Part(0, x, y, 0.46, 0.44) for x, y in ((-0.48, -0.4), (0.48, -0.3), (-0.4, 0.5))),
        _Part(0, 0.45, 0.5, 0.46, 0.44), _Part(2, 0, 0, 0.06, 0.95, bend=2, ends=8),
        *_fan(_Part(2, 0, 0.1, 0.05, 0.36, ends=1), (70, -70), 0.2)),
    "zucchini": (_Part(2, 0, -0.9, 0.1, 0.16, ends=8),
        _Part(0, 0, 0.06, 0.23, 0.92, taper=0.2, ends=8)),
    # The bodies of packages, their lids and what is printed on them:
    "tall": (_box(0, 0.42, 0.16, 0.12, 0.76, 0.7),
        _box(1, 0.41, -0.72, 0.12, 0.18, 0.6, taper=0.25), _box(0, 0, 0.16, 0.38, 0.78),
        _box(1, 0, -0.74, 0.36, 0.2, 0.92, taper=0.15), _box(1, 0.05, -0.96, 0.36, 0.06, 1.05),
        _box(2, 0, 0.8, 0.38, 0.14)),
    "brick": (_box(0, 0.5, 0.12, 0.12, 0.74, 0.7), _box(0, 0, 0.12, 0.46, 0.76),
        _box(1, 0.06, -0.68, 0.5, 0.1, 1.08, taper=-0.1), _box(1, 0, -0.5, 0.46, 0.12),
        _box(2, 0, 0.76, 0.46, 0.12)),
    "low": (_box(0, 0.56, 0.2, 0.14, 0.56, 0.7), _box(0, 0, 0.2, 0.5, 0.58),
        _box(1, 0, -0.5, 0.5, 0.16, 0.92, taper=0.15), _box(2, 0, 0.68, 0.5, 0.12)),
    "pot": (_Part(0, 0, 0.14, 0.44, 0.8, taper=-0.08, ends=8, sides=4),
        _box(2, 0, 0.74, 0.37, 0.18), _box(1, 0, -0.66, 0.34, 0.16, 0.95, taper=0.3)),
    "cap": (_box(1, 0, -0.84, 0.17, 0.1, 0.85), _Part(1, 0, -0.93, 0.17, 0.07, flat=1.1)),
    "badge": (_box(4, 0, -0.3, 0.24, 0.13), _box(0, 0, -0.3, 0.16, 0.03)),
    "band": (_box(1, 0, -0.46, 0.38, 0.12), _Part(2, 0, -0.46, 0.13, 0.13, flat=1.3)),
    "block": (_box(3, 0, 0.32, 0.25, 0.22),),
    "bowl": (_Part(3, 0, 0.4, 0.2, 0.18, flat=1), _box(0, 0, 0.28, 0.2, 0.07)),
    "cow": (_Part(3, 0.02, 0.08, 0.2, 0.13, flat=1), _box(3, -0.12, -0.08, 0.07, 0.1)),
    "disc": (_Part(3, 0.05, 0.22, 0.28, 0.28), _Part(0, 0.14, 0.3, 0.1, 0.1, flat=1)),
    "cup": (_box(4, 0.04, 0.45, 0.22, 0.4, 0.4), _box(3, 0.04, 0.5, 0.19, 0.34, taper=-0.15)),
    "line": (_box(4, 0, 0.5, 0.25, 0.05), _box(4, -0.05, 0.62, 0.18, 0.025)),
    "logo": (_box(4, 0, -0.36, 0.25, 0.07), _box(4, 0, -0.18, 0.2, 0.05)),
    "swoosh": (_Part(3, 0.1, 0.4, 0.24, 0.34, turn=30, flat=1),),
    "text": tuple(_box(4, x, y, 0.28, 0.05) for x, y in ((0, -0.3), (0.02, -0.14), (-0.03, 0.02))),
    "waist": (_box(4, 0, 0.42, 0.38, 0.06),),
}  # fmt: skip
_PACKAGES = ("tall", "brick", "low", "pot")


def _rgb(codes):
    return [list(bytes.fromhex(code)) for code in codes]


_COLOURS = np.array([_rgb(look.colours) for look in CLASSES], np.float32)  # (81, 5, 3)
_PLACES = np.array(_rgb("8a8c90 3a3a3c 7a5a3a 2e5a3c b8a890 c8ccd0 4a4440".split()), np.float32)
_SKIN = np.array(_rgb("e0b090 c89070 a87454".split()), np.float32)
_HAND = (_Part(0, 0.1, 0.95, 0.6, 0.75), _Part(0, 0.3, 1.9, 0.5, 1, ends=8))
_FINGERS = (_Part(0, -0.5, 0.5, 0.13, 0.36, turn=35), _Part(0, 0.55, 0.6, 0.12, 0.3, turn=-40))
_PLAIN = ("plain",)
_BATCH = 32  # pictures painted at once, so that their arrays stay in the processor's cache


def paint(count: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Paints labelled pictures of produce.

    Args:
        count: How many pictures.
        seed: Selects the pictures; not negative.
        size: Height and width of the pictures in pixels, at least 16. Another size shows the
            same scenes.

    Returns:
        The pictures, uint8 (count, size, size, 3), red, green and blue from 0 to 255, and their
        fine labels, int64 (count,), in random order. No class comes up more than once more often
        than another.

    Raises:
        ValueError: `count` or `seed` is below 0 or `size` is below 16.

    Example:
        images, labels = paint(1000, seed=7)
        apples = images[np.array(COARSE_OF_FINE)[labels] == COARSE.index("Apple")]
    """
    for name, value, least in (("count", count, 0), ("seed", seed, 0), ("size", size, 16)):
        if value < least:
            raise ValueError(f"{name}={value} is below {least}")
    random = np.random.default_rng(seed)
    classes = random.permutation(len(FINE))  # so that few pictures are not all of apples
    labels = classes[random.permutation(count) % len(FINE)].astype(np.int64)
    scene = _draw_scenes(random, labels)
    planes = _backdrops(random, count, size)
    alike = {}  # form and texture: the classes which differ in no more than colours
    for label, look in enumerate(CLASSES):
        alike.setdefault((look.form, look.texture), []).append(label)
    for (form, texture), group in alike.items():
        pictures = np.flatnonzero(np.isin(labels, group))
        for start in range(0, len(pictures), _BATCH):
            _paint_pieces(planes, scene, pictures[start : start + _BATCH], form, texture)
    grain = random.random((count, size, size), np.float32) - 0.5
    planes += grain * scene["grain"][:, None, None]
    images = np.clip(np.rint(planes, out=planes), 0, 255, out=planes).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(images, 0, -1)), labels


def _draw_scenes(random, labels):
    """Draws what the pictures show: a dictionary of arrays with one row for each picture.

    Four columns stand for up to four pieces, from back to front, of which `pieces` are painted.
    """
    count = len(labels)

    def even(low, high, *shape):
        return random.uniform(low, high, (count, *shape)).astype(np.float32)

    package = np.isin(labels, [i for i, look in enumerate(CLASSES) if look.form[0] in _PACKAGES])
    pieces = random.choice([1, 2, 3, 4], count, p=[0.4, 0.2, 0.2, 0.2])
    pieces[package] = (pieces[package] + 1) // 2
    single, package = (pieces == 1)[:, None], package[:, None]
    # One piece is in the middle, two packages are side by side, the others lie in two rows.
    row = np.where(package, 0, np.array([-0.42, 0.42, 0.42, -0.42]))
    column = np.array([-0.44, 0.44, -0.44, 0.44]) * np.where(even(0, 1, 1) < 0.5, -1, 1)
    tilt = np.where(package, np.where(single, 25, 8), 80)
    light = even(0.75, 1.12, 1) * even(0.9, 1.1, 3)  # its strength and tint
    scene = {
        "x": np.where(single, 0, column) + even(-0.14, 0.14, 4),
        "y": np.where(single, 0, row) + even(-0.14, 0.14, 4),
        "scale": np.where(single, even(0.6, 0.88, 4), even(0.46, 0.6, 4) + 0.14 * package),
        "stretch": even(0.92, 1.08, 4),
        "angle": np.deg2rad(tilt * even(-1, 1, 4)),
        "phase": even(0, 1, 4),
        "grain": even(4, 26),
        "light_x": even(-0.6, 0.6, 1).repeat(4, axis=1),
        "light_y": even(-0.7, 0.1, 1).repeat(4, axis=1),
        "colours": _COLOURS[labels] * light[:, None] * even(0.93, 1.07, 5, 3),
        "skin": _SKIN[random.integers(len(_SKIN), size=count)] * light,
    }
    scene = {name: values.astype(np.float32) for name, values in scene.items()}
    return scene | {"pieces": pieces, "held": single[:, 0] & (even(0, 1) < 0.45)}


def _backdrops(random, count, size):
    """Paints shelves and crates with goods out of focus: float32 (3, count, size, size)."""
    axis = (np.arange(size, dtype="f4") + 0.5) * (2 / size) - 1
    ends = np.linspace(-1, 1, 6, dtype="f4")
    blend = np.maximum(1 - np.abs(axis[:, None] - ends) * 2.5, 0)  # linear between six goods
    goods = random.normal(0, 1, (3, count, 6, 6)) + random.normal(0, 1, (count, 6, 6))
    goods *= random.uniform(4, 28, (count, 1, 1))
    planes = blend @ goods.astype("f4") @ blend.T
    planes += _PLACES[random.integers(len(_PLACES), size=count)].T[..., None, None]
    # Boards, wires and joints run across or down.
    boards = random.uniform(-1, 1, (3, count, 1)).astype("f4")
    boards = 22 * boards[0] * _wave((2 + boards[1]) * axis + boards[2])
    across = random.random(count) < 0.6
    planes += np.where(across[:, None, None], boards[:, :, None], boards[:, None, :])
    return planes


def _paint_pieces(planes, scene, pictures, form, texture):
    """Paints the pieces of some pictures which all show this form and texture."""
    parts = [part for name in form for part in _FORMS[name]]
    colours = scene["colours"][pictures].transpose(1, 2, 0)[..., None, None]
    held = pictures[scene["held"][pictures]]
    skin = scene["skin"][held].T[..., None, None]
    for part in _HAND:
        _paint_part(planes, scene, held, 0, part, [skin], _PLAIN)
    for piece in range(4):
        shown = scene["pieces"][pictures] > piece
        for part in parts:
            surface = texture if part.colour == 0 else _PLAIN
            inks = colours[[part.colour, 1]][:, :, shown]
            _paint_part(planes, scene, pictures[shown], piece, part, inks, surface)
    for part in _FINGERS:
        _paint_part(planes, scene, held, 0, part, [skin], _PLAIN)


def _paint_part(planes, scene, pictures, piece, part, inks, texture):
    """Paints one part of one piece into some pictures.

    Args:
        planes: Red, green and blue of all pictures, float32 (3, count, size, size).
        scene: See `_draw_scenes`.
        pictures: Indices of the n pictures.
        piece: Index of the piece.
        part: Its part.
        inks: The part's colour and, if it has a texture, the second one: (3, n, 1, 1) each.
        texture: Name of one of `_MIXES`, or another for none; "gloss" may follow.
    """
    if not len(pictures):
        return
    names = ("x", "y", "scale", "stretch", "angle", "phase", "light_x", "light_y")
    poses = (scene[name][pictures, piece][:, None, None] for name in names)
    x, y, scale, stretch, angle, phase, light_x, light_y = poses
    size, pixel = planes.shape[-1], 2 / planes.shape[-1]
    part_x, cos, sin = stretch * part.x, np.cos(angle), np.sin(angle)
    x, y = x + scale * (cos * part_x - sin * part.y), y + scale * (sin * part_x + cos * part.y)

    # Only a square window of each picture is touched, large enough for the part.
    side = min(size, int(2 * _reach(part) * scale.max() / pixel) + 3)
    left, top = (
        np.rint((middle.ravel() + 1) / pixel - side / 2).clip(0, size - side).astype(int)
        for middle in (x, y)
    )
    windows = np.lib.stride_tricks.sliding_window_view(planes, (side, side), (2, 3), writeable=True)
    place = slice(None), pictures, top, left
    window = windows[place]

    # From pixels to the part's own coordinates, in which it is a disc or a square.
    run = np.arange(0.5, side, dtype="f4")
    to_right = (left[:, None] + run)[:, None, :] * pixel - 1 - x
    down = (top[:, None] + run)[:, :, None] * pixel - 1 - y
    angle = angle + np.deg2rad(part.turn)
    cos, sin = np.cos(angle), np.sin(angle)
    v = (cos / (scale * part.height)) * down - (sin / (scale * part.height)) * to_right
    width = scale * stretch * part.width
    u = (cos / width) * to_right + (sin / width) * down
    if part.bend:
        u -= part.bend * (v**2 - 0.5)
    if part.taper:
        u /= np.maximum(1 + part.taper * v, 0.1)
    inside = 1 - _power(u, part.sides) - _power(v, part.ends)
    sharpness = min(part.width / part.sides, part.height / part.ends) / pixel
    cover = np.clip(inside * np.maximum(scale * sharpness, 1) + 0.5, 0, 1)

    colour, shine = inks[0], 0
    if mix := _MIXES.get(texture[0]):
        colour = colour + (inks[1] - colour) * np.clip(mix(u, v, phase), 0, 1)
    if part.flat:
        light = part.flat
    else:  # the nearer the surface's normal points to the lamp, the lighter
        away = np.sqrt(1 - light_x**2 - light_y**2) * np.sqrt(np.maximum(inside, 0))
        facing = (cos * light_x + sin * light_y) * u + (cos * light_y - sin * light_x) * v + away
        light = np.maximum(0.5 + 0.6 * facing, 0.25)
        if "gloss" in texture:
            shine = 150 * np.clip(14 * facing - 13, 0, 1)
    window += cover * (colour * light + shine - window)
    windows[place] = window


def _reach(part):
    """How far from its middle a part may extend, stretched as it may be; tips are soft."""
    width = part.width * (1.1 + abs(part.taper) + abs(part.bend))
    return (1.5 if part.ends == 1 else 1.2) * np.hypot(width, part.height)


def _power(x, exponent):
    """The absolute value to the power of 1, 2, 4 or 8."""
    x = np.abs(x)
    for _ in range(exponent.bit_length() - 1):
        x = x * x
    return x


def _wave(turns):
    """Nearly a sine, made of parabolas, which is faster."""
    turns = turns - np.rint(turns)
    return turns * (8 - 16 * np.abs(turns))


def _patches(u, v, phase):
    """Waves in two directions, each bent by the other, so that no grid is seen."""
    bent = u + 0.9 * v + 0.35 * _wave(0.7 * v - 0.3 * u + 2 * phase)
    return _wave(bent + phase) * _wave(1.3 * v - 0.6 * u + 0.3 * _wave(0.8 * bent))


def _ribs(u, v, number, phase):
    """Waves around the part, which meet at its two ends."""
    return _wave(number * u / np.sqrt(np.maximum(1.1 - v**2, 0.1)) + phase)


# How much of the second colour there is, from 0 to 1, on a part which is a disc in u and v.
_MIXES = {
    "blush": lambda u, v, p: 0.5 + _wave(p) * u + _wave(p + 0.25) * v,
    "ends": lambda u, v, p: 2.2 * np.abs(v + 0.2 * u) - 1,
    "freckled": lambda u, v, p: 0.7 * _patches(2.6 * u, 2.6 * v, p) - 0.15,
    "mottled": lambda u, v, p: 0.5 + 0.5 * _patches(u, v, p),
    "netted": lambda u, v, p: 1 - 2.5 * np.abs(_wave(1.5 * (u + v) + p) * _wave(1.5 * (u - v))),
    "ragged": lambda u, v, p: 0.5 + 2 * _ribs(u, v, 2.2, p + 0.12 * _wave(2 * v)),
    "ribbed": lambda u, v, p: 0.3 + 0.5 * _ribs(u, v, 2.6, p),
    "ringed": lambda u, v, p: 2 * _wave(2.2 * v + 0.3 * u * u + p) - 1.2,
    "streaked": lambda u, v, p: 0.35 + 0.4 * _ribs(u, v, 3.3, p) + 0.4 * _patches(u, v, p),
    "striped": lambda u, v, p: _ribs(u, v, 1.7, p),
    "tip": lambda u, v, p: -1.1 * v,
}
