"""The commands of `fracture-models`, one module each."""
