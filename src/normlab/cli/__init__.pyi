from . import app as app
from . import claim_list as claim_list
<<<<<<< HEAD
from . import diagnosis as diagnosis
from . import comparing as comparing
=======
from . import comparing as comparing
from . import diagnosis as diagnosis
>>>>>>> i11-doctorb
from . import guidance as guidance
from . import judging as judging
from . import ledger as ledger
from . import norm_table as norm_table
from . import probe_table as probe_table
from . import profiling as profiling
from . import results as results
from . import study_list as study_list
from . import swapping as swapping
from . import training as training
from .entry import main as main
