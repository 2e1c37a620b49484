"""Networks on texts; inputs are token ids, padded with 0 on the right."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from .heads import HEADS, head
from .ngrams import BUCKETS, LEFT_OUT, ngram_logits

CELLS = {"simple_rnn": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}
POOLINGS = ("last", "mean", "max", "mean_max")


def recurrent(
    num_classes: int,
    *,
    vocabulary_size: int = 20_000,
    embedding_dim: int = 128,
    cell: str = "lstm",
    units: Sequence[int] = (64,),
    bidirectional: bool = False,
    pooling: str = "last",
    activation: str | None = None,
    dropout: float = 0.0,
    ngrams: int = 0,
    ngram_buckets: int = BUCKETS,
    task: str = "classification",
    name: str = "recurrent",
) -> keras.Model:
    """Builds stacked recurrent layers on word embeddings.

    LSTM: Hochreiter and Schmidhuber, 1997; GRU: Cho et al., 2014; bidirectional: Schuster and
    Paliwal, 1997.

    Args:
        num_classes: Number of probabilities; 1 for a regression.
        vocabulary_size: Number of token ids; 0 is padding.
        embedding_dim: Width of a word's vector.
        cell: "simple_rnn", "gru" or "lstm".
        units: Width of each layer; at least one.
        bidirectional: Whether each layer reads in both directions; its width is then doubled.
        pooling: Input of the classifier: the "last" state, of each direction if bidirectional; the
            "mean" or "max" over all words; or both, "mean_max".
        activation: "tanh" or "relu" for a simple RNN; a ReLU layer is initialized with the identity
            as recurrent kernel (Le, Jaitly and Hinton, 2015). None for the cell's default.
        dropout: Dropout rate of whole embedding channels (Tompson et al., 2015), and of the outputs
            of every layer and of the pooling.
        ngrams: Words of the longest n-gram whose weight is added to the logits of the classes, see
            `ngrams.ngram_logits`; 0 for none.
        ngram_buckets: Number of buckets of their weights, of which at most a quarter is filled.
        task: "classification", "multilabel" or "regression", see `heads.head`.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: A name is unknown, or `units` is empty.

    Example:
        model = recurrent(2, cell="gru", units=(64,), bidirectional=True, pooling="mean_max")
    """
    _check("cell", cell, CELLS)
    _check("pooling", pooling, POOLINGS)
    if not units:
        # "last" would classify every word.
        raise ValueError(f"units={units!r}: expected at least one width")
    options: dict[str, Any] = {}
    if activation is not None:
        if cell != "simple_rnn" or activation not in ("tanh", "relu"):
            raise ValueError(
                f"activation={activation!r} with cell={cell!r}: expected 'tanh' or 'relu' with "
                "'simple_rnn', None with other cells"
            )
        options["activation"] = activation
        if activation == "relu":
            options["recurrent_initializer"] = keras.initializers.Identity()
    tokens, x = _embed(vocabulary_size, embedding_dim, dropout)
    for i, width in enumerate(units, start=1):
        sequences = i < len(units) or pooling != "last"
        layer = CELLS[cell](width, return_sequences=sequences, name=f"{cell}_{i}", **options)
        x = (layers.Bidirectional(layer, name=f"bidirectional_{i}") if bidirectional else layer)(x)
        if dropout and sequences:
            x = layers.Dropout(dropout)(x)
    if pooling != "last":
        x = _pool(tokens, x, pooling)
    return _classify(
        tokens, x, num_classes, dropout, task, name, vocabulary_size, (ngrams, ngram_buckets)
    )


def transformer(
    num_classes: int,
    *,
    vocabulary_size: int = 20_000,
    max_length: int = 256,
    embedding_dim: int = 64,
    num_layers: int = 1,
    num_heads: int = 4,
    feedforward_units: int = 128,
    pooling: str = "mean",
    dropout: float = 0.1,
    ngrams: int = 0,
    ngram_buckets: int = BUCKETS,
    task: str = "classification",
    name: str = "transformer",
) -> keras.Model:
    """Builds a transformer encoder with learned positions and a classifier on the pooled words.

    Vaswani et al., 2017; normalization precedes attention and feed-forward (Xiong et al., 2020), so
    that no warm-up is needed.

    Args:
        num_classes: Number of probabilities; 1 for a regression.
        vocabulary_size: Number of token ids; 0 is padding.
        max_length: Length of the longest text, in tokens.
        embedding_dim: Width of a word's vector, a multiple of `num_heads`.
        num_layers: Number of encoder blocks.
        num_heads: Heads of every attention layer, each of width embedding_dim / num_heads.
        feedforward_units: Width of the hidden layer of a block's feed-forward part.
        pooling: "mean", "max" or "mean_max" over all words, or the "last" word.
        dropout: Dropout rate of the embedding, attention weights, each block part's output, and the
            pooling's output.
        ngrams: Words of the longest n-gram whose weight is added to the logits of the classes, see
            `ngrams.ngram_logits`; 0 for none.
        ngram_buckets: Number of buckets of their weights, of which at most a quarter is filled.
        task: "classification", "multilabel" or "regression", see `heads.head`.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length up to max_length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: `embedding_dim` is not a multiple of `num_heads`, or `pooling` is unknown.

    Example:
        model = transformer(2, num_layers=2, num_heads=8)
    """
    _check("pooling", pooling, POOLINGS)
    if embedding_dim % num_heads:
        raise ValueError(
            f"embedding_dim={embedding_dim}: expected a multiple of num_heads={num_heads}"
        )
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(vocabulary_size, embedding_dim, name="embedding")(tokens)
    # 0, 1, 2, ...: the length is known only when the model runs, not when it is built.
    places = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    x = layers.Add()([x, layers.Embedding(max_length, embedding_dim, name="positions")(places)])
    x = _drop(x, dropout)
    for i in range(1, num_layers + 1):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.MultiHeadAttention(
            num_heads, embedding_dim // num_heads, dropout=dropout, name=f"attention_{i}"
        )(y, y, attention_mask=_attended(tokens))
        x = layers.Add()([x, _drop(y, dropout)])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dense(feedforward_units, activation="relu")(y)
        y = layers.Dense(embedding_dim)(y)
        x = layers.Add()([x, _drop(y, dropout)])
    x = _pool(tokens, layers.LayerNormalization(epsilon=1e-6)(x), pooling)
    return _classify(
        tokens, x, num_classes, dropout, task, name, vocabulary_size, (ngrams, ngram_buckets)
    )


def bag_of_embeddings(
    num_classes: int,
    *,
    vocabulary_size: int = 20_000,
    embedding_dim: int = 128,
    units: Sequence[int] = (128, 64),
    pooling: str = "mean",
    activation: str = "relu",
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float = 0.0,
    ngrams: int = 0,
    ngram_buckets: int = BUCKETS,
    task: str = "classification",
    name: str = "bag_of_embeddings",
) -> keras.Model:
    """Builds dense layers on pooled word embeddings, which ignore the order of words.

    Iyyer et al., 2015, "deep averaging network"; Joulin et al., 2017, without hidden layers.

    Args:
        num_classes: Number of probabilities; 1 for a regression.
        vocabulary_size: Number of token ids; 0 is padding.
        embedding_dim: Width of a word's vector.
        units: Width of every hidden layer.
        pooling: "mean", "max" or "mean_max" over all words.
        activation: Activation of the hidden layers: any Keras name.
        l1: Weight of the L1 penalty on kernels. The embedding has no penalty: Adam, which ignores
            the scale of a gradient, would pull the vectors of rare words to zero as fast as it
            learns the others (Loshchilov and Hutter, 2019).
        l2: Weight of the L2 penalty on kernels.
        dropout: Dropout rate of whole embedding channels, and of the outputs of the pooling and of
            every hidden layer.
        ngrams: Words of the longest n-gram whose weight is added to the logits of the classes, see
            `ngrams.ngram_logits`; 0 for none.
        ngram_buckets: Number of buckets of their weights, of which at most a quarter is filled.
        task: "classification", "multilabel" or "regression", see `heads.head`.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: `pooling` is unknown.

    Example:
        model = bag_of_embeddings(4, units=(128, 64), dropout=0.5)
    """
    _check("pooling", pooling, POOLINGS[1:])
    # One regularizer: Keras leaves out penalties that are 0.
    regularizer = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
    tokens, x = _embed(vocabulary_size, embedding_dim, dropout)
    x = _drop(_pool(tokens, x, pooling), dropout)
    for width in units:
        x = layers.Dense(width, activation=activation, kernel_regularizer=regularizer)(x)
        x = _drop(x, dropout)
    return _classify(
        tokens,
        x,
        num_classes,
        0.0,
        task,
        name,
        vocabulary_size,
        (ngrams, ngram_buckets),
        regularizer,
    )


def attention_scores(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    """Returns the function that computes the attention weights of every layer of a transformer.

    Args:
        model: Model built by `transformer`.

    Returns:
        Function from tokens, int (batch, length), to {"attention_1": float32 (batch, heads, length,
        length), ...}; row i contains the attention of word i to each word.

    Raises:
        ValueError: The model has no attention layers.

    Example:
        model = transformer(2, num_heads=8)
        attention_scores(model)(tokens)["attention_1"].shape[1]  # 8
    """
    attention = {
        layer.name: layer for layer in model.layers if isinstance(layer, layers.MultiHeadAttention)
    }
    if not attention:
        raise ValueError(f"model {model.name!r} has no attention layers; `transformer` has")
    inner = keras.Model(model.inputs[0], {n: layer.input[0] for n, layer in attention.items()})

    def scores(tokens: Any) -> dict[str, Any]:
        # Not one model: Keras 3.15 does not connect the scores to the inputs.
        return {
            name: attention[name](
                x, x, attention_mask=_attended(tokens), return_attention_scores=True
            )[1]
            for name, x in inner(tokens).items()
        }

    return scores


def _check(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{what}={name!r}: expected one of {', '.join(known)}")


def _embed(
    vocabulary_size: int, embedding_dim: int, dropout: float
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(vocabulary_size, embedding_dim, mask_zero=True, name="embedding")(tokens)
    return tokens, layers.SpatialDropout1D(dropout)(x) if dropout else x


def _attended(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Builds the attention mask: words but not padding; bool (batch, 1, length)."""
    return ops.expand_dims(ops.not_equal(tokens, 0), 1)


def _drop(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    return layers.Dropout(dropout)(x) if dropout else x


def _pool(tokens: keras.KerasTensor, x: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    """Pools the words of each text by mean, maximum, both, or the last; ignores padding."""
    is_word, pooled = ops.expand_dims(ops.not_equal(tokens, 0), -1), []
    if pooling == "last":
        place = ops.cumsum(ops.ones_like(tokens), axis=1)
        is_last = ops.equal(place, ops.sum(ops.cast(is_word[..., 0], "int32"), 1, keepdims=True))
        return ops.sum(ops.where(ops.expand_dims(is_last, -1), x, 0.0), axis=1)
    if pooling in ("mean", "mean_max"):
        count = ops.sum(ops.cast(is_word, x.dtype), axis=1)
        pooled.append(ops.sum(ops.where(is_word, x, 0.0), axis=1) / count)
    if pooling in ("max", "mean_max"):
        pooled.append(ops.max(ops.where(is_word, x, -1e9), axis=1))
    return layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]


def _classify(
    tokens: keras.KerasTensor,
    x: keras.KerasTensor,
    num_classes: int,
    dropout: float,
    task: str,
    name: str,
    vocabulary_size: int,
    ngrams: tuple[int, int],
    regularizer: keras.Regularizer | None = None,
) -> keras.Model:
    longest, buckets = ngrams
    if not longest:
        outputs = head(x, num_classes, task, dropout, kernel_regularizer=regularizer)
        return keras.Model(tokens, outputs, name=name)
    if task != "classification":
        raise ValueError(f"ngrams={longest} with task={task!r}: expected 0; they are of classes")
    output, activation = HEADS[task]
    linear = ngram_logits(
        tokens, num_classes, vocabulary_size=vocabulary_size, longest=longest, buckets=buckets
    )
    # Dropout multiplies what it keeps, here by ten; what is kept must be what is answered.
    one = ops.ones_like(linear[:, :1])
    kept = layers.Minimum(dtype="float32")([layers.Dropout(LEFT_OUT, dtype="float32")(one), one])
    linear = layers.Multiply(dtype="float32")([linear, kept])
    x = layers.Dropout(dropout)(x) if dropout else x
    logits = layers.Dense(
        num_classes, dtype="float32", kernel_regularizer=regularizer, name="logits"
    )(x)
    logits = layers.Add(dtype="float32")([logits, linear])
    outputs = {output: layers.Activation(activation, dtype="float32", name=output)(logits)}
    return keras.Model(tokens, outputs, name=name)
