"""Load over real sockets: what is sent, the loops that send it, the servers it is sent to."""
