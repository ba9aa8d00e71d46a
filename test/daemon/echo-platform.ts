/** A platform as careless as they come, loaded by secrets.test.ts: its key stands in every address, and its errors tell all. */
import { z } from 'zod'
import { definePlatform } from '../../src/platforms/define.ts'

let known = ''

export default definePlatform({
  name: 'own',
  origin: 'https://api.own.test',
  credentials: z.object({ user: z.string(), password: z.string(), api_key: z.string() }),
  endpoints: { thing: { path: '/things/:id', response: z.object({ id: z.int() }) } },
  authorise({ user, password, api_key }) {
    known = `${user}:${password} ?api_key=${encodeURIComponent(api_key)}`
    const pair = Buffer.from(`${user}:${password}`).toString('base64')
    return { headers: { authorization: `Basic ${pair}` }, query: { api_key } }
  },
  jobs: {
    profile: {
      params: z.object({}),
      async run(job, { get }) {
        await get('thing', { path: { id: job.creatorId } })
        return {}
      },
    },
    throws: {
      params: z.object({}),
      async run() {
        throw new TypeError(`cannot go on with ${known}`, { cause: new Error(known) })
      },
    },
    ends_the_process: {
      params: z.object({}),
      async run() {
        setImmediate(() => {
          throw Object.assign(new Error(`the process ends with ${known}`), { known })
        })
        return {}
      },
    },
  },
})
