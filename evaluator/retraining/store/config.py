"""Settings of the examples on disk: where, for how long, how many, and how soon they are safe."""

from streams.config import Config, Count, Seconds


class ExamplesConfig(Config):
    """Examples of one ``span_s`` of event time make a segment, which goes ``keep_s`` after its end, or sooner where all
    are more than ``keep_bytes``. They are held in memory until there are ``flush_rows`` or ``flush_bytes`` of them, or
    for ``flush_s``. ``rehearsal`` examples of all history are kept beside.
    """

    folder: str = ".liveshelf/examples"
    span_s: Count = 3_600
    keep_s: Seconds = 90 * 86_400.0
    keep_bytes: Count = 20_000_000_000
    flush_rows: Count = 20_000
    flush_bytes: Count = 64_000_000
    flush_s: Seconds = 60.0
    rehearsal: Count = 20_000
