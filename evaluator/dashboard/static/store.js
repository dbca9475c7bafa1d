// The hour of series as this page holds it: begun with everything, then followed point by point.

const FEWEST_MS = 300_000;

export class Store {
  constructor() {
    this.times = [];
    this.revision = null;
    this.stepMs = 10_000;
    this.closesAfterS = 0;
    this.page = null;
    this.lines = new Map();
  }

  /** Take everything. */
  begin({ revision, step_ms, closes_after_s, times, lines, page }) {
    this.closesAfterS = closes_after_s;
    this.revision = revision;
    this.stepMs = step_ms;
    this.times = times;
    this.page = page;
    this.lines = new Map(lines.map((line) => [line.id, line]));
  }

  /** Take what is new; whether it was enough, or everything has to be asked for again. */
  follow({ revision, time, points, page }) {
    this.page = page;
    if (revision !== this.revision) return false;
    const steps = Math.round((time - this.times.at(-1)) / this.stepMs);
    if (steps < 0 || steps > 1) return false;
    if (steps === 1) {
      this.times = [...this.times.slice(1), time];
      for (const line of this.lines.values()) {
        line.values.shift();
        line.values.push(null);
      }
    }
    for (const [id, before, now] of points) {
      const line = this.lines.get(id);
      if (!line) return false;
      line.values.splice(-2, 2, before, now);
    }
    return true;
  }

  /** Where the axis is worth drawing from: the first step that says anything, and five minutes at least. */
  get from() {
    const first = Math.min(...[...this.lines.values()].map(({ values }) => values.findIndex((value) => value !== null)).filter((at) => at >= 0));
    return Math.max(0, Math.min(first, this.times.length - 1 - FEWEST_MS / this.stepMs));
  }

  /** Values of one series. */
  values(...key) {
    const wanted = JSON.stringify(key);
    for (const line of this.lines.values()) if (JSON.stringify(line.key) === wanted) return line.values;
    return null;
  }

  /** All series whose key begins so. */
  *starting(...key) {
    for (const line of this.lines.values()) {
      if (key.every((part, place) => line.key[place] === part)) yield line;
    }
  }
}
