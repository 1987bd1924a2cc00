from .group import Program as Program
from .group import Trained as Trained
from .group import group_size as group_size
from .group import make_program as make_program
from .group import shortened as shortened
from .group import train_group as train_group
from .group import unpack as unpack
