// Sends events and items to Liveshelf's collector and reads shelves from it. What the collector cannot take now is sent
// again with the same ids, so that nothing counts twice.

import { escape } from "./keys.ts";
import { Shelves } from "./shelves.ts";
import type { Question } from "./shelves.ts";
import type { Event, Item, Shelf } from "./types.ts";

const mostObjects = 1_000;
const mostBytes = 900_000;
const longestWaitMs = 60_000;
const again = new Set([408, 429, 502, 503, 504]);
const counted = ["accepted", "refused", "refusals"];

type WithoutIds<E> = E extends Event ? Omit<E, "event_id" | "ts"> & Partial<Pick<E, "event_id" | "ts">> : never;
/** An event that may lack its id and its time: it gets both when it is sent, once. */
export type NewEvent = WithoutIds<Event>;

/** One that was refused: its place in what was sent, from 1, a code, and a sentence. */
export interface Refused {
  line: number;
  reason: string;
  detail: string;
}

/** How many objects were taken, and why others were refused; at most a hundred of each request are told. */
export interface Answer {
  accepted: number;
  refused: number;
  refusals: Refused[];
}

/** The collector will not take the request as it is. */
export class RefusedError extends Error {
  readonly status: number;

  constructor(status: number, error: string) {
    super(`${status}: ${error}`);
    this.name = "RefusedError";
    this.status = status;
  }
}

/** The collector could not be reached, or could not take it, however often it was tried. */
export class UnavailableError extends Error {
  /** What was not acknowledged, with the ids that it was sent with: send it again later as it is. */
  readonly unsent: readonly object[];

  constructor(why: string, unsent: readonly object[] = []) {
    super(why);
    this.name = "UnavailableError";
    this.unsent = unsent;
  }
}

export interface CollectorOptions {
  key?: string;
  /** How often the same is sent while the collector cannot take it; 6. */
  attempts?: number;
  /** About how long before the second time; twice as long each time. 500. */
  firstWaitMs?: number;
  /** How long an answer may take; 10,000. */
  timeoutMs?: number;
  /** How long a shelf may take, which is asked for once; 500. */
  shelfTimeoutMs?: number;
  fetch?: typeof globalThis.fetch;
}

interface Reply {
  status: number;
  retryAfter: string;
  text: string;
}

/** The event with an id and a time; those that it has are kept. */
export function prepared(event: NewEvent): Event {
  return { event_id: globalThis.crypto.randomUUID(), ts: Date.now(), ...event } as Event;
}

/** A collector, by its address and key. */
export class Collector extends Shelves {
  readonly #url: string;
  readonly #options: Required<Omit<CollectorOptions, "key">>;
  readonly #headers: Record<string, string>;

  constructor(url: string, options: CollectorOptions = {}) {
    super();
    this.#url = url.replace(/\/+$/, "");
    this.#headers = options.key ? { Authorization: `Bearer ${options.key}` } : {};
    const defaults = { attempts: 6, firstWaitMs: 500, timeoutMs: 10_000, shelfTimeoutMs: 500 };
    this.#options = { ...defaults, fetch: (...given) => globalThis.fetch(...given), ...options };
  }

  /** Send what shoppers do. */
  send(events: Iterable<NewEvent>): Promise<Answer> {
    return this.#batches("/events", Array.from(events, prepared));
  }

  /** Upsert items; each is complete. */
  putItems(items: Iterable<Item>): Promise<Answer> {
    return this.#batches("/items", [...items]);
  }

  /** Delete an item. */
  async deleteItem(itemId: string): Promise<void> {
    told(await this.#tried("DELETE", `/items/${escape(itemId)}`, undefined, []), [202], counted);
  }

  /** Have a shopper forgotten; the id of the event that the receipt names. */
  async forget(shopper: { user_id?: string; session_id?: string }): Promise<string> {
    const body = JSON.stringify({ event_id: globalThis.crypto.randomUUID(), ts: Date.now(), ...shopper });
    return (told(await this.#tried("POST", "/forget", body, []), [202], ["event_id"]) as { event_id: string }).event_id;
  }

  protected async read({ surface, id, user, segment, filtered }: Question): Promise<Shelf | null> {
    const params = new URLSearchParams();
    if (user !== undefined) params.set("user", user);
    if (segment !== undefined && segment !== "all") params.set("segment", segment);
    if (filtered) params.set("filter", filtered);
    const path = `/shelf/${surface}/${escape(id)}${params.size ? `?${params}` : ""}`;
    const reply = await this.#once("GET", path, undefined, this.#options.shelfTimeoutMs);
    if (typeof reply === "string") throw new UnavailableError(`the collector does not answer: ${reply}`);
    if (again.has(reply.status)) throw new UnavailableError(`the collector answers ${reply.status}: ${errorOf(reply)}`);
    return reply.status === 404 ? null : (told(reply, [200], ["items"]) as Shelf);
  }

  async #batches(path: string, objects: readonly object[]): Promise<Answer> {
    const answer: Answer = { accepted: 0, refused: 0, refusals: [] };
    const encoder = new TextEncoder();
    const every = objects.map((one) => `${JSON.stringify(one)}\n`); // first all: one that is no JSON must not leave others sent
    for (let before = 0; before < objects.length; ) {
      const lines: string[] = [];
      let size = 0;
      for (const line of every.slice(before, before + mostObjects)) {
        const bytes = encoder.encode(line).length;
        if (lines.length && size + bytes > mostBytes) break;
        lines.push(line);
        size += bytes;
      }
      const reply = await this.#tried("POST", path, lines.join(""), objects.slice(before));
      const found = told(reply, [202, 400], counted) as Answer;
      answer.accepted += found.accepted;
      answer.refused += found.refused;
      for (const one of found.refusals) answer.refusals.push({ ...one, line: one.line + before });
      before += lines.length;
    }
    return answer;
  }

  async #tried(method: string, path: string, body: string | undefined, unsent: readonly object[]): Promise<Reply> {
    const { attempts, firstWaitMs, timeoutMs } = this.#options;
    let why = "it was not tried";
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const reply = await this.#once(method, path, body, timeoutMs);
      if (typeof reply !== "string" && !again.has(reply.status)) return reply;
      why =
        typeof reply === "string"
          ? `the collector does not answer: ${reply}`
          : `the collector answers ${reply.status}: ${errorOf(reply)}`;
      if (attempt + 1 < attempts) {
        const asked = typeof reply !== "string" && /^\d+$/.test(reply.retryAfter) ? 1000 * Number(reply.retryAfter) : 0;
        const wait = Math.max(asked, firstWaitMs * 2 ** attempt * (0.5 + Math.random() / 2));
        await new Promise((done) => setTimeout(done, Math.min(wait, longestWaitMs)));
      }
    }
    throw new UnavailableError(`${why}; tried ${attempts} times`, unsent);
  }

  /** A reply, or why there is none. */
  async #once(method: string, path: string, body: string | undefined, timeoutMs: number): Promise<Reply | string> {
    const type: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/x-ndjson" };
    const content = body === undefined ? {} : { body };
    try {
      const headers = { ...this.#headers, ...type };
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await this.#options.fetch(`${this.#url}${path}`, { method, headers, signal, ...content });
      const text = await response.text();
      return { status: response.status, retryAfter: response.headers.get("Retry-After") ?? "", text };
    } catch (error) {
      return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    }
  }
}

/** What an answer says; an error where it says another status, or has not the form of one, with these names. */
function told(reply: Reply, wanted: readonly number[], names: readonly string[]): object {
  if (wanted.includes(reply.status)) {
    const found = parsed(reply.text);
    if (found !== undefined && !("error" in found) && names.every((name) => name in found)) return found;
  }
  throw new RefusedError(reply.status, errorOf(reply));
}

function errorOf(reply: Reply): string {
  const found = parsed(reply.text);
  return found !== undefined && "error" in found ? String(found.error) : reply.text.slice(0, 200);
}

function parsed(text: string): object | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null && !Array.isArray(found) ? found : undefined;
  } catch {
    return undefined;
  }
}
