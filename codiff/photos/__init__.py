"""Faces in people's own photos: found, cut out as the models know them, and put back."""
