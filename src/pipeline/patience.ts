const TICK_MS = 5
const PATIENCE_MS = { least: 40, most: 5_000 }
const PERMITS_PER_CALL = { least: 2, enough: 4 }

/**
 * How long calls to the limiter are put off so that each has more to say, within what the limiter says is harmless: twice as long
 * while a call brings less than two permits, half as long when it brings four.
 */
export class Patience {
  #ms = PATIENCE_MS.least

  /** A call that asked for permits brought so many. */
  learn(permits: number): void {
    if (permits < PERMITS_PER_CALL.least) this.#ms = Math.min(PATIENCE_MS.most, this.#ms * 2)
    else if (permits >= PERMITS_PER_CALL.enough) this.#ms = Math.max(PATIENCE_MS.least, this.#ms / 2)
  }

  /** When to ask for what could be had at `atMs`, at most `harmlessMs` later. */
  askAt(atMs: number, harmlessMs: number): number {
    return tick(atMs, Math.min(harmlessMs, this.#ms))
  }
}

/**
 * The next of the moments that are at most `apartMs` from each other, from `atMs` on. Whatever is put off, for whichever endpoint, is
 * put off to such a moment, and the coarse ones are among the fine ones: so it meets there, and goes in one call.
 */
export function tick(atMs: number, apartMs: number): number {
  const gridMs = TICK_MS * 2 ** Math.max(0, Math.floor(Math.log2(apartMs / TICK_MS)))
  return Math.ceil(atMs / gridMs) * gridMs
}
