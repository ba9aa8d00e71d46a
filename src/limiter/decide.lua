-- The twin of decide.ts (with state, level, window, bucket, adapt and queue): the same decisions, bit by bit, inside Redis 6.2
-- or later. Whoever changes one changes the other; a property test drives both side by side.
--
-- KEYS[1]  a hash with everything that was granted. One key, so that it is lost as a whole or not at all, which the missing
--          field `core` tells. Fields, packed by cmsgpack as arrays:
--            core             { runId, epoch, last, offset }
--            turn:<platform>  { cursor, served }
--            members          { daemon, seen, outUntil, … }
--            <level>          { kind, epoch, blockedUntil, factor, factorAt, recent, … } and then
--                             bucket: tat; window: log, pending; quota: ends, used, next
--          log is { time, units, … }, pending { grant, permits, arrived, charge, by, … }, recent { slot, units, … }.
--          Times in microseconds.
-- KEYS[2]  a hash of queues by level: { daemon, since, until, units, charge, permits, had, … }. Losing it costs fairness only.
-- KEYS[3]  (decide) what was granted to this request, when it was granted anything; expires by itself.
-- ARGV[1]  the question in JSON: see question.ts. `nowUs` and `runId`, for tests, replace Redis' clock and identity.
--
-- Numbers are doubles: whole and exact up to 2^53 microseconds, the year 2255.

local q = cjson.decode(ARGV[1])
local floor, ceil, max, min, huge = math.floor, math.ceil, math.max, math.min, math.huge

local REMEMBER_US = 60000000
local SLOT_US = 10000000
local SLOTS = 7
local WHOLE = 1000
local QUOTA_WAIT_MIN_US = 1000000
local STAND_US = 20000
local LITTLE_US = 1000000

-- Places in a level's record.
local KIND, EPOCH, BLOCKED, FACTOR, FACTOR_AT, RECENT, TAT = 1, 2, 3, 4, 5, 6, 7
local LOG, PENDING = 7, 8
local ENDS, USED, NEXT = 7, 8, 9

-- Names are compared byte by byte: `<` would follow the server's locale.
local function compare(a, b)
  for i = 1, max(#a, #b) do
    local x, y = string.byte(a, i) or -1, string.byte(b, i) or -1
    if x ~= y then return x < y and -1 or 1 end
  end
  return 0
end

-- Everything that the question is about, in one read.
local terms = q.levels
local names = { 'core', 'turn:' .. q.platform, 'members' }
for index, level in ipairs(terms) do names[index + 3] = level.name end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
local function known(index)
  return stored[index] and cmsgpack.unpack(stored[index]) or nil
end

-- The server's identity: another one means a fail-over or a restart, where the last grants may be missing.
local info = redis.pcall('INFO', 'server')
local runId = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
if q.runId then runId = q.runId end

local raw = q.nowUs
if not raw then
  local time = redis.call('TIME')
  raw = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Clock, epoch and core.
local core = known(1)
local fresh = core == nil
core = core or { '', 0, 0, 0 }
local now = raw + core[4]
local back = now < core[3]
if back then
  core[4] = core[4] + core[3] - now
  now = core[3]
end
local adopted = runId ~= '' and runId ~= core[1]
local cold = q.coldStart == 'empty' and (fresh or (adopted and core[1] ~= ''))
if cold then core[2] = now end
if adopted then core[1] = runId end
local changed = fresh or back or adopted
local epoch = core[2]

-- Levels: as of now.
local function openLevel(record, level)
  local current = record and record[EPOCH] == epoch and record[KIND] == level.kind and record or nil
  local same = record and record[EPOCH] == epoch
  local opened = {
    level.kind, epoch,
    record and record[BLOCKED] or 0,
    record and record[FACTOR] or WHOLE,
    record and record[FACTOR_AT] or 0,
    same and record[RECENT] or {},
  }
  if level.kind == 'bucket' then
    opened[TAT] = current and current[TAT] or (epoch > 0 and epoch + level.toleranceUs or 0)
  elseif level.kind == 'window' then
    local since = now - level.windowUs
    local oldLog = current and current[LOG] or (epoch > 0 and { epoch + level.arriveUs, level.limit } or {})
    local oldPending = current and current[PENDING] or {}
    local log, pending = {}, {}
    for i = 1, #oldLog, 2 do
      if oldLog[i] > since then
        log[#log + 1] = oldLog[i]
        log[#log + 1] = oldLog[i + 1]
      end
    end
    for i = 1, #oldPending, 5 do
      if oldPending[i + 4] > since then
        for k = i, i + 4 do pending[#pending + 1] = oldPending[k] end
      end
    end
    opened[LOG], opened[PENDING] = log, pending
  else
    local starts, seen = level.startsUs, level.seen
    local at
    for i = 1, #starts do
      if starts[i] > raw then
        at = i
        break
      end
    end
    if not at then at = #starts elseif at == 1 then at = 2 end
    local ends, used, coming = starts[at], 0, 0
    local before = record and record[KIND] == 'quota' and record or nil
    if before and before[ENDS] >= ends then
      ends, used, coming = before[ENDS], before[USED], before[NEXT]
    elseif before and before[ENDS] == starts[at - 1] then
      used = before[NEXT]
    end
    if seen.endsUs == ends then used = max(used, seen.used) + seen.owed end
    opened[ENDS], opened[USED], opened[NEXT] = ends, used, coming
  end
  return opened
end

-- Adaptation: additive increase, multiplicative decrease, in thousandths.
local function factorOf(record, level)
  if record[FACTOR] >= WHOLE then return WHOLE end
  local steps = max(0, floor((now - record[FACTOR_AT]) / level.stepUs))
  return min(WHOLE, record[FACTOR] + 50 * steps)
end

-- The limit or interval that holds now, beside the terms that do not change.
local function adapted(level, factor, most)
  local own = { limit = level.limit, intervalUs = level.intervalUs }
  if factor >= WHOLE then return own end
  if level.kind ~= 'bucket' then
    own.limit = max(most, floor((level.limit * factor) / WHOLE))
  else
    own.intervalUs = min(ceil((level.intervalUs * WHOLE) / factor), floor(level.toleranceUs / most))
  end
  return own
end

local records, own, touched = {}, {}, {}
local function openAll(most, share)
  for index, level in ipairs(terms) do
    records[index] = openLevel(known(index + 3), level)
    local limits = adapted(level, factorOf(records[index], level), most and most[index] or 1)
    if share and share < WHOLE then
      if level.kind ~= 'bucket' then
        limits.limit = floor((limits.limit * share) / WHOLE)
      else
        limits.intervalUs = share == 0 and 1000000000000000 or ceil((limits.intervalUs * WHOLE) / share)
      end
    end
    own[index] = limits
  end
end

local function usedUnits(record)
  local used = 0
  local log, pending = record[LOG], record[PENDING]
  for i = 2, #log, 2 do used = used + log[i] end
  for i = 1, #pending, 5 do used = used + (pending[i + 1] - pending[i + 2]) * pending[i + 3] end
  return used
end

local function unitsOf(index)
  local record, level = records[index], terms[index]
  if level.kind == 'bucket' then
    return max(0, floor((level.toleranceUs - max(0, record[TAT] - now)) / own[index].intervalUs))
  elseif level.kind == 'window' then
    return max(0, own[index].limit - usedUnits(record))
  end
  return max(0, own[index].limit - record[USED])
end

local function freeOf(index)
  return records[index][BLOCKED] > now and 0 or unitsOf(index)
end

local function capacityOf(index)
  local level = terms[index]
  return level.kind == 'bucket' and floor(level.toleranceUs / own[index].intervalUs) or own[index].limit
end

local function grained(time, level)
  return ceil(time / level.grainUs) * level.grainUs
end

local function windowWait(record, level, limit, units)
  local log, pending = record[LOG], record[PENDING]
  local missing = usedUnits(record) + units - limit
  if missing <= 0 then return 0 end
  local soonest = level.causal and grained(now, level) or huge
  local time, i, j = now, 1, 1
  while missing > 0 and (i <= #log or j <= #pending) do
    local logTime = log[i] or huge
    local pendingTime = min(pending[j + 4] or huge, soonest)
    if i <= #log and (j > #pending or logTime <= pendingTime) then
      time, missing, i = logTime, missing - log[i + 1], i + 2
    else
      local outstanding = (pending[j + 1] - pending[j + 2]) * pending[j + 3]
      time, missing, j = pendingTime, missing - outstanding, j + 5
    end
  end
  return max(0, time + level.windowUs - now)
end

local function waitOf(index, units)
  local record, level = records[index], terms[index]
  local wait = 0
  if level.kind == 'bucket' then
    wait = max(0, record[TAT] - now - (level.toleranceUs - units * own[index].intervalUs))
  elseif level.kind == 'window' then
    wait = windowWait(record, level, own[index].limit, units)
  elseif record[USED] + units > own[index].limit then
    wait = max(QUOTA_WAIT_MIN_US, record[ENDS] - raw)
  end
  return max(wait, record[BLOCKED] - now)
end

local function addRecent(recent, units)
  local slot = floor(now / SLOT_US)
  local kept = {}
  for i = 1, #recent, 2 do
    if recent[i] > slot - SLOTS then
      kept[#kept + 1] = recent[i]
      kept[#kept + 1] = recent[i + 1]
    end
  end
  if kept[#kept - 1] == slot then
    kept[#kept] = kept[#kept] + units
  else
    kept[#kept + 1] = slot
    kept[#kept + 1] = units
  end
  return kept
end

local function addEntry(log, time, units)
  local at = #log
  while at > 0 and log[at - 1] > time do at = at - 2 end
  if at > 0 and log[at - 1] == time then
    log[at] = log[at] + units
  else
    table.insert(log, at + 1, time)
    table.insert(log, at + 2, units)
  end
end

local function addPending(pending, ...)
  local entry = { ... }
  local at = #pending
  while at > 0 and pending[at] > entry[5] do at = at - 5 end
  for k = 1, 5 do table.insert(pending, at + k, entry[k]) end
end

local function charge(index, permits, cost, grant)
  local record, level = records[index], terms[index]
  local units = permits * cost
  record[RECENT] = addRecent(record[RECENT], units)
  if level.kind == 'bucket' then
    record[TAT] = max(record[TAT], now) + units * own[index].intervalUs
  elseif level.kind == 'window' then
    local by = now + level.arriveUs
    if level.causal then
      addPending(record[PENDING], grant, permits, 0, cost, by)
    else
      addEntry(record[LOG], grained(by, level), units)
    end
  else
    record[USED] = record[USED] + units
    if raw >= record[ENDS] - level.overlapUs then record[NEXT] = record[NEXT] + units end
  end
  touched[index] = true
end

local function write()
  local fields = {}
  local function put(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = cmsgpack.pack(value)
  end
  local any = next(touched) ~= nil
  if any or changed then
    core[3] = now
    put('core', core)
  end
  for index in pairs(touched) do put(terms[index].name, records[index]) end
  return fields, put
end
local function flush(fields)
  -- Lua's unpack has room for some thousands.
  for from = 1, #fields, 2000 do
    redis.call('HSET', KEYS[1], unpack(fields, from, min(from + 1999, #fields)))
  end
end

if q.op == 'levels' then
  openAll()
  local first = floor(now / SLOT_US) - SLOTS + 1
  local queues = #terms > 0 and redis.call('HMGET', KEYS[2], unpack(names, 4)) or {}
  local answer = {}
  for index, level in ipairs(terms) do
    local record = records[index]
    local granted, waiting = 0, 0
    for i = 1, #record[RECENT], 2 do
      if record[RECENT][i] >= first then granted = granted + record[RECENT][i + 1] end
    end
    local queue = queues[index] and cmsgpack.unpack(queues[index]) or {}
    for i = 1, #queue, 7 do
      if queue[i + 2] > now then waiting = waiting + queue[i + 5] end
    end
    answer[index] = {
      freeOf(index),
      record[BLOCKED] > now and record[BLOCKED] - core[4] or 0,
      factorOf(record, level),
      level.kind == 'quota' and record[ENDS] or 0,
      granted,
      now - first * SLOT_US,
      waiting,
    }
  end
  return answer
end

if q.op == 'learn' or q.op == 'forgive' then
  openAll()
  local record = records[1]
  if q.op == 'forgive' then
    record[BLOCKED], record[FACTOR], record[FACTOR_AT] = 0, WHOLE, 0
  else
    local before = factorOf(record, terms[1])
    local factor = before
    -- Refusals come in bursts: those within five seconds are one.
    if q.rejected and (before == WHOLE or now - record[FACTOR_AT] >= 5000000) then
      factor = max(100, floor((before * 7) / 10))
    end
    factor = min(factor, q.cap)
    -- Nothing is left, it says: a block, unless we have hardly more ourselves.
    local blockUs = unitsOf(1) * 20 > capacityOf(1) and max(q.blockUs, q.spentUs) or q.blockUs
    if blockUs > 0 then record[BLOCKED] = max(record[BLOCKED], now + blockUs) end
    if factor < before or (q.cap < WHOLE and q.cap <= before) then
      record[FACTOR], record[FACTOR_AT] = factor, now
    end
  end
  touched[1] = true
  flush((write()))
  return {}
end

if q.op == 'charge' then
  openAll()
  local remaining, wait = huge, 0
  for index in ipairs(terms) do charge(index, q.charges[index], 1, '') end
  for index in ipairs(terms) do
    remaining = min(remaining, freeOf(index))
    wait = max(wait, waitOf(index, 1))
  end
  flush((write()))
  return { remaining, wait }
end

-- Decide. Lua counts from 1, the question from 0.
local wants = q.wants
local most = {}
for index in ipairs(terms) do most[index] = 1 end
for _, want in ipairs(wants) do
  for place, level in ipairs(want.levels) do
    want.levels[place] = level + 1
    most[level + 1] = max(most[level + 1], want.charges[place])
  end
end
-- Daemons that go on with a share while Redis is away: what they leave.
local membership, members, share, isMember = q.membership, nil, nil, false
if membership then
  local daemon, graceUs, leaseUs = membership.daemon, membership.graceUs, membership.leaseUs
  local before = not cold and (known(3) or (q.coldStart == 'full' and {})) or nil
  if not before then
    before = {}
    if not membership.leaves then
      for _ = 1, membership.daemonsMax do
        before[#before + 1] = ''
        before[#before + 1] = now - graceUs - 1
        before[#before + 1] = 0
      end
    end
  end
  members = {}
  if membership.leaves then
    share = 0
    for i = 1, #before, 3 do
      if before[i] ~= daemon or before[i + 2] > now then
        for k = i, i + 2 do members[#members + 1] = before[k] end
      end
    end
  else
    local mine, nobody
    for i = 1, #before, 3 do
      if now - before[i + 1] <= leaseUs or before[i + 2] > now then
        if before[i] == daemon then mine = #members + 1 end
        if before[i] == '' and not nobody then nobody = #members + 1 end
        for k = i, i + 2 do members[#members + 1] = before[k] end
      end
    end
    local heardUs = membership.heardUs
    local isDeaf = heardUs > 0 and math.abs(now - heardUs) > graceUs / 2
    local outUntil = (membership.returned or isDeaf) and now + max(membership.settleUs, graceUs) or 0
    local place = mine
    if not place and #members < membership.daemonsMax * 3 then place = #members + 1 end
    place = place or nobody
    if place then
      if mine then outUntil = max(outUntil, members[place + 2]) end
      members[place], members[place + 1], members[place + 2] = daemon, now, outUntil
      isMember = true
    end
    local away = 0
    for i = 1, #members, 3 do
      if now - members[i + 1] > graceUs or members[i + 2] > now then away = away + 1 end
    end
    share = floor((WHOLE * max(0, membership.daemonsMax - away)) / membership.daemonsMax)
  end
end
openAll(most, share)

for index, level in ipairs(terms) do
  if level.kind == 'quota' and level.seen.owed > 0 then touched[index] = true end
end

-- Acknowledgements first.
local told = {}
for _, ack in ipairs(q.acks) do
  for _, level in ipairs(ack.levels) do
    told[level + 1] = told[level + 1] or {}
    table.insert(told[level + 1], ack)
  end
end
for index, acks in pairs(told) do
  local record, level = records[index], terms[index]
  if level.kind == 'window' then
    local pending = record[PENDING]
    local places, moved = {}, 0
    for i = 1, #pending, 5 do places[pending[i]] = i end
    for _, ack in ipairs(acks) do
      local place = places[ack.grant]
      if place then
        local counted = min(ack.arrived, pending[place + 1])
        if counted > pending[place + 2] then
          moved = moved + (counted - pending[place + 2]) * pending[place + 3]
          pending[place + 2] = counted
        end
      end
    end
    if moved > 0 then
      local left = {}
      for i = 1, #pending, 5 do
        if pending[i + 1] > pending[i + 2] then
          for k = i, i + 4 do left[#left + 1] = pending[k] end
        end
      end
      record[PENDING] = left
      addEntry(record[LOG], grained(now, level), moved)
      touched[index] = true
    end
  end
end

-- Daemons that the levels hold back: what is kept for the others.
local others, before, mine, had = {}, {}, {}, {}
local shared = q.daemon ~= ''
if shared and #terms > 0 then
  local queues = redis.call('HMGET', KEYS[2], unpack(names, 4))
  for index in ipairs(terms) do
    local queue = queues[index] and cmsgpack.unpack(queues[index]) or {}
    local waiting = {}
    local least = huge
    for i = 1, #queue, 7 do
      if queue[i] == q.daemon then
        before[index] = #waiting
        mine[index] = queue[i + 1]
        had[index] = queue[i + 6]
      elseif queue[i + 2] > now then
        waiting[#waiting + 1] = { unpack(queue, i, i + 6) }
        least = min(least, queue[i + 6])
      end
    end
    others[index] = waiting
    if not mine[index] then
      before[index] = #waiting
      had[index] = #waiting == 0 and 0 or least
    end
  end
end
-- In every chain places are kept only at the first level where others wait.
local keeps = {}
for _, want in ipairs(wants) do
  local led = false
  for _, level in ipairs(want.levels) do
    if led then
      keeps[level] = false
    else
      led = others[level] ~= nil and #others[level] > 0
    end
  end
end
local unreserved, kept, free = {}, {}, {}
for index in ipairs(terms) do
  unreserved[index] = freeOf(index)
  local waiting = others[index] or {}
  local own = had[index] or 0
  local all = { own }
  for _, one in ipairs(waiting) do all[#all + 1] = one[7] end
  table.sort(all)
  local total, even = unreserved[index], 0
  for i = 1, #all do
    total = total + all[i]
    even = floor(total / i)
    if all[i + 1] == nil or even < all[i + 1] then break end
  end
  local units = 0
  for place, one in ipairs(waiting) do
    local first = keeps[index] ~= false and (one[7] < own or (one[7] == own and place <= before[index]))
    units = units + min(one[4], max(first and one[5] or 0, even - one[7]))
  end
  kept[index] = units
  free[index] = max(0, unreserved[index] - units)
end

-- What this request was granted before it is not granted again.
local answered = redis.call('GET', KEYS[3])
if answered then
  answered = cmsgpack.unpack(answered)
  if now - answered[1] >= REMEMBER_US then answered = nil end
end

local granted, claims = {}, {}
for at = 1, #wants do granted[at] = 0 end
local units, isFull = 0, false
local turnBefore = known(2) or { '', 0 }
local cursor, served = turnBefore[1], turnBefore[2]

if answered then
  if now - answered[1] <= q.replayUs then
    for at, want in ipairs(wants) do granted[at] = min(want.count, answered[2][at] or 0) end
  end
elseif #wants > 0 then
  -- In turns, by deficit round-robin.
  local costs, sharers, quantum = {}, {}, 1
  for index in ipairs(terms) do sharers[index] = 0 end
  for at, want in ipairs(wants) do
    costs[at] = max(unpack(want.charges))
    quantum = max(quantum, costs[at])
    for _, level in ipairs(want.levels) do sharers[level] = sharers[level] + 1 end
  end
  local turn = 1
  for at = 1, #wants do
    if compare(wants[at].lane, cursor) >= 0 then
      turn = at
      break
    end
  end
  if wants[turn].lane ~= cursor then served = 0 end
  if served >= quantum then
    -- It has had its turn, by the smaller quantum of this demand.
    turn = turn % #wants + 1
    served = 0
  end
  local room, idle, keptTurn = q.permitsMax, 0, nil
  while idle < #wants do
    local want, cost = wants[turn], costs[turn]
    local due = min(want.count - granted[turn], ceil((quantum - served) / cost))
    local permits = min(due, room)
    for place, level in ipairs(want.levels) do
      permits = min(permits, floor(free[level] / want.charges[place]))
    end
    if permits > 0 then
      granted[turn] = granted[turn] + permits
      room = room - permits
      for place, level in ipairs(want.levels) do free[level] = free[level] - permits * want.charges[place] end
      units = units + permits * cost
      served = served + permits * cost
      idle = 0
    else
      idle = idle + 1
    end
    if permits < due then
      local short, longest = nil, -1
      for place, level in ipairs(want.levels) do
        if free[level] < want.charges[place] then
          local wait = waitOf(level, unreserved[level] - free[level] + want.charges[place])
          if wait > longest then short, longest = level, wait end
        end
      end
      if short and sharers[short] > 1 then
        claims[short] = claims[short] or turn
        free[short] = 0
        keptTurn = keptTurn or { want.lane, served }
      end
      if room == 0 then
        keptTurn = keptTurn or { want.lane, served }
        break
      end
    end
    turn = turn % #wants + 1
    served = 0
  end
  isFull = room == 0
  cursor, served = wants[turn].lane, served
  if keptTurn then cursor, served = keptTurn[1], keptTurn[2] end
end

if units > 0 then
  for at, want in ipairs(wants) do
    if granted[at] > 0 then
      local grant = q.id .. '/' .. string.format('%d', at - 1)
      for place, level in ipairs(want.levels) do charge(level, granted[at], want.charges[place], grant) end
    end
  end
end

local fields, put = write()
if members then put('members', members) end
if units > 0 then
  put(names[2], { cursor, served })
  redis.call('SET', KEYS[3], cmsgpack.pack({ now, granted }), 'PX', REMEMBER_US / 1000)
end
flush(fields)

local waits = {}
for at, want in ipairs(wants) do
  local wait, level = 0, 0
  if granted[at] < want.count then
    for place, index in ipairs(want.levels) do
      local charged = want.charges[place]
      local one
      if capacityOf(index) < charged then
        one = max(LITTLE_US, records[index][BLOCKED] - now)
      else
        one = waitOf(index, min(capacityOf(index), kept[index] + charged))
      end
      if one > wait then wait, level = one, index end
    end
  end
  waits[at] = { wait, level }
end

local verdicts = {}
for at, want in ipairs(wants) do
  local wait, level = waits[at][1], waits[at][2]
  if wait == 0 and granted[at] < want.count and not isFull then
    -- Held back although there was room: one that costs more is first in line there.
    for _, index in ipairs(want.levels) do
      if claims[index] then
        wait, level = waits[claims[index]][1], waits[claims[index]][2]
        break
      end
    end
    if wait == 0 then
      wait, level = STAND_US, want.levels[1]
      for place, index in ipairs(want.levels) do
        if free[index] < want.charges[place] then
          level = index
          break
        end
      end
    end
  end
  local remaining = huge
  local tight = 0
  for _, index in ipairs(want.levels) do
    remaining = min(remaining, free[index])
    if tight == 0 and terms[index].kind == 'window' and free[index] * 2 < capacityOf(index) then tight = index end
  end
  verdicts[at] = { granted[at], wait, level, remaining, tight }
end

-- Where the daemon stands now in the queues of the levels that it asked.
if shared and #wants > 0 then
  local asked = {}
  for at, want in ipairs(wants) do
    for place, index in ipairs(want.levels) do
      local one = asked[index] or { units = 0, charge = 0, permits = 0, wait = 0, got = 0 }
      asked[index] = one
      one.got = one.got + granted[at] * want.charges[place]
      if verdicts[at][3] == index then
        one.units = one.units + (want.count - granted[at]) * want.charges[place]
        one.charge = max(one.charge, want.charges[place])
        one.permits = one.permits + want.waiting - granted[at]
        one.wait = max(one.wait, verdicts[at][2])
      end
    end
  end
  local written = {}
  for index, one in pairs(asked) do
    if one.units > 0 or mine[index] then
      local stays = mine[index] and one.got == 0
      local entry
      if one.units > 0 then
        local level = terms[index]
        local hold = min(2500000, level.kind == 'window' and 300000 + floor(level.windowUs / 50) or 2500000)
        entry = { q.daemon, stays and mine[index] or now, now + one.wait + hold, one.units, one.charge, one.permits, had[index] + one.got }
      end
      local waiting = others[index]
      if entry and stays then
        table.insert(waiting, before[index] + 1, entry)
      elseif entry and #waiting < 256 then
        waiting[#waiting + 1] = entry
      end
      local least = huge
      for _, item in ipairs(waiting) do least = min(least, item[7]) end
      local queue = {}
      for _, item in ipairs(waiting) do
        for k = 1, 6 do queue[#queue + 1] = item[k] end
        queue[#queue + 1] = item[7] - least
      end
      written[#written + 1] = terms[index].name
      written[#written + 1] = cmsgpack.pack(queue)
    end
  end
  for from = 1, #written, 2000 do
    redis.call('HSET', KEYS[2], unpack(written, from, min(from + 1999, #written)))
  end
end

local quotas = {}
for index, level in ipairs(terms) do
  if level.kind == 'quota' then
    quotas[#quotas + 1] = { index - 1, records[index][ENDS], records[index][USED] }
  end
end
return { cold and 1 or 0, verdicts, quotas, isMember and 1 or 0, now }
