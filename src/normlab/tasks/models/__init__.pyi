from .federated import Federation as Federation
from .parts import ScaledLinear as ScaledLinear
from .parts import activation as activation
from .parts import start_gain as start_gain
from .recurrent import RecurrentNet as RecurrentNet
from .residual import ResidualNet as ResidualNet
from .transformer import Transformer as Transformer
