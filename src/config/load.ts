import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Document, isMap, LineCounter, parse, parseDocument } from 'yaml'
import type { z } from 'zod'
import { MillraceError } from '../job/errors.ts'
import { type Config, configSchema } from './schema.ts'

export type Environment = Readonly<Record<string, string | undefined>>
type Path = readonly (string | number)[]
type Tree = Record<string, unknown>

/** The configuration cannot be used. `problems` has one line each: where, what was found, what was expected. */
export class ConfigError extends MillraceError {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super('CONFIG_INVALID', problems.join('\n'), { kind: 'usage' })
    this.problems = problems
  }
}

export interface ConfigSource {
  /** The file to read, or null when there is none: every key has a default. */
  readonly file: string | null
  readonly env: Environment
}

/** A value that came from the environment is text; where the schema wants something else, it is read as YAML. */
interface FromEnvironment {
  readonly path: Path
  readonly text: string
  readonly variable: string
}

/**
 * Reads `millrace.yaml`, fills `${NAME}` in its values from the environment, lays `MILLRACE_<SECTION>__<KEY>` over it, and
 * checks the whole. Paths of modules in the file start at the file's folder. Throws ConfigError with every problem at once.
 */
export function loadConfig(source: ConfigSource): Config {
  const problems: string[] = []
  const { tree, locate } = source.file === null ? nothing() : readYaml(source.file)
  const given: FromEnvironment[] = []
  interpolate(tree, [], source.env, given, problems)
  if (source.file !== null) resolveModules(tree, dirname(source.file))
  for (const override of overridesOf(source.env)) {
    setAt(tree, override.path, override.text)
    given.push(override)
  }

  let parsed = configSchema.safeParse(tree)
  if (!parsed.success && given.length > 0) {
    // Text from the environment is kept as text where text is wanted (a password may be all digits), and read as YAML where not.
    for (const issue of parsed.error.issues) {
      const from = given.find(
        (one) => samePath(one.path, issue.path) && typeof at(tree, one.path) === 'string',
      )
      if (from !== undefined) setAt(tree, from.path, parse(from.text))
    }
    parsed = configSchema.safeParse(tree)
  }
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(...describe(issue, tree, locate, given))
  } else if (problems.length === 0) {
    const config = parsed.data
    problems.push(...contradictions(config))
    if (problems.length === 0) return config
  }
  throw new ConfigError(problems)
}

function nothing(): { tree: Tree; locate: (path: Path) => string } {
  return { tree: {}, locate: () => '' }
}

function readYaml(file: string): { tree: Tree; locate: (path: Path) => string } {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'an error'
    throw new ConfigError([`${file}: cannot be read (${code}); expected a readable YAML file`])
  }
  const lines = new LineCounter()
  const document: Document.Parsed = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  if (document.errors.length > 0) {
    throw new ConfigError(
      document.errors.map(
        (error) => `${file}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`,
      ),
    )
  }
  const tree: unknown = document.toJS() ?? {}
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) {
    throw new ConfigError([
      `${file}: found ${kindOf(tree)}, expected a mapping of sections such as kafka, redis, limits`,
    ])
  }
  const locate = (path: Path): string => {
    for (let length = path.length; length > 0; length--) {
      const parent: unknown =
        length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true)
      if (!isMap(parent)) continue
      const pair = parent.items.find(
        (item) => String((item.key as { value?: unknown } | null)?.value) === String(path[length - 1]),
      )
      const start = (pair?.key as { range?: [number, number, number] } | undefined)?.range?.[0]
      if (start !== undefined) return `${file}:${lines.linePos(start).line}: `
    }
    return `${file}: `
  }
  return { tree: tree as Tree, locate }
}

/** A platform's module lies beside the file that names it, wherever the daemon is started. */
function resolveModules(tree: Tree, directory: string): void {
  const { platforms } = tree
  if (typeof platforms !== 'object' || platforms === null) return
  for (const section of Object.values(platforms) as unknown[]) {
    if (typeof section !== 'object' || section === null || !('module' in section)) continue
    if (typeof section.module === 'string' && section.module !== '')
      section.module = resolve(directory, section.module)
  }
}

function interpolate(
  node: unknown,
  path: Path,
  env: Environment,
  given: FromEnvironment[],
  problems: string[],
): void {
  if (typeof node !== 'object' || node === null) return
  for (const [key, value] of Object.entries(node)) {
    const here = [...path, Array.isArray(node) ? Number(key) : key]
    if (typeof value !== 'string') {
      interpolate(value, here, env, given, problems)
      continue
    }
    let variable = ''
    const filled = value.replaceAll(
      /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
      (_whole, name: string, fallback?: string) => {
        variable = name
        const found = env[name] ?? fallback
        if (found === undefined) {
          problems.push(
            `${here.join('.')}: the environment has no ${name}; set it, or write \${${name}:-default}`,
          )
        }
        return found ?? ''
      },
    )
    if (variable === '') continue
    ;(node as Tree)[key] = filled
    given.push({ path: here, text: filled, variable })
  }
}

/** Top-level keys that are no sections and so have no `__` in their variable. */
const PLAIN_KEYS = new Set(['data', 'drain_deadline'])

function overridesOf(env: Environment): FromEnvironment[] {
  const overrides: FromEnvironment[] = []
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || !variable.startsWith('MILLRACE_')) continue
    const name = variable.slice('MILLRACE_'.length).toLowerCase()
    if (!name.includes('__') && !PLAIN_KEYS.has(name)) continue
    overrides.push({ path: name.split('__'), text: value, variable })
  }
  return overrides
}

function setAt(tree: Tree, path: Path, value: unknown): void {
  let node: Tree = tree
  for (const key of path.slice(0, -1)) {
    const next = node[key]
    if (typeof next !== 'object' || next === null) node[key] = {}
    node = node[key] as Tree
  }
  node[path.at(-1) ?? ''] = value
}

function at(tree: unknown, path: readonly PropertyKey[]): unknown {
  let node = tree
  for (const key of path)
    node = typeof node === 'object' && node !== null ? (node as Record<PropertyKey, unknown>)[key] : undefined
  return node
}

const samePath = (a: Path, b: readonly PropertyKey[]) =>
  a.length === b.length && a.every((key, i) => String(key) === String(b[i]))
const SECRET_KEY = /pass|secret|token|key|credential/i
const USER_INFO = /\/\/[^/@\s"]*@/g

function describe(
  issue: z.core.$ZodIssue,
  tree: Tree,
  locate: (path: Path) => string,
  given: readonly FromEnvironment[],
): string[] {
  const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
  const where = (full: Path): string => {
    const from = given.find((one) => samePath(one.path, full))
    return from === undefined ? `${locate(full)}${full.join('.')}` : `${from.variable}: ${full.join('.')}`
  }
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${where([...path, key])}: unknown key; ${knownKeys(path)}`)
  }
  const found = at(tree, issue.path)
  const shown = path.some((key) => SECRET_KEY.test(String(key)))
    ? 'a value that is not shown'
    : (JSON.stringify(found) ?? 'nothing')
  const message = issue.message.replace(/^Invalid input: /, '').replace(/, received .*$/, '')
  return [
    `${where(path)}: found ${shown.replaceAll(USER_INFO, '//…@').slice(0, 120)}, ${message.startsWith('expected') ? message : `expected: ${message}`}`,
  ]
}

function knownKeys(path: Path): string {
  let schema: unknown = configSchema
  for (const key of path) schema = childOf(schema, String(key))
  const shape = shapeOf(schema)
  return shape === undefined ? 'remove it' : `expected one of ${Object.keys(shape).join(', ')}`
}

// zod wraps an object's schema in defaults and optionals; these two look through them.
function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  let inner = schema as
    | { shape?: Record<string, unknown>; def?: { innerType?: unknown; in?: unknown } }
    | undefined
  while (inner !== undefined && inner.shape === undefined)
    inner = (inner.def?.innerType ?? inner.def?.in) as typeof inner
  return inner?.shape
}
function childOf(schema: unknown, key: string): unknown {
  return shapeOf(schema)?.[key] ?? (schema as { def?: { valueType?: unknown } } | undefined)?.def?.valueType
}

const kindOf = (value: unknown) =>
  Array.isArray(value) ? 'a list' : value === null ? 'nothing' : typeof value

/** What each key alone cannot show. */
function contradictions(config: Config): string[] {
  const problems: string[] = []
  if (config.kafka !== undefined && config.redis === undefined && config.limits.share === undefined) {
    problems.push(
      'redis: missing, while `kafka` is set: daemons that do not know of each other would break the limits. ' +
        'Set `redis`, or divide the limits explicitly with `limits.share: 1/3` (one over the number of daemons)',
    )
  }
  if (config.kafka !== undefined && config.kafka.heartbeat_interval * 3 > config.kafka.session_timeout) {
    problems.push('kafka.heartbeat_interval: expected at most a third of kafka.session_timeout')
  }
  if (config.fetch.timeout < config.fetch.connect_timeout) {
    problems.push('fetch.timeout: expected at least fetch.connect_timeout')
  }
  const { jwt, keys } = config.api.auth
  if (jwt !== undefined && (jwt.secret === undefined) === (jwt.jwks_url === undefined)) {
    problems.push(
      'api.auth.jwt: expected one of `secret` and `jwks_url`, found ' +
        (jwt.secret === undefined ? 'neither' : 'both'),
    )
  }
  if (jwt === undefined && Object.keys(keys).length === 0 && !isLoopback(config.api.host)) {
    problems.push(
      `api.host: found ${config.api.host} without api.auth, expected a loopback address such as 127.0.0.1: whoever reaches it may do everything`,
    )
  }
  const addresses = { 'redis.url': config.redis?.url, 'clickhouse.url': config.clickhouse?.url }
  for (const [path, address] of Object.entries(addresses)) {
    if (address !== undefined && !hasDecodableUser(address))
      problems.push(`${path}: its user or password has a % that begins no escape; expected %25 in its place`)
  }
  const names = config.images.variants.map((variant) => variant.name)
  if (new Set(names).size !== names.length) problems.push('images.variants: two variants have the same name')
  return problems
}

const isLoopback = (host: string) => /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host)

function hasDecodableUser(address: string): boolean {
  const url = URL.parse(address)
  try {
    decodeURIComponent(`${url?.username}:${url?.password}`)
    return true
  } catch {
    return false
  }
}
