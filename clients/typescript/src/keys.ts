// The Redis keys of shelves: how ids, queries and filters stand in them, and which to ask for in which order.
// Pure. docs/shelf-keys.json and docs/filter-keys.json have cases that every implementation is tested with.

/** Filters of a search or a page, as in a search event: names, and what is wanted of them. */
export type Filters = Readonly<Record<string, unknown>>;

const own = new Set(["category", "brand", "price", "in_stock"]);
const mostMembers = 64;
const mostValues = 256;
const longest = 256;

/** One part of a key; half a surrogate pair, which no UTF-8 holds, becomes a question mark. */
export function escape(part: string): string {
  return encodeURIComponent(part.replace(/\p{Surrogate}/gu, "?"));
}

/** A query as it stands in keys: NFKC, lower case, single spaces. */
export function normalise(query: string): string {
  return query
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[\s\x1c-\x1f\x85]+/g, " ")
    .trim();
}

/** The shopper's feed, else what is popular; under a filter its pages alone. */
export function feed(shopper: string, segment = "all", filtered = ""): string[] {
  return [`shelf:feed:${escape(shopper)}${part(filtered)}`, ...popular(segment, filtered)];
}

/** The shopper's own ranking of the query, else the query's shelf, else, without a filter, what is popular. */
export function search(query: string, shopper?: string, filtered = ""): string[] {
  const key = `shelf:search:${escape(normalise(query))}${part(filtered)}`;
  const personal = shopper === undefined ? [] : [`${key}:${escape(shopper)}`];
  return [...personal, key, ...(filtered ? [] : popular())];
}

/** Items like this one, else what is popular. */
export function similar(itemId: string, segment = "all"): string[] {
  return [`shelf:similar:${escape(itemId)}`, ...popular(segment)];
}

/** The segment's popular shelf, else that of all items; under a filter its page for all alone. */
export function popular(segment = "all", filtered = ""): string[] {
  if (filtered) return [`shelf:popular:${filtered}`];
  return [...new Set([`shelf:popular:${escape(segment)}`, "shelf:popular:all"])];
}

/**
 * The part of a key that names filters: their canonical form, or # and its SHA-256 if that is long; empty where nothing
 * is asked. A member that no filter can be made of is left out, as Liveshelf leaves it out.
 */
export async function filterKey(filters?: Filters | null): Promise<string> {
  const text = canonical(filters ?? {});
  if (text.length <= longest) return text;
  const digest = new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `#${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function part(filtered: string): string {
  return filtered ? `:${filtered}` : "";
}

function canonical(filters: Filters): string {
  const members = Object.entries(filters);
  const values = new Map<string, Set<string>>();
  const terms = new Set<string>();
  for (const [given, asked] of members.length > mostMembers ? [] : members) {
    const name = fold(given);
    if (asked !== null && typeof asked === "object" && !Array.isArray(asked)) {
      for (const term of range(name, asked as Record<string, unknown>) ?? []) terms.add(term);
      continue;
    }
    const found = wanted(name, asked) ?? [];
    if (found.length) values.set(name, new Set([...(values.get(name) ?? []), ...found]));
  }
  for (const [name, some] of values) {
    const escaped = [...some].map((value) => (name === "category" ? escape(value).replaceAll("%3E", ">") : escape(value)));
    terms.add(`${escape(name)}=${escaped.sort().join(",")}`);
  }
  return [...terms].sort().join("&");
}

function fold(text: string): string {
  return normalise(normalise(text));
}

/** The values that a member asks for; undefined where it is malformed. */
function wanted(name: string, asked: unknown): string[] | undefined {
  const given: unknown[] = Array.isArray(asked) ? asked : [asked];
  const members = given.filter((one) => one !== null);
  if (!name || given.length > mostValues || (name === "price" && members.length)) return undefined;
  if (name === "in_stock") {
    if (!members.every((one) => typeof one === "boolean")) return undefined;
    return given.length && given.every(Boolean) ? ["true"] : [];
  }
  const found = members.map(name === "category" ? path : scalar);
  return found.every((one) => one !== undefined) ? found.filter(Boolean) : undefined;
}

function path(value: unknown): string | undefined {
  const text: unknown = Array.isArray(value) && value.every((one) => typeof one === "string") ? value.join(">") : value;
  if (typeof text !== "string") return undefined;
  return fold(text)
    .split(">")
    .map((name) => name.trim())
    .filter(Boolean)
    .join(">");
}

function scalar(value: unknown): string | undefined {
  if (typeof value === "string") return fold(value);
  return typeof value === "boolean" || Number.isFinite(value) ? String(value) : undefined;
}

function range(name: string, asked: Record<string, unknown>): string[] | undefined {
  if (!name || (own.has(name) && name !== "price")) return undefined;
  if (!Object.keys(asked).every((side) => side === "min" || side === "max")) return undefined;
  const bounds = ([[">=", asked.min], ["<=", asked.max]] as const).filter(([, bound]) => bound !== null && bound !== undefined);
  if (!bounds.every(([, bound]) => Number.isFinite(bound))) return undefined;
  return bounds.map(([sign, bound]) => `${escape(name)}${sign}${escape(String(bound))}`);
}
