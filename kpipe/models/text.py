"""Networks on texts: token ids in, padded with 0 on the right."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

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
    name: str = "recurrent",
) -> keras.Model:
    """Stacked recurrent layers on word embeddings.

    LSTM: Hochreiter and Schmidhuber, 1997; GRU: Cho et al., 2014; both directions: Schuster and
    Paliwal, 1997.

    Args:
        num_classes: Number of probabilities.
        vocabulary_size: Token ids; 0 is padding.
        embedding_dim: Width of a word's vector.
        cell: "simple_rnn", "gru" or "lstm".
        units: Width of each layer; at least one.
        bidirectional: Whether each layer reads from both ends; its width is then doubled.
        pooling: What the classifier sees: the "last" state, of both directions the end of each; or
            the "mean" or "max" over all words, or both, "mean_max".
        activation: "tanh" or "relu" in a simple RNN; a ReLU layer starts with the identity as
            recurrent kernel (Le, Jaitly and Hinton, 2015). None: the cell's own.
        dropout: Share dropped in training of whole embedding channels (Tompson et al., 2015), and
            of the outputs of every layer and of the pooling.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: A name is none of those above, or `units` is empty.

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
                "'simple_rnn', None with the others"
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
    return _classify(tokens, x, num_classes, dropout, name)


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
    name: str = "transformer",
) -> keras.Model:
    """A transformer's encoder with learned positions and a classifier on the pooled words.

    Vaswani et al., 2017; layers are normalized before attention and feed-forward (Xiong et al.,
    2020), which needs no warm-up.

    Args:
        num_classes: Number of probabilities.
        vocabulary_size: Token ids; 0 is padding.
        max_length: The longest text, in tokens.
        embedding_dim: Width of a word's vector, a multiple of `num_heads`.
        num_layers: Encoder blocks.
        num_heads: Heads of every attention layer; each is embedding_dim / num_heads wide.
        feedforward_units: Width of the hidden layer of a block's feed-forward part.
        pooling: "mean", "max" or "mean_max" over all words, or the "last" word.
        dropout: Share dropped in training of the embedding, of attention weights, of the output of
            each part, and of that of the pooling.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length up to max_length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: `embedding_dim` is no multiple of `num_heads`, or `pooling` is none of those.

    Example:
        model = transformer(2, num_layers=2, num_heads=8)
    """
    _check("pooling", pooling, POOLINGS)
    if embedding_dim % num_heads:
        raise ValueError(f"embedding_dim={embedding_dim} is no multiple of num_heads={num_heads}")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(vocabulary_size, embedding_dim, name="embedding")(tokens)
    # 0, 1, 2, ...: the length is known when the model runs, not when it is built.
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
    return _classify(tokens, x, num_classes, dropout, name)


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
    name: str = "bag_of_embeddings",
) -> keras.Model:
    """Dense layers on pooled word embeddings: which words a text has, not their order.

    Iyyer et al., 2015, "deep averaging network"; Joulin et al., 2017, without hidden layers.

    Args:
        num_classes: Number of probabilities.
        vocabulary_size: Token ids; 0 is padding.
        embedding_dim: Width of a word's vector.
        units: Width of every hidden layer.
        pooling: "mean", "max" or "mean_max" over all words.
        activation: Activation of the hidden layers: any Keras name.
        l1: Sum of absolute kernel values, times this, is added to the loss. The embedding has no
            penalty: Adam, blind to the scale of a gradient, would draw the vector of every rare
            word to zero as fast as it learns the others (Loshchilov and Hutter, 2019).
        l2: The same with squared values.
        dropout: Share dropped in training of whole embedding channels, and of the outputs of the
            pooling and of every hidden layer.
        name: Name of the model.

    Returns:
        Uncompiled model from tokens, int32 (batch, length), to
        {"probabilities": float32 (batch, num_classes)}. Padding has no influence.

    Raises:
        ValueError: `pooling` is none of those above.

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
    return _classify(tokens, x, num_classes, 0.0, name, regularizer)


def attention_scores(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    """Builds the function that computes the attention weights of every layer of a transformer.

    Args:
        model: Built by `transformer`.

    Returns:
        Function from tokens, int (batch, length), to {"attention_1": float32 (batch, heads, length,
        length), ...}; a row is how much the word of that row attends to each word.

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
        # Not as one model: Keras 3.15 does not connect the scores to the inputs.
        return {
            name: attention[name](
                x, x, attention_mask=_attended(tokens), return_attention_scores=True
            )[1]
            for name, x in inner(tokens).items()
        }

    return scores


def _check(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{what}={name!r} is none of {', '.join(known)}")


def _embed(
    vocabulary_size: int, embedding_dim: int, dropout: float
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(vocabulary_size, embedding_dim, mask_zero=True, name="embedding")(tokens)
    return tokens, layers.SpatialDropout1D(dropout)(x) if dropout else x


def _attended(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Marks what every word may attend to: words, no padding; bool (batch, 1, length)."""
    return ops.expand_dims(ops.not_equal(tokens, 0), 1)


def _drop(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    return layers.Dropout(dropout)(x) if dropout else x


def _pool(tokens: keras.KerasTensor, x: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    """Mean, maximum or both over the words of each text, or the last; padding is left out."""
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
    name: str,
    regularizer: keras.Regularizer | None = None,
) -> keras.Model:
    probabilities = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_regularizer=regularizer,
        dtype="float32",
        name="probabilities",
    )(_drop(x, dropout))
    return keras.Model(tokens, {"probabilities": probabilities}, name=name)
