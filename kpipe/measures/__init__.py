"""Measures of models: metrics with intervals, baselines, the verdict."""

from .verdict import Target

__all__ = ["Target"]
