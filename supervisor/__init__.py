"""The host: supervision library, configuration, command line."""

__version__ = "0.1.0"
