// Which shelf is asked for, the same methods for every way to read; and shelves from Redis. Knows nothing of HTTP.

import { feed, filterKey, popular, search, similar } from "./keys.ts";
import type { Filters } from "./keys.ts";
import type { Shelf } from "./types.ts";

/** A shelf that is asked for; `filtered` is the key of its filters. */
export interface Question {
  surface: "feed" | "search" | "similar" | "popular";
  id: string;
  user?: string | undefined;
  segment?: string | undefined;
  filtered?: string | undefined;
}

/** The Redis keys to ask for, the best first. */
export function chain({ surface, id, user, segment, filtered }: Question): string[] {
  if (surface === "feed") return feed(id, segment, filtered);
  if (surface === "search") return search(id, user, filtered);
  return surface === "similar" ? similar(id, segment) : popular(id, filtered);
}

/** Reads shelves; each method gives the best that there is, or what to show instead, or null. */
export abstract class Shelves {
  protected abstract read(question: Question): Promise<Shelf | null>;

  /** The shopper's feed, else the segment's popular shelf, else the popular shelf of all items. */
  feed(user: string, segment = "all"): Promise<Shelf | null> {
    return this.read({ surface: "feed", id: user, segment });
  }

  /** The shopper's own ranking of the query, else the query's shelf, else the popular shelf; under filters only what
   * passes them. */
  async search(query: string, user?: string, filters?: Filters): Promise<Shelf | null> {
    return this.read({ surface: "search", id: query, user, filtered: await filterKey(filters) });
  }

  /** The shopper's page of what filters keep, else the page for all. */
  async page(filters: Filters, user?: string): Promise<Shelf | null> {
    const filtered = await filterKey(filters);
    if (!filtered) throw new TypeError(`the filters ${JSON.stringify(filters)} ask for nothing`);
    return this.read(user === undefined ? { surface: "popular", id: "all", filtered } : { surface: "feed", id: user, filtered });
  }

  /** Items like this one, else the segment's popular shelf, else the popular shelf of all items. */
  similar(itemId: string, segment = "all"): Promise<Shelf | null> {
    return this.read({ surface: "similar", id: itemId, segment });
  }

  /** The segment's popular shelf, else that of all items. */
  popular(segment = "all"): Promise<Shelf | null> {
    return this.read({ surface: "popular", id: segment });
  }
}

/** What is needed of a client of Redis: ioredis and node-redis have it. */
export interface RedisClient {
  get(key: string): Promise<string | null>;
}

/** Reads with a client of Redis; it sends the keys of a chain at once, wherever a cluster holds them. */
export class RedisShelves extends Shelves {
  readonly #redis: RedisClient;

  constructor(redis: RedisClient) {
    super();
    this.#redis = redis;
  }

  protected async read(question: Question): Promise<Shelf | null> {
    const values = await Promise.all(chain(question).map((key) => this.#redis.get(key)));
    const found = values.find((value) => value !== null && value !== undefined);
    return found ? (JSON.parse(found) as Shelf) : null;
  }
}
