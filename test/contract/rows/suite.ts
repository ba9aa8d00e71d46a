import type { JobRows } from '../../../src/job/row.ts'
import type { Engine } from '../../../src/timeseries/engine.ts'
import type { TimeSeriesSink } from '../../../src/timeseries/row-sink.ts'

/** Adds a test to the contract; `body` gets the engine under test, and a sink that all tests of it share. */
export type ContractTest = (
  behaviour: string,
  body: (engine: Engine, write: (rows: JobRows) => Promise<void>, sink: TimeSeriesSink) => Promise<void>,
) => void

const FACTS = { name: '', handle: '', biography: '', email: '', pictureUrl: '' }
/** A creator of whom nothing is known. */
export const CREATOR = { table: 'creators', ...FACTS, verified: false, gone: false, flags: [] } as const
/** A post of which nothing is known. */
export const MEDIA = { table: 'media', mediaId: 'm', kind: '', title: '', url: '', publishedAtMs: 0 } as const
