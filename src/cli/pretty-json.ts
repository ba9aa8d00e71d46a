const DEPTH_MAX = 40

/**
 * JSON, indented by two. Every name, string and number stays as it is written: nothing is rounded, and a name that is there twice
 * stays twice. Text that is nested deeper than people read is returned as it is, for its blanks would outgrow it.
 */
export function prettyJson(text: string): string {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? []
  let out = ''
  let depth = 0
  for (const [index, token] of tokens.entries()) {
    const before = tokens[index - 1]
    const line = () => `\n${'  '.repeat(depth)}`
    if (token === '}' || token === ']') {
      depth -= 1
      out += before === '{' || before === '[' ? token : `${line()}${token}`
      continue
    }
    if (before === '{' || before === '[' || before === ',') out += line()
    out += token === ':' ? ': ' : token
    if (token === '{' || token === '[') depth += 1
    if (depth > DEPTH_MAX) return text
  }
  return out
}
