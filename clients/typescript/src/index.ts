// A client of Liveshelf: events and items to the collector, shelves over HTTP or from Redis, and the keys of shelves.

export * from "./collector.ts";
export * from "./keys.ts";
export * from "./shelves.ts";
export type * from "./types.ts";
