"""Event Driven Connectivity: live market data in, one trusted file a day out."""

__version__ = "0.1.0"
