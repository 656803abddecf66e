"""ganlib: the reusable half of a notebook course on generative adversarial networks.

Import what you need from the module that is named after it, for example
``from ganlib.models import Generator``. Importing ``ganlib`` itself loads nothing.
"""

import os

__version__ = "0.1.0"

# torch's worker threads wait for each other by spinning: a second busy program on the
# same cores then stalls a run almost completely. With a spin limit, they sleep after a
# moment instead. It takes effect only if it is set before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
