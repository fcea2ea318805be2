"""The main job, shown on one machine: an archive, the node, studies in, results out."""
