"""What is told of a button or a name that a pointer rests on, where nothing beside it says so already."""

from __future__ import annotations

from codiff.editing.editors import EDITORS

_PICTURE = "The picture that you look at, as PNG; it remembers how it was made"

HINTS: dict[str, str] = {
    "[data-tab-id=generate]": "Make new faces",
    "[data-tab-id=inside]": "Which model decided what in the picture that you made last",
    "[data-tab-id=edit]": "Change the face in a photo of yours, and keep the person",
    "#generate-run": "Draw what is written and painted, by all models that are switched on",
    "#generate-cancel, #inside-cancel": "Stops within a step; nothing of it is kept",
    "#edit-cancel": "Stops within a step; what was learned of your photo is kept, and the next edit goes on from there",
    "#generate-picture, #edit-picture": _PICTURE,
    "#generate-archive": "All pictures, the conditions that they were made from, and the settings",
    "#generate-settings": "All of this form, also what was painted: Open settings restores it",
    "#generate-inside": "Which model decided what in this picture",
    "#generate-dice, #edit-dice": "Another seed, by chance",
    "#generate-more button, #edit-more button": "Steps, guidance, sampler, combination: good as they are for a start",
    "#generate-steer > button": "Give a model more or less influence than it has learned, also where you paint",
    "#generate-steer-reset": "All sliders to where they change nothing, and all that is painted here removed",
    "#generate-steer [role=tab]": "The influence of this model, against the others",
    "#generate-steer .sheet": "Red: this model decides more here; blue: less; neither: as it has learned",
    "[id$=-random]": "Fill this with a drawn face, by chance",
    "#inside-picture": "Which of the pictures that were made together is shown here",
    "#inside-overlays": "Influence: the share of what this model would change that is done here. Brighter is more",
    "#inside-maps": "Influence: the share of what this model would change that is done, black for none of it",
    "#inside-curve": "Influence of each model as the picture emerges from noise, the mean over all places",
    "#inside-conflict": "Conflict: how far apart the pictures are that the models foresee here",
    "#inside-compare": "Combination: each way in which the models can share the decision, from the same noise",
    "#inside-archive": "All of these pictures, and the settings",
    "#edit-run": "Change the photo towards what is written and painted",
    "#edit-region .sheet": "Red: the picture may change here; elsewhere the photo stays as it is",
    "#edit-archive": "The edit, the conditions that it was made from, the strengths that were tried, and the settings",
    "#edit-settings": "All of this form but the photo: Open settings restores it",
    "#edit-face": "The face that is edited; all others stay as they are",
    "#edit-views": "Which picture stands beside the photo in the slider",
    **{f"#edit-editor label:has([value={name}])": editor.purpose for name, editor in EDITORS.items()},
}
"""Selector of what is on the page -> plain words. What `hinted` inputs and pickers tell is theirs."""
