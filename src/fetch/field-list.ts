/** A member of a header field that is a list. */
export interface ListMember {
  /** The item itself, without quotation marks: a name or a number. Empty for a member of a dictionary, `limit=100`. */
  readonly value: string
  /**
   * Values as text, without quotation marks, by lower-case name; of a name that is repeated the last one counts. The key of a
   * dictionary's member is among them.
   */
  readonly parameters: ReadonlyMap<string, string>
}

/** Nobody has more policies than this; what follows is not read. */
const MEMBERS_MAX = 16
const PARAMETERS_MAX = 16
/** A longer field is not read at all: the end of what is cut off would be a wrong number. */
const CHARACTERS_MAX = 8192

/**
 * Reads a list or a dictionary of items with parameters (RFC 9651, 3.1 and 3.2): `"burst";q=100;w=60, "day";q=1000` or
 * `limit=100, remaining=5`, given in one header or in several. Of what that allows it reads what rate limits are written in, and
 * it is more tolerant than the RFC, as the servers are: blanks anywhere, names without quotation marks, keys in any case. A member
 * that makes no sense comes out as one without a value or parameters, and harms no other. Never throws.
 */
export function parseList(field: string | string[] | undefined): readonly ListMember[] {
  if (field === undefined) return []
  const text = Array.isArray(field) ? field.slice(0, MEMBERS_MAX).join(',') : field
  if (text.length > CHARACTERS_MAX) return []
  return split(text, ',', MEMBERS_MAX).map(memberOf)
}

function memberOf(text: string): ListMember {
  const [item = '', ...rest] = split(text, ';', PARAMETERS_MAX)
  const parameters = new Map<string, string>()
  const isEntry = !item.startsWith('"') && item.includes('=')
  for (const part of isEntry ? [item, ...rest] : rest) {
    const equals = part.indexOf('=')
    if (equals > 0)
      parameters.set(part.slice(0, equals).trim().toLowerCase(), bare(part.slice(equals + 1).trim()))
  }
  return { value: isEntry ? '' : bare(item), parameters }
}

/** The parts between separators that stand outside of quotation marks, without the blanks around them; at most `max`. */
function split(text: string, separator: string, max: number): string[] {
  const parts: string[] = []
  let start = 0
  let isQuoted = false
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (isQuoted && character === '\\') index++
    else if (character === '"') isQuoted = !isQuoted
    else if (character === separator && !isQuoted) {
      parts.push(text.slice(start, index).trim())
      start = index + 1
      if (parts.length === max) return parts
    }
  }
  parts.push(text.slice(start).trim())
  return parts
}

function bare(text: string): string {
  if (!text.startsWith('"')) return text
  return text.slice(1, text.endsWith('"') ? -1 : undefined).replaceAll(/\\(.)/g, '$1')
}
