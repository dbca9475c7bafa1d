// What is sent and read, as types; generated from the JSON Schemas by clients/generate_types.py.

/**
 * The shopper put the item into the cart.
 */
export interface Cart {
  type: "cart";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  item_id: string;
  shelf_id?: string | null;
  position?: number | null;
  quantity?: number | null;
  price?: number | null;
}

/**
 * The shopper opened the item.
 */
export interface Click {
  type: "click";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  item_id: string;
  shelf_id?: string | null;
  position?: number | null;
  quantity?: number | null;
  price?: number | null;
}

/**
 * The shopper is to be forgotten: all that happened up to the event's time. With both ids, user and session are.
 */
export interface Forget {
  type: "forget";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
}

/**
 * What the shop knows of a shopper: flat attributes, each kept with the event's time, the newest value of each.
 * ``null`` removes an attribute. ``segment`` is a text: popular items are also counted by it.
 */
export interface Profile {
  type: "profile";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  attributes: Record<string, string | number | boolean | null>;
}

/**
 * The shopper bought the item.
 */
export interface Purchase {
  type: "purchase";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  item_id: string;
  shelf_id?: string | null;
  position?: number | null;
  quantity?: number | null;
  price?: number | null;
}

/**
 * The shopper stayed with the item's page: read its text or looked through its pictures.
 */
export interface Read {
  type: "read";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  item_id: string;
  shelf_id?: string | null;
  position?: number | null;
  quantity?: number | null;
  price?: number | null;
}

/**
 * The shopper reviewed an item.
 */
export interface Review {
  type: "review";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  item_id: string;
  rating: number;
  text?: string;
}

/**
 * A shopper searched with a text query, with filters or not; or opened a page of filters alone, as of a category:
 * then there is no query, or a blank one.
 */
export interface Search {
  type: "search";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  query?: string | null;
  query_id?: string | null;
  filters?: Record<string, unknown> | null;
}

/**
 * One ranked item: its utility, the predicted probabilities, and what it owes its place to, ``KIND`` or
 * ``KIND:PART:PART…`` with escaped parts.
 */
export interface ShelfItem {
  item_id: string;
  score: number;
  buy: number;
  read: number;
  look: number;
  reason: string;
}

/**
 * One item of an impression.
 */
export interface Shown {
  item_id: string;
  position: number;
}

/**
 * What a seller pays to have the item shown.
 */
export interface Sponsorship {
  bid: number;
  budget: number;
}

/**
 * What was actually on the shopper's screen.
 */
export interface Impression {
  type: "impression";
  event_id: string;
  ts: string | number;
  user_id?: string | null;
  session_id?: string | null;
  shelf_id: string;
  surface: string;
  items: Array<Shown>;
}

/**
 * One thing that the shop sells. An upsert holds the whole item; a Kafka record without a value deletes it.
 */
export interface Item {
  item_id: string;
  group_id?: string | null;
  title: string;
  description?: string;
  category?: string;
  brand?: string;
  price?: number | null;
  currency?: string;
  in_stock?: boolean;
  attributes?: Record<string, string | number | boolean | Array<string | number | boolean | null> | null>;
  sponsored?: Sponsorship | null;
}

/**
 * The value under a shelf key. Times are epoch milliseconds.
 */
export interface Shelf {
  shelf_id: string;
  surface: string;
  model: string;
  arm: string;
  made_at: number;
  event_ts: number;
  items: Array<ShelfItem>;
}

export type Event = Search | Impression | Click | Read | Cart | Purchase | Review | Profile | Forget;
