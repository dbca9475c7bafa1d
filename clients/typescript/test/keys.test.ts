// The documented cases: the same for every implementation.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { filterKey } from "../src/keys.ts";
import type { Filters } from "../src/keys.ts";
import { chain } from "../src/shelves.ts";
import type { Question } from "../src/shelves.ts";

interface FilterCase {
  about: string;
  filters: Filters;
  key: string;
}

interface Case extends Question {
  about: string;
  filters?: Filters;
  keys: string[];
}

function cases<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../../docs/${name}`, import.meta.url), "utf8")) as T[];
}

test("documented shelves have the documented keys", async () => {
  for (const { about, filters, keys, ...question } of cases<Case>("shelf-keys.json")) {
    assert.deepEqual(chain({ ...question, filtered: await filterKey(filters) }), keys, about);
  }
});

test("documented filters have the documented keys", async () => {
  for (const { about, filters, key } of cases<FilterCase>("filter-keys.json")) {
    assert.equal(await filterKey(filters), key, about);
  }
});
