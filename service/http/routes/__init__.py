"""The operations of the REST interface, one file a noun."""
