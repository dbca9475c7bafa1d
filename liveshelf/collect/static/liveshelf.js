// Reports what shoppers see, click and search for to the collector that serves this file (docs/collect.md).
// Comments stand on lines of their own: liveshelf/collect/script.py leaves them out.
(() => {
  const script = document.currentScript;
  const base = new URL(script.src).origin;
  const MOST = 500;
  const LETTERS = 20000;
  let queue = [];
  let wait = 0;
  let timer;

  // The session: the page's own, else a cookie of half an hour, which the shop's servers can read.
  // Who logs out has a new one (docs/privacy.md).
  let made = id();
  const cookie = (name) => (new RegExp(`(?:^|; )${name}=(\\w+)`).exec(document.cookie) || [])[1];
  const keep = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=1800; samesite=lax`;
  };
  function session() {
    if (script.dataset.session) return script.dataset.session;
    const user = script.dataset.user ? 1 : 0;
    const left = cookie("liveshelf_in") > user;
    if (left) made = id();
    const found = (!left && cookie("liveshelf")) || made;
    keep("liveshelf", found);
    keep("liveshelf_in", user);
    return found;
  }

  function id() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => (byte + 256).toString(16).slice(1)).join("");
  }

  function send(type, fields) {
    const user = script.dataset.user ? { user_id: script.dataset.user } : {};
    queue.push({ type, event_id: id(), ts: Date.now(), session_id: session(), ...user, ...fields });
    queue = queue.slice(-MOST);
    later(1000);
  }

  function later(ms) {
    timer = timer || setTimeout(flush, Math.max(ms, wait));
  }

  // As many of the first events as fit into a request; lines, so that one bad event spoils no other.
  function batch() {
    let body = "";
    let count = 0;
    for (const event of queue) {
      const line = `${JSON.stringify(event)}\n`;
      if (count && body.length + line.length > LETTERS) break;
      body += line;
      count += 1;
    }
    return [body, queue.slice(0, count)];
  }

  const url = () => `${base}/events?key=${encodeURIComponent(script.dataset.key || "")}`;
  const drop = (sent) => {
    queue = queue.filter((event) => !sent.includes(event));
  };

  // Text is sent without a preflight. What is refused is dropped; what cannot be taken now is sent again with its id.
  async function flush() {
    const [body, sent] = batch();
    if (body) {
      let answer = {};
      try {
        const keepalive = body.length < LETTERS;
        answer = await fetch(url(), { method: "POST", body, keepalive, credentials: "omit" });
      } catch {}
      if (answer.status < 429 && answer.status !== 408) {
        drop(sent);
        wait = 0;
      } else {
        const asked = answer.headers && answer.headers.get("retry-after");
        wait = Math.max(1000 * asked || 0, Math.min(60000, 2 * wait || 1000) * (0.5 + Math.random() / 2));
      }
    }
    timer = 0;
    if (queue.length) later(0);
  }

  // The page goes: all that was not acknowledged leaves at once.
  function leave() {
    see();
    while (queue.length) {
      const [body, sent] = batch();
      if (!navigator.sendBeacon(url(), body)) break;
      drop(sent);
    }
  }

  // Shelves: data-shelf="SHELF_ID" data-surface="feed", and in them data-item="ITEM_ID".
  function place(node) {
    const shelf = node.closest("[data-shelf]");
    const items = [...shelf.querySelectorAll("[data-item]")];
    const position = +(node.dataset.position || items.indexOf(node));
    return { shelf: shelf.dataset, seen: { item_id: node.dataset.item, position } };
  }

  const started = new Map();
  const seen = new Map();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, intersectionRatio } of entries) {
      clearTimeout(started.get(target));
      if (intersectionRatio >= 0.5) started.set(target, setTimeout(watched, 1000, target));
    }
  }, { threshold: 0.5 });

  function watched(node) {
    observer.unobserve(node);
    if (!node.closest("[data-shelf]")) return;
    const { shelf, seen: item } = place(node);
    const key = JSON.stringify([shelf.shelf, shelf.surface || "feed"]);
    seen.set(key, (seen.get(key) || []).concat(item));
    setTimeout(see, 500);
  }

  // Items that were seen at about the same time are one impression of their shelf.
  function see() {
    for (const [key, items] of seen) {
      const [shelf_id, surface] = JSON.parse(key);
      send("impression", { shelf_id, surface, items: items.slice(0, 200) });
    }
    seen.clear();
  }

  function click({ target }) {
    const node = target.closest && target.closest("[data-shelf] [data-item]");
    if (!node) return;
    const { shelf, seen: item } = place(node);
    send("click", { ...item, shelf_id: shelf.shelf });
  }

  // Searches: data-query="what was searched for" on the page of results.
  const known = new WeakSet();
  function scan() {
    for (const node of document.querySelectorAll("[data-shelf] [data-item],[data-query]")) {
      if (known.has(node)) continue;
      known.add(node);
      if (node.dataset.query) send("search", { query: node.dataset.query });
      if (node.dataset.item) observer.observe(node);
    }
  }

  addEventListener("click", click, true);
  addEventListener("auxclick", click, true);
  addEventListener("pagehide", leave);
  addEventListener("visibilitychange", () => document.hidden && leave());
  new MutationObserver(scan).observe(document, { childList: true, subtree: true });
  scan();
  window.liveshelf = { send, session };
})();
