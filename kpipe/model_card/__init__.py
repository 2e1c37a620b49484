"""Model cards: what a model is, what it reaches, what it is not for, in Hugging Face's form."""

from .card import NAME, Card, check, summary_of_check, write

__all__ = ["NAME", "Card", "check", "summary_of_check", "write"]
