"""Where the accepted statistics of spans of data lie: `SPANS/SPAN/TIME/FeatureStats.pb`.

Read without TFX and TensorFlow; on an object store it needs TensorFlow's or fsspec's access to
that.
"""

from etils import epath

STATISTICS = "FeatureStats.pb"
"""TFX's name of the file with the statistics of a split."""

ACCEPTED_AT = "%Y%m%dT%H%M%S.%fZ"
"""Name of a folder of accepted statistics: when that was (UTC)."""


def newest_accepted(spans: str, before: int) -> str:
    """The folder of the statistics that were accepted last for the newest span before one; ''
    where there are none.

    spans: folder of the accepted statistics of all spans.
    """
    found = [path.parent for path in epath.Path(spans).glob(f"*/*/{STATISTICS}")]
    order = {(int(folder.parent.name), folder.name): folder for folder in found}
    earlier = [key for key in order if key[0] < before]
    return str(order[max(earlier)]) if earlier else ""
