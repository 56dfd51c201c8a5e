// Asks again and again while somebody looks: seldom when answers are slow or fail, never when hidden.

import { Away, Refused } from "./api.js";

const SHORTEST_MS = 2_000;
const LONGEST_MS = 30_000;
const TIMES_THE_ANSWER = 10; // so that looking takes a tenth of the daemon's time at most

export class Poll {
  /**
   * @param look asks once and shows the answer.
   * @param tell is told how it went: "live", or the error.
   */
  constructor(look, tell) {
    this.look = look;
    this.tell = tell;
    this.failures = 0;
    this.timer = null;
    this.round = 0; // grows with each look; only the latest goes on
    this.whenShown = () => document.hidden || this.now();
    document.addEventListener("visibilitychange", this.whenShown);
  }

  /** Look at once, and go on from there. */
  async now() {
    clearTimeout(this.timer);
    const round = ++this.round;
    const began = performance.now();
    try {
      await this.look();
      this.failures = 0;
      if (round === this.round) this.tell("live");
    } catch (error) {
      if (!(error instanceof Away || error instanceof Refused)) throw error;
      this.failures += 1;
      if (round === this.round) this.tell(error);
    }
    if (round !== this.round || document.hidden) return;
    this.timer = setTimeout(() => this.now(), this.pause(performance.now() - began));
  }

  /** End it. */
  stop() {
    this.round += 1;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.whenShown);
  }

  pause(tookMs) {
    const usual = Math.max(SHORTEST_MS, TIMES_THE_ANSWER * tookMs);
    return Math.min(LONGEST_MS, usual * 2 ** this.failures);
  }
}
