"""The REST service: app, batching, index, web page, client and command line."""

import connectors  # noqa: F401 - first: it sets how torch's threads wait, which is read when torch is imported
