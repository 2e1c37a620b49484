"""Dates in the graph: from ISO 8601 to seconds, and to the time of the year, week and day."""

import numpy as np
import tensorflow as tf

DAY = 24 * 60 * 60  # seconds
_ISO = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?"


def parse_dates(texts: tf.Tensor, time: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    """Converts ISO 8601 dates to seconds since 1970.

    Args:
        texts: string (n,): "2024-01-31" or "2024-01-31T12:30:00".
        time: Whether the time of day counts.

    Returns:
        int64 (n,), 0 for what is no date; bool (n,), which are dates.
    """
    known = tf.strings.regex_full_match(texts, _ISO)
    texts = tf.where(known, texts, "1970-01-01")
    texts = tf.strings.substr(tf.strings.join([texts, "T00:00:00"]), 0, 19)

    def part(start: int, size: int) -> tf.Tensor:
        return tf.strings.to_number(tf.strings.substr(texts, start, size), tf.int64)

    year, month, day = part(0, 4), part(5, 2), part(8, 2)
    hour, minute, second = part(11, 2), part(14, 2), part(17, 2)
    known &= (month >= 1) & (month <= 12) & (year >= 1)
    known &= (day >= 1) & (day <= _days_before(year, month + 1) - _days_before(year, month))
    known &= (hour < 24) & (minute < 60) & (second < 60)
    seconds = (_days_before(year, month) + day - 1) * DAY
    if time:
        seconds += hour * 3600 + minute * 60 + second
    return tf.where(known, seconds, 0), known


def _days_before(year: tf.Tensor, month: tf.Tensor) -> tf.Tensor:
    """Counts the days from 1970-01-01 to the first of a month, 1 to 13."""
    # Years that begin in March: a leap day is the last of its year.
    year = tf.where(month <= 2, year - 1, year)
    months = tf.math.floormod(month - 3, 12)
    before = (153 * months + 2) // 5  # days before a month: 0, 31, 61, 92, ...
    return 365 * year + year // 4 - year // 100 + year // 400 + before - 719_468


def cycles_of(seconds: tf.Tensor) -> tf.Tensor:
    """Returns sine and cosine of the time of the year, the week and the day: float32 (n, 6)."""
    days = seconds // DAY
    year = _year_of(days)
    first = _days_before(year, tf.ones_like(year))
    length = _days_before(year + 1, tf.ones_like(year)) - first
    monday = tf.math.floormod(days + 3, 7)  # 1970-01-01 was a Thursday
    time = seconds - days * DAY
    parts = [
        tf.cast((days - first) * DAY + time, tf.float32) / tf.cast(length * DAY, tf.float32),
        tf.cast(monday * DAY + time, tf.float32) / (7 * DAY),
        tf.cast(time, tf.float32) / DAY,
    ]
    angles = 2 * np.pi * tf.stack(parts, axis=1)
    return tf.reshape(tf.stack([tf.sin(angles), tf.cos(angles)], axis=2), (-1, 6))


def _year_of(days: tf.Tensor) -> tf.Tensor:
    """Returns the year of days since 1970-01-01: Gregorian years have 146,097 days in 400 years."""
    year = 1970 + 400 * days // 146_097  # off by one at most
    before = _days_before(year, tf.ones_like(year))
    after = _days_before(year + 1, tf.ones_like(year))
    return tf.where(days < before, year - 1, tf.where(days >= after, year + 1, year))
