"""The operations of the REST interface, one file per noun."""
