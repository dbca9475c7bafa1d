"""A client of Liveshelf: events and items to the collector (`liveshelf_client.http`), shelves over HTTP or from Redis
(`liveshelf_client.shelves`), keys of shelves (`liveshelf_client.keys`), and types (`liveshelf_client.types`)."""

__version__ = "0.1.0"
