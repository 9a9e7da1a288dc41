"""A model as it was judged, for reports."""

from trainer.models.judged import Judged, JudgedInput, JudgedOutput

JUDGED = Judged(
    file="/m",
    format="SavedModel",
    signature="serving_[default]",
    input=JudgedInput(
        name="x", shape=(None, 28, None, 1), dtype="float32", channels="first", pixels="0:255"
    ),
    output=JudgedOutput(name="z", dtype="float16", taken_off=("softmax", "tanh"), single=False),
    classes=2,
    class_names=("cat", "dog"),
    named_by="--classes",
)
