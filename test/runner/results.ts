import { relative } from 'node:path'
import type { TestEvent } from 'node:test/reporters'
import { ROOT } from './selection.ts'

/** Just what is read here of an event's data; node's own types leave out `entryFile`. */
interface EventData {
  readonly name: string
  readonly nesting: number
  readonly file?: string
  readonly entryFile?: string
  readonly skip?: string | boolean
  readonly todo?: string | boolean
  readonly details?: {
    readonly duration_ms?: number
    readonly type?: string
    readonly error?: { readonly failureType?: string }
  }
}

export interface Named {
  readonly file: string
  readonly name: string
}

/** Gathers what a run's tests came to, from the events of node:test. */
export class Results {
  passed = 0
  readonly failed: Named[] = []
  readonly skipped: (Named & { readonly why: string })[] = []
  /** A test has begun, ever. */
  begun = false
  readonly durations = new Map<string, number>()
  readonly #running = new Map<string, Named>()
  /** Names of the tests that enclose the next event, by nesting. */
  readonly #path = new Map<string, string[]>()

  /** Tests that have begun and not ended. */
  get running(): Named[] {
    return [...this.#running.values()]
  }

  /** A file's tests are started, passed and failed in order; files overlap only in the other events. */
  take(event: TestEvent): void {
    const data = event.data as unknown as EventData
    const file = fileOf(data)
    if (file === undefined) return
    switch (event.type) {
      case 'test:dequeue':
        if (isFile(data)) return
        this.begun = true
        this.#running.set(keyOf(data), { file, name: data.name })
        return
      case 'test:complete':
        if (isFile(data)) this.durations.set(file, data.details?.duration_ms ?? 0)
        this.#running.delete(keyOf(data))
        return
      case 'test:start':
        this.#enter(file, data)
        return
      case 'test:pass':
        if (data.skip !== undefined && data.skip !== false) this.#skip(file, data, data.skip)
        else if (data.todo !== undefined && data.todo !== false) this.#skip(file, data, `to do: ${data.todo}`)
        else if (data.details?.type !== 'suite') this.passed++
        return
      case 'test:fail':
        // A test that fails only because one inside of it did is no second failure.
        if (data.details?.error?.failureType === 'subtestsFailed') return
        if (data.todo !== undefined && data.todo !== false)
          this.#skip(file, data, `to do, and fails: ${data.todo}`)
        else this.failed.push({ file, name: this.#nameOf(file, data) })
        return
      default:
        return
    }
  }

  #skip(file: string, data: EventData, why: string | boolean): void {
    this.skipped.push({ file, name: this.#nameOf(file, data), why: String(why === true ? '' : why) })
  }

  #enter(file: string, data: EventData): void {
    const path = this.#path.get(file) ?? []
    path.length = data.nesting
    path.push(data.name)
    this.#path.set(file, path)
  }

  #nameOf(file: string, data: EventData): string {
    const outer = (this.#path.get(file) ?? []).slice(0, data.nesting)
    return isFile(data) ? 'the file itself' : [...outer, data.name].join(' › ')
  }
}

/** The test file that an event belongs to, relative to the project; a shared suite's tests belong to the file that runs it. */
export function fileOf(data: object): string | undefined {
  const { entryFile, file } = data as EventData
  const path = entryFile ?? file
  return path === undefined ? undefined : relative(ROOT, path)
}

/** The event is about a test file as a whole: node names such a test after its path. */
function isFile(data: EventData): boolean {
  return data.nesting === 0 && data.entryFile === undefined && data.name === data.file
}

function keyOf(data: EventData): string {
  return `${fileOf(data)} ${data.nesting} ${data.name}`
}
