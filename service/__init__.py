"""The REST service: app, batching, index, web page, client and command line."""

import os

# Before torch is imported: its threads sleep where they wait for each other. By default they spin, and on
# cores that the event loop and the decoders want too, a batch then takes many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
