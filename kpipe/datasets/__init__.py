"""The catalogue of datasets: where raw examples come from. Data are read only when needed."""

from .ag_news import ag_news
from .any_tfds import from_tfds
from .augmentation import Augmentation
from .base import Dataset
from .celeb_a import celeba
from .cifar10 import cifar10
from .diabetes import diabetes
from .dsprites import dsprites
from .grocery_store import grocery_store
from .imdb_reviews import imdb_reviews
from .look import Look
from .mnist import mnist
from .own.arrays import arrays
from .own.image_folder import image_folder
from .own.tables import kind_of, table, text_table
from .points import gmm, one_example, peaks, swiss_roll, truth_table
from .source import Source
from .tweet_emotions import tweet_emotions
from .vectorization import Vectorization

__all__ = [
    "Augmentation",
    "Dataset",
    "Look",
    "Source",
    "Vectorization",
    "ag_news",
    "arrays",
    "celeba",
    "cifar10",
    "diabetes",
    "dsprites",
    "from_tfds",
    "gmm",
    "grocery_store",
    "image_folder",
    "imdb_reviews",
    "kind_of",
    "mnist",
    "one_example",
    "peaks",
    "swiss_roll",
    "table",
    "text_table",
    "truth_table",
    "tweet_emotions",
]
