"""What models are measured by: metrics with intervals, baselines, the verdict."""

from .verdict import Target

__all__ = ["Target"]
