"""What is wrong with the node, found in one place, and told to a webhook and by e-mail: raised, repeated, over."""
