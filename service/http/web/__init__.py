"""The web page at `/`: its files in `static/`, and the routes that serve them and what only it needs."""
