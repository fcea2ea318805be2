"""What people need to run the node: health, doctor, status, demonstration."""
