"""Hyperparameter search: keras-tuner's oracles choose, engines train, a folder remembers."""
