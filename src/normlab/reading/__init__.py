"""One reader of what users write: references, options, numbers, sizes, layouts, devices, paths and TOML."""

from normlab.reading.options import option_texts as option_texts
from normlab.reading.options import split_options as split_options
from normlab.reading.options import truth as truth
from normlab.reading.options import whole_number as whole_number
from normlab.reading.places import device as device
from normlab.reading.places import path as path
from normlab.reading.quantities import read_seconds as read_seconds
from normlab.reading.quantities import read_size as read_size
from normlab.reading.references import called as called
from normlab.reading.references import described as described
from normlab.reading.references import find as find
from normlab.reading.references import importable_from as importable_from
from normlab.reading.references import imported as imported
from normlab.reading.references import loaded as loaded
from normlab.reading.shapes import are_sizes as are_sizes
from normlab.reading.shapes import layout as layout
from normlab.reading.shapes import mebibytes as mebibytes
from normlab.reading.shapes import sizes as sizes
from normlab.reading.toml import flattened as flattened
from normlab.reading.toml import toml_table as toml_table
from normlab.reading.toml import toml_value as toml_value
