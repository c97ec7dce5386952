"""Measures zapvisor, each figure beside its baseline in the same run: `python -m bench`."""
