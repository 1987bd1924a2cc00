from . import terminal as terminal
from .claims.spec import Claim as Claim
from .claims.spec import Comparative as Comparative
from .claims.spec import Threshold as Threshold
from .errors import ExecutionError as ExecutionError
from .errors import InputError as InputError
from .errors import NormlabError as NormlabError
from .errors import StudyError as StudyError
from .execute.run import Progress as Progress
from .norms.spec import NormSpec as NormSpec
from .norms.spec import Option as Option
from .probes.spec import Probe as Probe
from .records import Measure as Measure
from .records import Setting as Setting
from .records import Slot as Slot
from .results import Results as Results
from .results import load as load
from .results import run as run
from .studies.library import load_study as load_study
from .study import Analysis as Analysis
from .study import Margins as Margins
from .study import Study as Study
from .tasks.data import Data as Data
from .tasks.data import Part as Part
from .tasks.mlp import PerceptronTask as PerceptronTask
from .tasks.spec import Task as Task

__version__: str
