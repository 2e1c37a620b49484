"""Your own texts: a file with a column of texts and a column to predict.

By default a bag of word embeddings, for more than 20,000 texts a bidirectional LSTM; both are
compared with TF-IDF and logistic regression. The task follows from the target: few values or text
are classes, many numbers a regression, several columns (target=a,b) labels that are 0 or 1; task=
overrides it. ngrams=3 adds a linear part of all sequences of up to three words. The exported model
takes strings.

    kpipe run reviews.csv target=rating
    kpipe run reviews.csv target=rating text=body architecture=transformer
    kpipe look reviews.csv target=rating
"""

from kpipe import Trainer, datasets, losses, models, optimizers

task = "auto"
data = "your file"
path = ""  # the file or DataFrame, set by `kpipe run`
data_keys = ("target", "skip_bad")

BATCH_SIZE = 32
TEXTS = 150_000  # seen in a training, by default
MANY = 20_000  # texts, from which on an LSTM is the default


def load_data(hp):
    """Texts as token ids; in training some words become unknown."""
    return datasets.text_table(
        path,
        target=hp.Fixed("target", ""),
        text=hp.Fixed("text", ""),
        task=hp.Fixed("task", ""),
        group=hp.Fixed("group", ""),
        time=hp.Fixed("time", ""),
        split=hp.Fixed("split", ""),
        vocabulary_size=hp.Int("vocabulary_size", 1000, 100_000, sampling="log", default=20_000),
        max_length=hp.Int("max_length", 16, 2048, sampling="log", default=256),
        embeddings=hp.Fixed("embeddings", ""),
        test_fraction=hp.Fixed("test_fraction", 0.2),
        val_fraction=hp.Fixed("val_fraction", 0.15),
        split_seed=hp.Fixed("split_seed", 0),
        skip_bad=hp.Fixed("skip_bad", 0),
    ).augmented(drop_words=hp.Float("drop_words", 0.0, 0.9, step=0.05, default=0.2))


def build_model(hp):
    """The compiled network."""
    data = load_data(hp)
    many = data.find().examples["train"] > MANY
    architecture = hp.Choice(
        "architecture",
        ["bag_of_embeddings", "gru", "lstm", "transformer"],
        default="lstm" if many else "bag_of_embeddings",
    )
    options = {
        "num_classes": len(data.label_names),
        "vocabulary_size": data.vectorization.vocabulary_size,
        "embedding_dim": hp.Int("embedding_dim", 8, 512, step=8, default=64),
        "dropout": hp.Float("dropout", 0.0, 0.8, step=0.05, default=0.4),
        "pooling": "mean_max",
        "ngrams": hp.Fixed("ngrams", 0),
        "ngram_buckets": hp.Fixed("ngram_buckets", 2**18),
        "task": data.task,
    }
    if architecture == "bag_of_embeddings":
        model = models.bag_of_embeddings(units=[64], **options)
    elif architecture == "transformer":
        model = models.transformer(max_length=data.vectorization.max_length, **options)
    else:
        model = models.recurrent(cell=architecture, bidirectional=True, **options)
    model.compile(
        optimizer=optimizers.from_hyperparameters(hp, "adam", learning_rate=1e-3),
        **losses.for_task(data.task),
    )
    return model


def build_trainer(hp):
    """The epoch with the smallest validation loss is kept."""
    epochs = max(5, min(60, TEXTS // load_data(hp).find().examples["train"]))
    return Trainer(batch_size=BATCH_SIZE, epochs=epochs, patience=max(3, epochs // 8))
