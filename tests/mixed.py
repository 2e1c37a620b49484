"""A small table with columns of every kind, as the reader of a user's file would describe it."""

import hashlib
import json

import numpy as np
import pandas as pd

from kpipe.datasets import Dataset, Source
from kpipe.datasets.columns import Column, as_rows, encoded_shape

# Names that are no Python identifiers, and two whose arguments would be the same.
COLUMNS = (
    Column("age", "number", missing=True),
    Column("city, home", "category", size=4, longest=12, missing=True),
    Column("income (€)", "number"),
    Column("smoker?", "boolean", missing=True),
    Column("seen", "date", longest=10, missing=True, format="%d/%m/%Y"),
    Column("city/home", "category", size=2, longest=3),
    Column("last", "date", longest=19, time=True),
)
CITIES = ["Berlin", "Köln", "München", "Aachen"]


def frame(count, seed=0):
    """A DataFrame of raw values: numbers or text, with NaN and None for missing ones."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, count).astype(float)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1500, count), unit="D")
    moments = days + pd.to_timedelta(random.integers(0, 86_400, count), unit="s")

    def some(values):
        missing = random.random(count) < 0.2
        return [None if m else value for m, value in zip(missing, values, strict=True)]

    return pd.DataFrame(
        {
            "income (€)": np.round(random.lognormal(8, 1, count), 2),
            "id": np.arange(count),
            "age": np.where(random.random(count) < 0.2, np.nan, age),
            "city, home": some(random.choice(CITIES, count, p=[0.4, 0.3, 0.2, 0.1])),
            "smoker?": some(random.choice(["yes", "no"], count)),
            "seen": some(days.strftime("%d/%m/%Y")),
            "city/home": random.choice(["in", "out"], count),
            "last": moments.strftime("%Y-%m-%dT%H:%M:%S"),
        }
    ).astype({name: object for name in ("city, home", "smoker?", "seen", "city/home", "last")})


def labels(table):
    """int64 (n,): whether someone is in a large city or older than 60."""
    known = table["city, home"].isin(CITIES[:1]) | (table["age"] > 60)
    return known.to_numpy().astype(np.int64)


def dataset(count=120, columns=COLUMNS, *, piece=50, tables=None, targets=labels, **options):
    """A dataset of such rows, read in pieces."""
    tables = tables or {"train": frame(count), "test": frame(40, seed=1)}

    def pieces(split):
        table = tables[split]
        for start in range(0, len(table), piece):
            part = table.iloc[start : start + piece]
            yield as_rows(part, columns), targets(part)

    content = json.dumps([[t.to_csv() for t in tables.values()], [repr(c) for c in columns]])
    source = Source(
        kind="own",
        description="my rows",
        identity=hashlib.sha256(content.encode()).hexdigest(),
        examples={name: len(table) for name, table in tables.items()},
        official=False,
        pieces=pieces,
    )
    options = {"label_names": ("no", "yes"), "val_fraction": 0.2, **options}
    return Dataset(
        name="mixed",
        input_shape=encoded_shape(columns),
        columns=tuple(columns),
        fixed=source,
        **options,
    )
