"""Third stage: from the radiographs of a study to what the models say about them."""
