"""Experiments: a pipeline by its name, its keys and data, and a run of it from data to report."""
