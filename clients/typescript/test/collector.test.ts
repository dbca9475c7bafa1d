// The collector's client: on answers that are given here, and on a real collector where the environment names one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Collector, prepared, RedisShelves, RefusedError, UnavailableError } from "../src/index.ts";
import type { NewEvent } from "../src/index.ts";

const click: NewEvent = { type: "click", user_id: "u1", item_id: "i1" };
const taken = () => Response.json({ accepted: 1, refused: 0, refusals: [] }, { status: 202 });
const away = () => Response.json({ error: "Kafka is away" }, { status: 503, headers: { "Retry-After": "0" } });

/** A collector whose answers are given, the last one for ever; and the bodies that it was sent. */
function told(...answers: Array<() => Response>): { shop: Collector; bodies: string[] } {
  const bodies: string[] = [];
  const fetch = async (_: unknown, init?: RequestInit): Promise<Response> => {
    bodies.push(String(init?.body));
    return answers[Math.min(bodies.length, answers.length) - 1]!();
  };
  return { shop: new Collector("http://shop.example/", { attempts: 3, firstWaitMs: 1, fetch }), bodies };
}

test("an event has an id and a time, once", () => {
  const event = prepared(click);
  assert.deepEqual(prepared(event), event);
  assert.ok(event.event_id && event.ts);
});

test("what cannot be taken now is sent again with the same ids", async () => {
  const broken = (): Response => {
    throw new TypeError("fetch failed");
  };
  const { shop, bodies } = told(away, broken, taken);
  assert.equal((await shop.send([click])).accepted, 1);
  assert.equal(bodies.length, 3);
  assert.equal(new Set(bodies).size, 1);
});

test("what was not taken at last is given back with its ids", async () => {
  const { shop, bodies } = told(away);
  const error = await shop.send([click]).catch((found: unknown) => found);
  assert.ok(error instanceof UnavailableError && error.message.includes("Kafka is away"));
  assert.deepEqual(JSON.parse(bodies[0]!), error.unsent[0]);
  await assert.rejects(shop.feed("u1"), UnavailableError);
  assert.equal(bodies.length, 4, "a page does not wait");
});

test("refusals are told by their place, and other answers are errors", async () => {
  const refusals = [{ line: 1, reason: "invalid", detail: "why" }];
  const refusing = () => Response.json({ accepted: 0, refused: 1, refusals }, { status: 400 });
  const { shop, bodies } = told(taken, refusing);
  const answer = await shop.send(Array.from({ length: 1_001 }, () => click));
  assert.deepEqual(answer, { accepted: 1, refused: 1, refusals: [{ line: 1_001, reason: "invalid", detail: "why" }] });
  assert.equal(bodies.length, 2);
  for (const body of ["", "[]", "null", "{}", "<html>", '{"error": "no"}']) {
    const { shop: other } = told(() => new Response(body, { status: 202 }));
    await assert.rejects(other.forget({ user_id: "u1" }), RefusedError);
    await assert.rejects(other.send([click]), RefusedError);
  }
});

test("an event that is no JSON leaves nothing sent", async () => {
  const { shop, bodies } = told(taken);
  const wrong = { ...click, price: 1n } as unknown as NewEvent;
  await assert.rejects(shop.send([...Array.from({ length: 1_500 }, () => click), wrong]), TypeError);
  assert.equal(bodies.length, 0);
});

test("shelves of Redis are read by their chain", async () => {
  const asked: string[] = [];
  const get = async (key: string): Promise<string | null> => {
    asked.push(key);
    return key === "shelf:popular:all" ? '{"shelf_id": "s"}' : null;
  };
  const shelves = new RedisShelves({ get });
  assert.equal((await shelves.feed("u1"))?.shelf_id, "s");
  assert.equal(await shelves.page({ brand: "Acme" }, "u1"), null);
  assert.deepEqual(asked.slice(2), ["shelf:feed:u1:brand=acme", "shelf:popular:brand=acme"]);
  await assert.rejects(shelves.page({ price: "cheap" }), TypeError);
});

const { COLLECTOR: url, COLLECTOR_KEY: key, SHOPPER: shopper, SHELF_ID: shelfId } = process.env;

test("a real collector", { skip: url === undefined && "COLLECTOR names none" }, async () => {
  const shop = new Collector(url!, { key: key!, shelfTimeoutMs: 60_000 });
  const answer = await shop.send([{ ...click, event_id: `ts-${shopper}`, user_id: shopper! }, { ...click, item_id: "" }]);
  assert.deepEqual([answer.accepted, answer.refused, answer.refusals[0]!.line], [1, 1, 2]);
  assert.equal((await shop.putItems([{ item_id: "a/é", title: "Lamp" }])).accepted, 1);
  await shop.deleteItem("a/é");
  assert.ok(await shop.forget({ session_id: `s-${shopper}` }));
  assert.equal((await shop.feed(shopper!))?.shelf_id, shelfId);
  assert.equal(await shop.search("nobody asked this", undefined, { brand: "x" }), null);
  await assert.rejects(new Collector(url!, { key: "wrong" }).send([click]), RefusedError);
});
