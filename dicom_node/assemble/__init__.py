"""Second stage: is the study complete, and which of its instances are radiographs to analyse."""
