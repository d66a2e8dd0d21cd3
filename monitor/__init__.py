"""The daemon, and every contract that it shares with training and the dashboard."""

__version__ = "0.1.0"
