"""The REST interface over HTTP: the app, its middleware, request parsing and replies."""
