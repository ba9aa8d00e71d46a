export const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8'
export const OPENMETRICS_TEXT = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

/**
 * Turns Prometheus text (0.0.4) into OpenMetrics text (1.0.0): a counter's family loses `_total` in HELP and TYPE, empty
 * lines go, `# EOF` ends it.
 *
 * Done on the text because prom-client 15 renders OpenMetrics by renaming its own counters: after one such scrape the
 * plain text of the same metrics lacks `_total` for good. Every counter must end in `_total`, and nothing else may.
 */
export function openMetrics(prometheusText: string): string {
  const text = prometheusText
    .replaceAll(COMMENT, (line) => escapeHelp(line.replace(FAMILY_TOTAL, '$1')))
    .replaceAll(/\n{2,}/g, '\n')
  return `${text.trim()}\n# EOF\n`
}

const COMMENT = /^# (?:HELP|TYPE) .*$/gm

const FAMILY_TOTAL = /^(# (?:HELP|TYPE) \S+?)_total(?= )/

/** OpenMetrics escapes double quotes in HELP, Prometheus text does not. */
function escapeHelp(line: string): string {
  return line.replaceAll('"', '\\"')
}

/**
 * Whether an `Accept` header asks for OpenMetrics 1.0 rather than plain text. Prometheus does; a browser or curl does not.
 */
export function prefersOpenMetrics(accept: string | undefined): boolean {
  let best = 0
  let plain = 0
  for (const range of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const quality = qualityOf(parameters)
    if (type === 'application/openmetrics-text') {
      const version = parameters.find((parameter) => parameter.startsWith('version='))
      if (version === undefined || version === 'version=1.0.0') best = Math.max(best, quality)
    } else if (type === 'text/plain') plain = Math.max(plain, quality)
  }
  return best > 0 && best >= plain
}

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
  const quality = text === undefined ? 1 : Number(text)
  return Number.isFinite(quality) ? quality : 0
}
