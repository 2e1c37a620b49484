"""Random changes of training examples, and which of them a dataset allows."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of a training example, an image or a text, that keep its label valid.

    Attributes:
        flip: Mirror half of the images left to right.
        alternating_flip: Mirror half of the images in the first epoch, the others in the second,
            and so on, so that two epochs show both of each image (Jordan, 2024).
        shift: Largest shift in pixels, in both directions; edges are reflected.
        rotate: Largest rotation in degrees, in both directions; edges are reflected.
        zoom: Largest change of scale, as a fraction below 1: 0.2 is from 0.8 to 1.2.
        brightness: Largest change of brightness, as a fraction of full white.
        contrast: Largest change of the distance from the image's mean, as a fraction.
        saturation: Largest change of the distance from grey, as a fraction.
        erase: Side of a square that is set to grey, as a fraction of the image's (DeVries and
            Taylor, 2017).
        flip_at_test: Answer with the mean over an image and its mirror image, in evaluation and in
            the export; training and validation do not change.
        drop_words: Share of a text's words that become the unknown word (Iyyer et al., 2015).
    """

    flip: bool = False
    alternating_flip: bool = False
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    flip_at_test: bool = False
    drop_words: float = 0.0

    @property
    def in_training(self) -> dict[str, float]:
        """The changes of training examples that are used, with their values."""
        used = {name: value for name, value in vars(self).items() if value}
        return {name: value for name, value in used.items() if name != "flip_at_test"}

    def check(self, dataset: str, shape: tuple[int, ...], texts: bool) -> None:
        """Refuses changes that would fail, or be ignored, in training.

        Args:
            dataset: Name of the dataset.
            shape: (height, width, channels) of images; another length for other inputs.
            texts: Whether the inputs are texts.

        Raises:
            ValueError: A change does not fit the inputs, or is out of range.
        """
        if self.flip and self.alternating_flip:
            raise ValueError(
                f"{dataset} with flip and alternating_flip: use one of them, such as flip=false"
            )
        for name, value in vars(self).items():
            if not value:
                continue
            if not (texts if name == "drop_words" else len(shape) == 3):
                wanted = "texts" if name == "drop_words" else "images"
                raise ValueError(
                    f"{dataset} with {name}={value}: it changes only {wanted}; use {name}=0"
                )
            # A shift reflects at most the whole image without its edge; a zoom of 1 divides by 0.
            limits = {"rotate": 180, "zoom": 0.99, "shift": min(shape[:2], default=1) - 1}
            limit = limits.get(name, 1)
            if not 0 <= value <= limit or (name == "shift" and isinstance(value, float)):
                whole = "a whole number" if name == "shift" else "a number"
                raise ValueError(
                    f"{dataset} with {name}={value}: expected {whole} from 0 to {limit}"
                )
