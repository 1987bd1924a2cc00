from . import app as app
from . import claim_list as claim_list
from . import norm_table as norm_table
from . import profiling as profiling
from . import results as results
from . import study_list as study_list
from . import training as training
from .entry import main as main
