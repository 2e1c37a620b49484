"""How texts become token ids."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Vectorization:
    """How texts become token ids; the vocabulary comes from the train split only.

    Attributes:
        vocabulary_size: Maximum number of token ids: padding (0), the unknown word (1) and the most
            frequent words of train.
        max_length: Maximum number of tokens kept of a text, from its start; fewer if 99 % of the
            train texts are shorter.
        embeddings: GloVe or word2vec text file whose vectors initialize the embedding, or "".
        text_column: Name of the column of texts in the user's file, or "".
    """

    vocabulary_size: int = 20_000
    max_length: int = 256
    embeddings: str = ""
    text_column: str = ""
