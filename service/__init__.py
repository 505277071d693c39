"""The REST service: app, batching, index, web page, client and command line."""

import os

# Before torch is imported: how often its threads look for their next step before they sleep (some 10 us).
# Sleeping at once makes a batch of one take twice as long; looking for milliseconds, which is the default,
# takes the core from the event loop and the decoders.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
