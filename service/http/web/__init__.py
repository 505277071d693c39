"""The web page at `/`: its files in `static/`, and the routes for them and for what only the page needs."""
