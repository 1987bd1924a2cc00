"""Which normalization layer should my model use? Paired many-seed experiments, statistics and verdicts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
