"""The command ``liveshelf forget``: sends a ``forget`` event and waits until a worker has obeyed it."""

import sys
import time
import uuid
from typing import Annotated

import msgspec
import typer

from liveshelf.terminal import explain_errors, reached, settings
from streams.events.schema import Forget, Id, encoder

LOOK_EVERY_S = 0.1


def forget(
    user: Annotated[str, typer.Argument(help="The user's id; of somebody who never logged in the session's.")],
    session: Annotated[str | None, typer.Option(help="A session to forget as well.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="How many seconds to wait for a worker.")] = 60.0,
) -> None:
    """Forget a shopper: memory, profile, shelves, and examples for training. Prints a receipt as JSON.

    What is forgotten and what stays is in docs/privacy.md. Example: `liveshelf forget u1 --session s1`
    """
    named = [_checked(user, "USER"), *([] if session is None else [_checked(session, "--session")])]
    from liveshelf.ingest.batch_producer import BatchProducer
    from streams.clock import wall_ms
    from streams.events import receipt
    from streams.features.shopper import shard
    from streams.kafka.topics import Topics
    from streams.redis.connection import connect_now
    from streams.redis.keys import own

    event = Forget(event_id=f"forget-{uuid.uuid4().hex}", ts=wall_ms(), user_id=user, session_id=session)
    with explain_errors():
        config = reached(settings())
        topic = Topics(config.topics.prefix).events
        producer = BatchProducer(config.kafka, topic, config.topics.max_message_bytes)
        producer.send(user.encode(), encoder.encode(event))
        producer.close()
        if producer.failed:
            typer.echo(f"{topic} did not take the event ({', '.join(producer.failed)}): nothing is forgotten", err=True)
            raise typer.Exit(1)
        key = own(shard(named[0], config.state.shards), "forgotten", named[0])
        deadline = time.monotonic() + wait
        with connect_now(config.redis) as redis:
            while True:
                kept = redis.hget(key, "receipt")
                if isinstance(kept, bytes) and receipt.decoder.decode(kept).event_id == event.event_id:
                    sys.stdout.write(kept.decode() + "\n")
                    return
                if time.monotonic() >= deadline:
                    break
                time.sleep(LOOK_EVERY_S)
    typer.echo(
        f"No worker has answered within {wait:g} s. The event is on {topic}: the next worker that reads it obeys it, "
        "and the receipt is then on liveshelf.forgotten. Is a worker running (liveshelf status)?",
        err=True,
    )
    raise typer.Exit(1)


def _checked(name: str, option: str) -> str:
    """An id; BadParameter for what is none."""
    try:
        name.encode()
        return msgspec.convert(name, Id)
    except (UnicodeEncodeError, msgspec.ValidationError):
        raise typer.BadParameter(
            "an id is 1 to 256 characters, none of them a control character", param_hint=option
        ) from None
