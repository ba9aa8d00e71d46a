/** What of a job is worth a line of its trace. */
export type StepName = 'permit' | 'fetch' | 'download' | 'wait' | 'resize' | 'store' | 'insert'

/** Ends a step, for once; with an error, it failed. */
export type EndStep = (error?: unknown) => void

/** Where a job's steps are told as they begin. Undefined wherever nobody traces, so that it costs nothing then. */
export interface Steps {
  step(name: StepName, attributes?: Readonly<Record<string, string | number>>): EndStep
}
