"""A user study: people choose between pictures of several methods, blinded and balanced; what their choices say."""
