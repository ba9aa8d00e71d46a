import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SERVICE_VARIABLES, type ServiceName } from '../need.ts'
import { SERVICE_NAMES } from '../services/provide.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TEST = join(ROOT, 'test')

/** Every test file of the project, in order of name. */
export function allTestFiles(): string[] {
  return globSync('**/*.test.ts', { cwd: TEST })
    .map((file) => join(TEST, file))
    .sort()
}

/**
 * The files that the arguments name: an existing file, or every test file whose path holds the text. Returns the arguments
 * that name nothing too.
 */
export function select(
  args: readonly string[],
  all: readonly string[],
): { files: string[]; unknown: string[] } {
  if (args.length === 0) return { files: [...all], unknown: [] }
  const files = new Set<string>()
  const unknown: string[] = []
  for (const arg of args) {
    const path = resolve(arg)
    const isFile = existsSync(path) && statSync(path).isFile()
    const matches = isFile
      ? [path]
      : all.filter((file) => relative(ROOT, file).includes(arg.replace(/^\.\//, '')))
    if (matches.length === 0) unknown.push(arg)
    for (const file of matches) files.add(file)
  }
  return { files: [...files].sort(), unknown }
}

/**
 * The services that a test file asks for, itself or in files under test/ that it imports: `need(t, 'redis')`, the name of a
 * variable, or a start function's file. A `need` whose service is not written out counts as all of them.
 */
export function needsOf(file: string): Set<ServiceName> {
  const needs = new Set<ServiceName>()
  const seen = new Set<string>()
  const open = [file]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path) || !existsSync(path)) continue
    seen.add(path)
    const source = readFileSync(path, 'utf8')
    for (const name of namedIn(source)) needs.add(name)
    for (const imported of importsOf(source, path)) {
      const inside = relative(TEST, imported)
      if (inside.startsWith('services/')) addStarted(needs, inside)
      else if (!inside.startsWith('..') && inside !== 'need.ts' && !inside.startsWith('runner/'))
        open.push(imported)
    }
  }
  return needs
}

function namedIn(source: string): ServiceName[] {
  if (/\bneed\(\s*\w+\s*,\s*[^\s'"]/.test(source)) return SERVICE_NAMES
  const asked = [...source.matchAll(/\bneed\(\s*\w+\s*,\s*['"](\w+)['"]/g)].map((match) => match[1])
  return SERVICE_NAMES.filter(
    (name) => asked.includes(name) || new RegExp(`\\b${SERVICE_VARIABLES[name]}\\b`).test(source),
  )
}

function importsOf(source: string, from: string): string[] {
  const specifiers = source.matchAll(
    /(?:\bfrom|\bimport|\bimport\(|\bnew URL\()\s*['"](\.{1,2}\/[^'"]+)['"]/g,
  )
  return [...specifiers]
    .map((match) => resolve(dirname(from), match[1]!))
    .filter((path) => path.endsWith('.ts'))
}

function addStarted(needs: Set<ServiceName>, inside: string): void {
  const name = inside.slice('services/'.length, -'.ts'.length)
  if (name === 'prometheus') needs.add('promtool')
  if (name === 'provide' || name === 'serve') for (const service of SERVICE_NAMES) needs.add(service)
  if (SERVICE_NAMES.includes(name as ServiceName)) needs.add(name as ServiceName)
}
