import { adapted, factorOf, shared } from './adapt.ts'
import { bucketUnits, bucketWait, taken } from './bucket.ts'
import type { LevelTerms } from './question.ts'
import { addRecent, type LevelRecord, type Opened, openLevel } from './state.ts'
import { acknowledge, addEntry, addPending, grained, usedUnits, windowWait } from './window.ts'

/** A quota is not asked again more often than this, however the clocks differ. */
const QUOTA_WAIT_MIN_US = 1e6

/** One level while a question is decided: its record and the terms that hold now, whatever its kind. */
export class Level {
  readonly #terms: LevelTerms
  readonly #nowUs: number
  readonly #rawUs: number
  readonly #opened: LevelRecord
  #record: LevelRecord

  /** `most`: the dearest single permit that is asked for. `share`: thousandths of the limit that others leave. */
  constructor(known: LevelRecord | undefined, terms: LevelTerms, opened: Opened, most = 1, share = 1000) {
    this.#nowUs = opened.nowUs
    this.#rawUs = opened.rawUs
    this.#opened = openLevel(known, terms, opened)
    this.#record = this.#opened
    this.#terms = shared(adapted(terms, factorOf(this.#record, terms, opened.nowUs), most), share)
  }

  get terms(): LevelTerms {
    return this.#terms
  }

  get record(): LevelRecord {
    return this.#record
  }

  /** The record, when something was put into it. */
  get changed(): LevelRecord | undefined {
    const isOwed = this.#terms.kind === 'quota' && this.#terms.seen.owed > 0
    return this.#record === this.#opened && !isOwed ? undefined : this.#record
  }

  get blockedUs(): number {
    return Math.max(0, this.#record.blockedUntilUs - this.#nowUs)
  }

  /** Units that it could grant, were it not blocked. */
  get units(): number {
    const record = this.#record
    const terms = this.#terms
    if (record.kind === 'bucket' && terms.kind === 'bucket')
      return bucketUnits(record.tatUs, this.#nowUs, terms)
    if (record.kind === 'window' && terms.kind === 'window')
      return Math.max(0, terms.limit - usedUnits(record.log, record.pending))
    if (record.kind === 'quota' && terms.kind === 'quota') return Math.max(0, terms.limit - record.used)
    return 0
  }

  get free(): number {
    return this.blockedUs > 0 ? 0 : this.units
  }

  /** What it holds when it is full. */
  get capacity(): number {
    const terms = this.#terms
    return terms.kind === 'bucket' ? Math.floor(terms.toleranceUs / terms.intervalUs) : terms.limit
  }

  /** In how many microseconds it could grant `units` at the earliest. */
  wait(units: number): number {
    const record = this.#record
    const terms = this.#terms
    let waitUs = 0
    if (record.kind === 'bucket' && terms.kind === 'bucket')
      waitUs = bucketWait(record.tatUs, this.#nowUs, terms, units)
    else if (record.kind === 'window' && terms.kind === 'window')
      waitUs = windowWait(record.log, record.pending, terms, this.#nowUs, units)
    else if (record.kind === 'quota' && record.used + units > (terms as { limit: number }).limit)
      waitUs = Math.max(QUOTA_WAIT_MIN_US, record.endsUs - this.#rawUs)
    return Math.max(waitUs, this.blockedUs)
  }

  acknowledge(acks: readonly { readonly grant: string; readonly arrived: number }[]): void {
    const record = this.#record
    const terms = this.#terms
    if (record.kind !== 'window' || terms.kind !== 'window') return
    const { log, pending, moved } = acknowledge(record.log, record.pending, acks, grained(this.#nowUs, terms))
    if (moved > 0) this.#record = { ...record, log, pending }
  }

  /** Takes the units of `permits` permits, whether it has them or not. `grant` names them. */
  charge(permits: number, charge: number, grant: string): void {
    const record = this.#record
    const terms = this.#terms
    const nowUs = this.#nowUs
    const units = permits * charge
    const recent = addRecent(record.recent, nowUs, units)
    if (record.kind === 'bucket' && terms.kind === 'bucket') {
      this.#record = { ...record, recent, tatUs: taken(record.tatUs, nowUs, terms, units) }
    } else if (record.kind === 'window' && terms.kind === 'window') {
      const log = [...record.log]
      const pending = [...record.pending]
      const byUs = nowUs + terms.arriveUs
      if (terms.causal) addPending(pending, { grant, permits, arrived: 0, charge, byUs })
      else addEntry(log, grained(byUs, terms), units)
      this.#record = { ...record, recent, log, pending }
    } else if (record.kind === 'quota' && terms.kind === 'quota') {
      const late = this.#rawUs >= record.endsUs - terms.overlapUs
      const next = record.next + (late ? units : 0)
      this.#record = { ...record, recent, used: record.used + units, next }
    }
  }
}
