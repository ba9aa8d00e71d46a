import { make, setText } from './dom.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */

/** What a daemon says that has not had a job yet: how it gets one. Gone with the first. @param {HTMLElement} root */
export function firstView(root) {
  const how = make('p')
  const command = make('code', { class: 'line' })
  root.append(how, command)

  /** @param {ConsoleEvent} event */
  return function show({ jobs, mode, platforms, partitions }) {
    root.hidden = jobs.consumed > 0
    if (root.hidden) return
    const able = platforms.find(({ hasCredentials }) => hasCredentials)
    const { platform = 'youtube' } = able ?? platforms[0] ?? {}
    if (able === undefined) {
      setText(how, `No platform has credentials, so jobs would wait. Give one its own in the configuration:`)
      return setText(command, `platforms.${platform}.credentials`)
    }
    const topic = partitions.find((one) => !/\.(retry|parked)\./.test(one.topic))?.topic
    if (mode.source === 'file') {
      setText(how, 'One job a line, into the file or standard input that this daemon reads:')
      const job = { platform, creator_id: '<creator>', job_type: 'full_profile_scrape' }
      return setText(command, JSON.stringify(job))
    }
    setText(
      how,
      `Publish one${topic === undefined ? '' : ` to ${topic}`}, with any producer or from a shell:`,
    )
    setText(command, `millrace enqueue ${platform} <creator> full_profile_scrape`)
  }
}
