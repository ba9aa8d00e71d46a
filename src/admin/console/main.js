import { actor } from './act.js'
import { chartView } from './chart.js'
import { fleetView, selfView } from './daemon.js'
import { byId, keyed, make, setProp, setText, within } from './dom.js'
import { failuresView } from './failures.js'
import { firstView } from './first.js'
import { flowView } from './flow.js'
import { lagView } from './lag.js'
import { limitsView } from './limits.js'
import { rateMeter } from './rates.js'
import { stripView } from './strip.js'
import { themeSwitch } from './theme.js'
import { verdictOf } from './verdict.js'
import { perSecond, some } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {import('../status.ts').ConsoleGreeting} ConsoleGreeting */

const TILES = /** @type {const} */ ({
  upstream: 'Upstream',
  limits: 'Limits',
  sinks: 'Sinks',
  daemon: 'This daemon',
})

themeSwitch(byId('theme'))
const act = actor()
const ratesOf = rateMeter()
const showFirst = firstView(byId('first'))
const flow = flowView(byId('flow'))
const showLimits = limitsView(byId('levels'), pauseOrResume)
const failures = failuresView(byId('failures'), byId('replay'), sendBack)
const showLag = lagView(byId('lag'), byId('lag-sum'), byId('lag-others'))
const showSelf = selfView(byId('self'))
const showFleet = fleetView(byId('fleet'))
const showStrip = stripView(byId('strip'), byId('picture-counts'))
const chart = chartView(byId('chart'), byId('readout'))
let fleetSize = 0

/** @param {'pause' | 'resume'} action @param {string} platform */
function pauseOrResume(action, platform) {
  const all = fleetSize > 1 ? `all ${fleetSize} daemons` : 'this daemon'
  if (action === 'resume') {
    const question = {
      title: `Resume ${platform}?`,
      text: `Its jobs that waited are worked on again by ${all}, within its limits.`,
      yes: 'Resume',
    }
    return void act.run(`platforms/${platform}/resume`, question, () => ({}), `${platform} goes on.`)
  }
  const question = {
    title: `Pause ${platform}?`,
    text: `Nothing more is asked of it by ${all}, until somebody resumes it. Its jobs wait; none is lost.`,
    yes: 'Pause',
    label: 'Why (everybody sees it)',
  }
  void act.run(`platforms/${platform}/pause`, question, (because) => ({ because }), `${platform} is paused.`)
}

/** @param {string} reason @param {number} dead */
function sendBack(reason, dead) {
  const question = {
    title: `Send dead letters of ${reason} back?`,
    text: `All that stand there go to the topics they came from, once each; ${some(dead, 'job')} died of it here since the start. Do it when the cause is gone.`,
    yes: 'Send back',
  }
  void act.run(
    'dead-letters/replay',
    question,
    () => ({ reason }),
    `Dead letters of ${reason} are being sent back.`,
  )
}

/** @param {'fine' | 'bad' | 'busy'} tone @param {string} text */
function showState(tone, text) {
  setText(byId('state'), text)
  setProp(byId('state'), 'data-tone', tone)
}

/** @param {ConsoleEvent} event */
function show(event) {
  const nowMs = Date.now()
  const rates = ratesOf(event, performance.now())
  const verdict = verdictOf(event, rates, nowMs)
  document.body.classList.remove('stale')
  showState(event.ready.ready ? 'fine' : 'bad', event.ready.ready ? 'ready' : 'not ready')
  setText(byId('headline'), verdict.headline.text)
  setProp(byId('headline'), 'data-tone', verdict.headline.state)
  keyed(byId('tiles'), Object.entries(TILES), {
    key: ([id]) => id,
    create: ([, name]) => make('div', { class: 'tile' }, make('dt', {}, name), make('dd')),
    update: (tile, [id]) => {
      const { state, text } = verdict[/** @type {keyof typeof TILES} */ (id)]
      setText(within(tile, 'dd'), text)
      setProp(tile, 'data-tone', state)
    },
  })
  const self = event.fleet.find(({ isSelf }) => isSelf)
  setText(byId('about'), [self?.name, `version ${event.version}`].filter(Boolean).join(' · '))
  byId('wheel').classList.toggle('turns', (rates.ended ?? 0) > 0)
  document.title = `${event.ready.ready ? '' : '● '}millrace ${perSecond(rates.ended)}`
  fleetSize = event.fleet.length
  act.allow(event.canChange)
  showFirst(event)
  flow.show(event, rates, nowMs)
  showLimits(event, nowMs)
  setText(
    byId('limits-of'),
    event.mode.limiter === 'redis' ? 'shared by all daemons' : 'of this daemon alone',
  )
  failures.show(event, nowMs)
  showLag(event.partitions, event.mode.source)
  showSelf(event)
  showFleet(event.fleet)
  showStrip(event.pictures)
  chart.toggle('lag', event.mode.source === 'kafka')
  chart.add(event.point)
}

const RELOAD_MS = 10_000

function connect() {
  const events = new EventSource('events')
  events.addEventListener('hello', (event) => {
    const { history, reasons } = /** @type {ConsoleGreeting} */ (JSON.parse(event.data))
    failures.learn(reasons)
    if (history !== null) chart.load(history)
  })
  events.addEventListener('message', (event) => show(JSON.parse(event.data)))
  events.addEventListener('trouble', (event) => {
    showState('bad', 'trouble')
    setText(byId('headline'), `The daemon cannot say how it is: ${JSON.parse(event.data)}`)
    setProp(byId('headline'), 'data-tone', 'bad')
  })
  events.addEventListener('error', () => {
    document.body.classList.add('stale')
    flow.still()
    showState('bad', 'no connection')
    setText(
      byId('headline'),
      'The daemon does not answer. What stands below is what it said last; trying again.',
    )
    setProp(byId('headline'), 'data-tone', 'bad')
    // The browser gives up by itself when it is refused, because too many consoles look on.
    if (events.readyState !== EventSource.CLOSED) return
    setTimeout(connect, RELOAD_MS)
  })
}
connect()
