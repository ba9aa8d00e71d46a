import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { command, isProgram, onPath, versionOf } from './command.ts'
import { containerPlan, hasImage } from './docker.ts'
import { type Found, ServiceMissing } from './found.ts'
import { type Running, startService } from './running.ts'

const VERSION = '1.8.0'
const IMAGE = `versity/versitygw:v${VERSION}`
const MODULE = `github.com/versity/versitygw/cmd/versitygw@v${VERSION}`
/** Where Go's own archive puts it; a shell that reads no profile does not have it on PATH. */
const GO_DEFAULT = '/usr/local/go/bin/go'
/** 160 s were measured on two idle cores. */
const BUILD_WITHIN_MS = 10 * 60_000

/** What the store takes; tests need no other. */
export const S3_KEYS = { accessKey: 'testkey', secretKey: 'testsecret12' } as const

/** An S3-compatible store (versitygw, which checks signatures and conditions): docker, PATH, or built from its Go module. */
export async function findS3(): Promise<Found> {
  if (await hasImage(IMAGE)) return { how: 'docker', version: VERSION, at: IMAGE }
  const installed = onPath('versitygw')
  if (installed !== undefined)
    return { how: 'installed', version: await versionOf(installed, ['--version']), at: installed }
  try {
    const { folder, fetched } = await cached(`versitygw-${VERSION}`, build)
    return { how: fetched ? 'fetched' : 'cache', version: VERSION, at: join(folder, 'versitygw') }
  } catch (error) {
    if (error instanceof ServiceMissing) throw error
    throw new ServiceMissing('s3', `versitygw could not be built: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

export interface S3Options {
  /** Where objects are kept, which must exist; for a disk that can be filled. Default: the service's own folder. Not with docker. */
  readonly data?: string
}

/** Starts an empty store of one's own, without buckets. `address` is `http://testkey:testsecret12@127.0.0.1:<port>`. */
export async function startS3(options: S3Options = {}): Promise<Running> {
  const found = await findS3()
  return startService(found, {
    ports: 1,
    plan(folder, [port]) {
      const keys = { ROOT_ACCESS_KEY: S3_KEYS.accessKey, ROOT_SECRET_KEY: S3_KEYS.secretKey }
      const base = found.how === 'docker' ? '/tmp' : folder
      const [data, iam] = [options.data ?? join(base, 'data'), join(base, 'iam')]
      const listen = found.how === 'docker' ? `:${port}` : `127.0.0.1:${port}`
      // Without --iam-dir an unknown key is answered 404 instead of 403.
      const args = [
        '--port',
        listen,
        '--health',
        '/health',
        '--quiet',
        '--keep-alive',
        '--iam-dir',
        iam,
        'posix',
        data,
      ]
      const inContainer = `mkdir -p ${data} ${iam} && exec versitygw ${args.join(' ')}`
      const server =
        found.how === 'docker'
          ? containerPlan({
              image: IMAGE,
              ports: [[port!, port!]],
              env: keys,
              dockerArgs: ['--entrypoint', '/bin/sh'],
              args: ['-c', inContainer],
            })
          : {
              command: found.at,
              args,
              env: keys,
              async prepare() {
                await Promise.all([mkdir(data, { recursive: true }), mkdir(iam, { recursive: true })])
              },
            }
      return {
        ...server,
        name: 'versitygw',
        address: `http://${S3_KEYS.accessKey}:${S3_KEYS.secretKey}@127.0.0.1:${port}`,
        ready: async () =>
          (await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2_000) })).ok,
        readyWithinMs: 20_000,
        stopWithinMs: 5_000,
      }
    },
  })
}

async function build(folder: string): Promise<void> {
  const go = onPath('go') ?? [GO_DEFAULT].find(isProgram)
  if (go === undefined) {
    throw new ServiceMissing(
      's3',
      'no docker engine answers, there is no versitygw on PATH, and no Go to build it with; install Go, or set MILLRACE_TEST_S3',
    )
  }
  const args = [go, 'install', '-trimpath', '-ldflags=-s -w', MODULE]
  // Minutes of both cores: tests that run meanwhile come first.
  const nice = onPath('nice')
  const [name, ...rest] = nice === undefined ? args : [nice, '-n', '19', ...args]
  await command(name!, rest, {
    withinMs: BUILD_WITHIN_MS,
    cwd: folder,
    env: { CGO_ENABLED: '0', GOBIN: folder, GOWORK: 'off' },
  })
}
