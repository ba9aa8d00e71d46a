/** Builds `dist/` for publication: compiled modules, and beside them the files that modules read (SQL, Lua, the console). */
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
execFileSync(
  process.execPath,
  [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}tsconfig.build.json`],
  {
    stdio: 'inherit',
  },
)
cpSync(`${root}src`, `${root}dist`, {
  recursive: true,
  filter: (path) => !/(\.ts|tsconfig\.json)$/.test(path),
})
chmodSync(`${root}dist/main.js`, 0o755)
