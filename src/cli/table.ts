/** A column of a printed table: its title, and whether its values are numbers (right-aligned). */
export interface Column {
  readonly title: string
  readonly numeric?: boolean
}

/** Plain text columns, two blanks apart, each line indented by two; no trailing blanks. */
export function table(columns: readonly Column[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map((value) => (typeof value === 'number' ? grouped(value) : value)))
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((row) => row[i]?.length ?? 0)),
  )
  const line = (values: readonly string[]) =>
    `  ${values
      .map((value, i) =>
        columns[i]?.numeric ? value.padStart(widths[i] ?? 0) : value.padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd()}`
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n')
}

/** 12345.6 → `12,345.6`. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}

/** 0.0312 → `3.1%`. */
export function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)}%`
}
