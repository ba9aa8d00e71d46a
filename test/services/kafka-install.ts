import { createHash } from 'node:crypto'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cached } from './cache.ts'
import { command, isProgram, onPath, tryCommand } from './command.ts'
import { type Found, ServiceMissing } from './found.ts'

export const KAFKA_VERSION = '4.3.1'
const JAVA_MIN = 17
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
const FETCH_WITHIN_MS = 5 * 60_000

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`

/** Kafka's jars and the Java that runs them. */
export interface KafkaInstall {
  readonly found: Found
  readonly java: string
  /** Everything before the main class. */
  readonly javaArgs: readonly string[]
}

/** A Java that Kafka 4 runs on, its version with it. */
export async function findJava(): Promise<{ java: string; version: string }> {
  const home = process.env.JAVA_HOME
  const candidates = [home === undefined ? '' : join(home, 'bin', 'java'), onPath('java') ?? '']
  let seen = 'no java on PATH or in JAVA_HOME'
  for (const java of candidates.filter(isProgram)) {
    const { stderr, stdout } = await tryCommand(java, ['-version'], { withinMs: 20_000 })
    const version = /version "(\d+[^"]*)"/.exec(stderr + stdout)?.[1]
    if (version !== undefined && Number.parseInt(version, 10) >= JAVA_MIN) return { java, version }
    seen = `${java} is version ${version ?? '?'}`
  }
  throw new ServiceMissing(
    'kafka',
    `no docker engine answers, and ${seen}: expected Java ${JAVA_MIN} or newer; install it, or set MILLRACE_TEST_KAFKA`,
  )
}

/** The jars: KAFKA_HOME, kafka-server-start.sh on PATH, the cache, or from Maven. */
export async function findJars(): Promise<Found> {
  const script = onPath('kafka-server-start.sh')
  const homes = [
    process.env.KAFKA_HOME,
    script === undefined ? undefined : dirname(dirname(realpathSync(script))),
  ]
  for (const home of homes) {
    if (home === undefined || !existsSync(join(home, 'libs'))) continue
    const libs = join(home, 'libs')
    const version = readdirSync(libs).find((name) => /^kafka_2\.13-4\.[\d.]+\.jar$/.test(name))
    if (version !== undefined)
      return { how: 'installed', version: version.slice('kafka_2.13-'.length, -'.jar'.length), at: libs }
  }
  try {
    const { folder, fetched } = await cached(`kafka-${KAFKA_VERSION}`, fetchJars)
    return { how: fetched ? 'fetched' : 'cache', version: KAFKA_VERSION, at: join(folder, 'libs') }
  } catch (error) {
    if (error instanceof ServiceMissing) throw error
    throw new ServiceMissing('kafka', `could not be fetched: ${(error as Error).message}`, { cause: error })
  }
}

/** A small heap, a start that does not wait for the optimising compiler, and a class path in a fixed order. */
export function javaArgs(libs: string): string[] {
  // Sorted: a class archive is only good for the very class path it was made with.
  const jars = readdirSync(libs).filter((name) => name.endsWith('.jar'))
  const classPath = jars.sort().map((name) => join(libs, name))
  return [
    '-Xms64m',
    '-Xmx256m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-XX:-UsePerfData',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
    '-cp',
    classPath.join(':'),
  ]
}

/**
 * The argument that shares an archive of loaded classes, made once per Java and set of jars, which halves the time of a
 * start. `record` runs a broker with the argument it is given, and ends it in good order. Without an archive Kafka starts
 * too, so a failure to make one is not reported.
 */
export async function classArchive(
  options: { libs: string; javaVersion: string; cacheable: boolean },
  record: (javaArg: string) => Promise<void>,
): Promise<string[]> {
  if (!options.cacheable) return []
  const key = createHash('sha256').update(`${options.javaVersion} ${process.arch}`).digest('hex').slice(0, 12)
  const archive = join(dirname(options.libs), `classes-${key}.jsa`)
  if (!existsSync(archive)) {
    const unfinished = `${archive}.${process.pid}`
    try {
      await record(`-XX:ArchiveClassesAtExit=${unfinished}`)
      await rename(unfinished, archive)
    } catch {
      await rm(unfinished, { force: true })
      return []
    }
  }
  return [`-XX:SharedArchiveFile=${archive}`]
}

async function fetchJars(folder: string): Promise<void> {
  const maven = onPath('mvn')
  if (maven === undefined) {
    throw new ServiceMissing(
      'kafka',
      'no docker engine answers, no kafka-server-start.sh or KAFKA_HOME, and no Maven (mvn) to fetch it with; install Maven, or set MILLRACE_TEST_KAFKA',
    )
  }
  await writeFile(join(folder, 'pom.xml'), POM)
  const args = ['-DincludeScope=runtime', `-DoutputDirectory=${join(folder, 'libs')}`]
  await command(maven, ['-B', '-ntp', '-q', COPY, ...args], { withinMs: FETCH_WITHIN_MS, cwd: folder })
}
