"""The models of tasks whose forward pass is no chain; loaded on first use, because torch takes seconds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
