"""The terms of the generative story, each a function called inside an open `pm.Model`."""
