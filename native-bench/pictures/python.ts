import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cached } from '../../test/services/cache.ts'

const run = promisify(execFile)

/** The Python of a virtual environment with these packages from PyPI, made once and kept in the cache. */
export async function pythonWith(
  name: string,
  packages: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { folder } = await cached(`python-${name}`, async (made) => {
    await run('python3', ['-m', 'venv', made])
    // By `python -m pip`: the scripts of an environment name the folder that it was made in, and this one is renamed.
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]
    await run(join(made, 'bin', 'python'), pip, { env: { ...process.env, ...env }, maxBuffer: 50_000_000 })
  })
  return join(folder, 'bin', 'python')
}
