"""Files of a user, made small: a folder of images, texts and a table, each easy to learn."""

import pathlib

import numpy as np
import pandas as pd

COLOURS = {"apple": (200, 40, 40), "pear": (60, 180, 60), "plum": (70, 50, 160)}
WORDS = {
    1: "awful dull boring slow bad",
    3: "fair usual plain middling so-so",
    5: "superb lovely bright great good",
}


def photos(folder, each=16, size=20, seed=0):
    """`folder`/apple, pear and plum: PNG images of one colour with noise, no two alike."""
    from PIL import Image

    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (pathlib.Path(folder) / name).mkdir(parents=True)
        for i in range(each):
            coarse = random.integers(-60, 60, (4, 4, 3))
            noise = np.kron(coarse, np.ones((size // 4, size // 4, 1)))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(pathlib.Path(folder) / name / f"{i:03}.png")
    return pathlib.Path(folder)


def reviews(count=90, seed=0):
    """A DataFrame of texts, `body`, with a `rating` of 1, 3 or 5 and a running number."""
    random = np.random.default_rng(seed)
    ratings = random.choice(list(WORDS), count)
    fillers = "the film was told in a way that one may call rather".split()
    texts = [
        " ".join([*random.choice(fillers, 6), *random.choice(WORDS[rating].split(), 3)])
        for rating in ratings
    ]
    return pd.DataFrame({"id": range(1, count + 1), "body": texts, "rating": ratings})


def houses(count=120, seed=0):
    """A DataFrame of numbers, categories, a date and missing values, with a `price`."""
    random = np.random.default_rng(seed)
    area = random.uniform(40, 200, count).round(1)
    town = random.choice(["Aston", "Bray", "Corby"], count)
    built = pd.Timestamp("1990-01-01") + pd.to_timedelta(random.integers(0, 9000, count), "D")
    worth = 2.0 * area + 80 * (town == "Bray") + random.normal(0, 5, count)
    frame = pd.DataFrame(
        {
            "area": area,
            "town": town,
            "built": built.strftime("%Y-%m-%d"),
            "garden": random.choice(["yes", "no"], count),
            "price": (1000 * worth).round(2),
        }
    )
    frame.loc[random.choice(count, count // 10, replace=False), "area"] = np.nan
    frame.loc[random.choice(count, count // 10, replace=False), "town"] = None
    return frame


def write_all(folder):
    """Writes photos/, reviews.csv, new_reviews.csv, houses.csv and houses.parquet."""
    folder = pathlib.Path(folder)
    photos(folder / "photos")
    reviews().to_csv(folder / "reviews.csv", index=False)
    reviews(5, seed=1).drop(columns="rating").to_csv(folder / "new_reviews.csv", index=False)
    houses().to_csv(folder / "houses.csv", index=False)
    houses().to_parquet(folder / "houses.parquet", index=False)
    houses(5, seed=1).drop(columns="price").to_csv(folder / "new_houses.csv", index=False)
