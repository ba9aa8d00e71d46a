import { readFile } from 'node:fs/promises'

const IMPORT = /^import (\{[^}]*\}) from '\.\/([\w-]+)\.js'\n/gm
const EXPORT = /^export (async function|function|const|class) (\w+)/gm

/**
 * Puts the files of a folder into one page: `page.html`, the styles that it names in place of its `<style>`, and in place of its
 * `<script>` the module `main.js` with all that it imports, each in a function of its own. No bundler: modules here import by
 * name from files beside them and export what they declare, and whatever else one does is an error at the start.
 */
export async function assemblePage(folder: URL): Promise<string> {
  const read = (name: string) => readFile(new URL(name, folder), 'utf8')
  const html = await read('page.html')
  const styles = [...html.matchAll(/<!-- style: ([\w-]+\.css) -->\n/g)].map(([, name]) => name!)
  const css = (await Promise.all(styles.map(read))).join('\n').replace(/\/\*.*?\*\/\s*/gs, '')
  const script = await scriptOf('main', read, new Map())
  return html
    .replace(/<!-- style: [\w-]+\.css -->\n/g, '')
    .replace('<style></style>', () => `<style>${css}</style>`)
    .replace('<script></script>', () => `<script>'use strict'\n${script}</script>`)
}

/** The text of a module after those that it imports; empty when it is there already. Throws for what it does not understand. */
async function scriptOf(
  name: string,
  read: (file: string) => Promise<string>,
  done: Map<string, 'begun' | 'ended'>,
): Promise<string> {
  if (done.get(name) === 'ended') return ''
  if (done.get(name) === 'begun') throw new Error(`console/${name}.js imports itself in a circle`)
  done.set(name, 'begun')
  const source = await read(`${name}.js`)
  const before: string[] = []
  for (const [, , other] of source.matchAll(IMPORT)) before.push(await scriptOf(other!, read, done))
  const exported = [...source.matchAll(EXPORT)].map(([, , word]) => word!)
  const body = source
    .replace(IMPORT, (_, names: string, other: string) => `const ${names} = ${variableOf(other)}\n`)
    .replace(EXPORT, '$1 $2')
    // Comments of whole lines: nobody reads them in the page.
    .replace(/^ *\/\*(?:(?!\*\/).)*\*\/\n/gms, '')
    .replace(/^ *\/\/.*\n/gm, '')
  if (/^(import|export) /m.test(body) || body.includes('</script'))
    throw new Error(`console/${name}.js: expected imports and exports by name, and no end of a script`)
  done.set(name, 'ended')
  return `${before.join('')}const ${variableOf(name)} = (() => {\n${body}return { ${exported.join(', ')} }\n})()\n`
}

function variableOf(name: string): string {
  return `$${name.replaceAll('-', '_')}`
}
