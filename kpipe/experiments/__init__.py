"""Experiments: finding a pipeline, resolving its keys and data, running it from data to report."""
