"""How much the node does, how fast, and whether what it sees still looks like what its models know."""
