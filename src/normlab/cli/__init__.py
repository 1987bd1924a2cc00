"""The command line: a file for each command, which builds a study, calls functions and prints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
