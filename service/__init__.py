"""The REST service: app, batching, index, web page, client and command line."""
