"""mien: facial expression recognition, offline, measured and reproducible."""

__version__ = "0.1.0"
