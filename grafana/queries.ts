/** Pieces of PromQL that panels share. */

/** What the dashboard's variables narrow down, inside a selector: daemons. */
export const I = 'instance=~"$instance"'
/** Daemons and platforms. */
export const P = 'instance=~"$instance",platform=~"$platform"'
/** Levels of the limits: all of a platform's, and the global one. */
export const L = 'level=~"global|[a-z]+:(?:$platform)(?:/.*)?"'
/** Nothing went wrong yet: show a zero instead of an empty panel. It counts only where the left side has no series. */
export const NONE = 'or on () vector(0)'

export const rate = (selector: string) => `rate(${selector}[$__rate_interval])`
export const quantile = (q: number, metric: string, labels: string, by: string) =>
  `histogram_quantile(${q}, sum by (${by === '' ? 'le' : `le, ${by}`}) (${rate(`millrace_${metric}_bucket{${labels}}`)}))`
