from .group import StackedRuns as StackedRuns
from .group import train_group as train_group
from .obstacle import bytes_per_replica as bytes_per_replica
from .obstacle import find_obstacle as find_obstacle
from .stacked_model import StackedModel as StackedModel
