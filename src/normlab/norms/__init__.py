"""Normalization layers: the catalogue, the layers themselves, and what can be done to the statistics they keep."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
