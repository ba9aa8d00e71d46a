import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { api } from './api.ts'
import { creators } from './creators.ts'
import { kafka } from './kafka.ts'
import { limits } from './limits.ts'
import { onCall } from './on-call.ts'
import { pictures } from './pictures.ts'

/** Every dashboard, by the name of its file in grafana/dashboards. */
export const DASHBOARDS: Readonly<Record<string, () => Dashboard>> = {
  'on-call.json': onCall,
  'limits.json': limits,
  'pictures.json': pictures,
  'kafka.json': kafka,
  'api.json': api,
  'creators.json': creators,
}

const folder = new URL('./dashboards/', import.meta.url)

/** The text of each file as the code says it should be. */
export function dashboardFiles(): { readonly file: URL; readonly text: string }[] {
  return Object.entries(DASHBOARDS).map(([name, build]) => ({
    file: new URL(name, folder),
    text: `${JSON.stringify(build(), null, 2)}\n`,
  }))
}

// `node grafana/dashboards.ts` writes the files; with --check it only says which ones differ.
if (import.meta.main) {
  const check = process.argv.includes('--check')
  mkdirSync(folder, { recursive: true })
  for (const { file, text } of dashboardFiles()) {
    if (!check) writeFileSync(file, text)
    else if (readFileSync(file, 'utf8') !== text) {
      console.error(`${file.pathname} is not what the code makes: run \`node grafana/dashboards.ts\``)
      process.exitCode = 1
    }
  }
}
