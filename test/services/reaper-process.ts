import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { processesUsing } from './left-over.ts'
import { bornAt, killGroup } from './reaper.ts'

// The second process of reaper.ts: reads what to end, one line each, and ends it when its standard input closes.
// It outlives its parent by design, so it must not die of the signals that a terminal sends to both.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const listed = {
  pid: new Set<string>(),
  folder: new Set<string>(),
  container: new Set<string>(),
  users: new Set<string>(),
  mount: new Set<string>(),
}

for await (const line of createInterface({ input: process.stdin })) {
  const match = /^([+-])(pid|folder|container|users|mount) (.+)$/.exec(line)
  if (match === null) continue
  const set = listed[match[2] as keyof typeof listed]
  if (match[1] === '+') set.add(match[3]!)
  else set.delete(match[3]!)
}

for (const entry of listed.pid) {
  const [pid, born] = entry.split(' ')
  killGroup(Number(pid), born ?? '?')
}
for (const folder of listed.users) {
  for (const { pid } of processesUsing(folder)) if (pid !== process.pid) killGroup(pid, bornAt(pid))
}
if (listed.container.size > 0) {
  spawnSync('docker', ['rm', '--force', '--volumes', ...listed.container], {
    stdio: 'ignore',
  })
}
for (const folder of listed.mount) spawnSync('umount', ['--lazy', folder], { stdio: 'ignore' })
// A process that was just killed may still be writing.
for (const folder of listed.folder)
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
