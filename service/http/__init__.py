"""The REST interface over HTTP: the app, its middleware, what reads requests and what writes replies."""
