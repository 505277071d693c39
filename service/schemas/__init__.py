"""The bodies of requests and replies: one model for the routes, OpenAPI and the client."""
