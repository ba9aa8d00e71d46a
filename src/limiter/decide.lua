-- The twin of decide.ts (with state.ts, window.ts, bucket.ts): the same decisions, bit by bit, inside Redis 6.2 or later.
-- Whoever changes one changes the other; a property test drives both side by side.
--
-- KEYS[1]  a hash with everything that was granted. One key, so that it is lost as a whole or not at all, which the missing
--          field `core` tells. Fields, packed by cmsgpack as arrays:
--            core                       { runId, epoch, last, offset, tat, recent }
--            p:<platform>               { epoch, tat, blockedUntil, cursor, served, recent }
--            e:<platform>/<endpoint>    { epoch, blockedUntil, log, pending, recent }
--          log is { time, units, … }, pending { grant, units, by, … }, recent { slot, units, … }. Times in microseconds.
-- KEYS[2]  (decide) what was granted to this request, when it granted or acknowledged anything; expires by itself.
-- ARGV[1]  the question in JSON: see question.ts. `nowUs`, for tests, replaces Redis' clock.
--
-- Numbers are doubles: whole and exact up to 2^53 microseconds, the year 2255.

local q = cjson.decode(ARGV[1])
local hash = KEYS[1]
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local REMEMBER_US = 60000000
local SLOT_US = 10000000
local SLOTS = 7

-- Names are compared byte by byte: `<` would follow the server's locale.
local function compare(a, b)
  for i = 1, max(#a, #b) do
    local x, y = string.byte(a, i) or -1, string.byte(b, i) or -1
    if x ~= y then return x < y and -1 or 1 end
  end
  return 0
end

-- Bucket: GCRA.
local function bucketUnits(tat, now, terms)
  return max(0, floor((terms.toleranceUs - max(0, tat - now)) / terms.intervalUs))
end
local function bucketWait(tat, now, terms, units)
  return max(0, tat - now - (terms.toleranceUs - units * terms.intervalUs))
end
local function taken(tat, now, terms, units)
  return max(tat, now) + units * terms.intervalUs
end

-- Window: a log of arrivals, and grants that may arrive at any time.
local function usedUnits(log, pending)
  local used = 0
  for i = 2, #log, 2 do used = used + log[i] end
  for i = 2, #pending, 3 do used = used + pending[i] end
  return used
end
local function grained(time, terms)
  return ceil(time / terms.grainUs) * terms.grainUs
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
local function addPending(pending, grant, units, by)
  local at = #pending
  while at > 0 and pending[at] > by do at = at - 3 end
  table.insert(pending, at + 1, grant)
  table.insert(pending, at + 2, units)
  table.insert(pending, at + 3, by)
end
local function windowWait(log, pending, terms, now, units)
  local missing = usedUnits(log, pending) + units - terms.limit
  if missing <= 0 then return 0 end
  local soonest = terms.causal and grained(now, terms) or math.huge
  local time, i, j = now, 1, 1
  while missing > 0 and (i <= #log or j <= #pending) do
    local logTime = log[i] or math.huge
    local pendingTime = min(pending[j + 2] or math.huge, soonest)
    if i <= #log and (j > #pending or logTime <= pendingTime) then
      time, missing, i = logTime, missing - log[i + 1], i + 2
    else
      time, missing, j = pendingTime, missing - pending[j + 1], j + 3
    end
  end
  return max(0, time + terms.windowUs - now)
end

local function addRecent(recent, now, units)
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

-- Everything that the question is about, in one read.
local names = { 'core', 'p:' .. q.platform }
for _, terms in ipairs(q.windows) do names[#names + 1] = 'e:' .. q.platform .. '/' .. terms.endpoint end
local stored = redis.call('HMGET', hash, unpack(names))
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
core = core or { '', 0, 0, 0, 0, {} }
local now = raw + core[4]
local back = now < core[3]
if back then
  core[4] = core[4] + core[3] - now
  now = core[3]
end
local adopted = runId ~= '' and runId ~= core[1]
local cold = q.coldStart == 'empty' and (fresh or (adopted and core[1] ~= ''))
if cold then
  core[2] = now
  core[5] = now + q.global.toleranceUs
  core[6] = {}
end
if adopted then core[1] = runId end
local changed = fresh or back or adopted
local epoch = core[2]

local platform = known(2)
if not platform or platform[1] ~= epoch then
  platform = { epoch, epoch > 0 and epoch + q.bucket.toleranceUs or 0, platform and platform[3] or 0, '', 0, {} }
end

local endpoints = {}
for index, terms in ipairs(q.windows) do
  local endpoint = known(index + 2)
  if not endpoint or endpoint[1] ~= epoch then
    local full = epoch > 0 and { epoch + terms.arriveUs, terms.limit } or {}
    endpoint = { epoch, endpoint and endpoint[2] or 0, full, {}, {} }
  end
  local since = now - terms.windowUs
  local log, pending = {}, {}
  for i = 1, #endpoint[3], 2 do
    if endpoint[3][i] > since then
      log[#log + 1] = endpoint[3][i]
      log[#log + 1] = endpoint[3][i + 1]
    end
  end
  for i = 1, #endpoint[4], 3 do
    if endpoint[4][i + 2] > since then
      for k = i, i + 2 do pending[#pending + 1] = endpoint[4][k] end
    end
  end
  endpoint[3], endpoint[4] = log, pending
  endpoints[index] = endpoint
end

local function writeCore()
  core[3] = now
  redis.call('HSET', hash, names[1], cmsgpack.pack(core))
end
local function writePlatform()
  redis.call('HSET', hash, names[2], cmsgpack.pack(platform))
end
local function writeEndpoint(index)
  redis.call('HSET', hash, names[index + 2], cmsgpack.pack(endpoints[index]))
end

if q.op == 'levels' then
  local first = floor(now / SLOT_US) - SLOTS + 1
  local function reading(remaining, blockedUntil, recent)
    local blocked = blockedUntil > now
    local granted = 0
    for i = 1, #recent, 2 do
      if recent[i] >= first then granted = granted + recent[i + 1] end
    end
    return { blocked and 0 or remaining, blocked and blockedUntil - core[4] or 0, granted, now - first * SLOT_US }
  end
  local answer = {
    reading(bucketUnits(core[5], now, q.global), 0, core[6]),
    reading(bucketUnits(platform[2], now, q.bucket), platform[3], platform[6]),
  }
  for index, terms in ipairs(q.windows) do
    local endpoint = endpoints[index]
    local remaining = max(0, terms.limit - usedUnits(endpoint[3], endpoint[4]))
    answer[index + 2] = reading(remaining, endpoint[2], endpoint[5])
  end
  return answer
end

if q.op == 'block' or q.op == 'unblock' then
  local function untilTime(before)
    return q.op == 'unblock' and 0 or max(before, now + q.durationUs)
  end
  if endpoints[1] then
    endpoints[1][2] = untilTime(endpoints[1][2])
    writeEndpoint(1)
  else
    platform[3] = untilTime(platform[3])
    writePlatform()
  end
  writeCore()
  return {}
end

-- Decide. What this request did before it does not do again.
local answered = redis.call('GET', KEYS[2])
if answered then
  answered = cmsgpack.unpack(answered)
  if now - answered[1] >= REMEMBER_US then answered = nil end
end

-- Acknowledgements first.
local touched = {}
local moved = {}
local places = {}
for _, ack in ipairs(answered and {} or q.acks) do
  local index = ack.window + 1
  local pending = endpoints[index][4]
  if not places[index] then
    places[index] = {}
    for i = 1, #pending, 3 do places[index][pending[i]] = i + 1 end
  end
  local place = places[index][ack.grant]
  if place then
    local units = min(ack.units, pending[place])
    pending[place] = pending[place] - units
    moved[index] = (moved[index] or 0) + units
  end
end
for index, terms in ipairs(q.windows) do
  if (moved[index] or 0) > 0 then
    local endpoint = endpoints[index]
    local left = {}
    for i = 1, #endpoint[4], 3 do
      if endpoint[4][i + 1] > 0 then
        for k = i, i + 2 do left[#left + 1] = endpoint[4][k] end
      end
    end
    endpoint[4] = left
    addEntry(endpoint[3], grained(now, terms), moved[index])
    touched[index] = true
  end
end

local freeGlobal = bucketUnits(core[5], now, q.global)
local freePlatform = platform[3] > now and 0 or bucketUnits(platform[2], now, q.bucket)
local freeWindow = {}
for index, terms in ipairs(q.windows) do
  local endpoint = endpoints[index]
  freeWindow[index] = endpoint[2] > now and 0 or max(0, terms.limit - usedUnits(endpoint[3], endpoint[4]))
end

local wants = q.wants
local granted = {}
for at = 1, #wants do granted[at] = 0 end
local units = 0
local first
local cursor, served = platform[4], platform[5]

local function endpointAt(at)
  return q.windows[wants[at].window + 1].endpoint
end

if answered then
  if now - answered[1] <= q.replayUs then
    for at, want in ipairs(wants) do granted[at] = min(want.count, answered[2][at] or 0) end
  end
elseif #wants > 0 then
  -- In turns, by deficit round-robin.
  local quantum = 1
  for _, want in ipairs(wants) do quantum = max(quantum, want.cost) end
  local turn = 1
  for at = 1, #wants do
    if compare(endpointAt(at), cursor) >= 0 then
      turn = at
      break
    end
  end
  if endpointAt(turn) ~= cursor then served = 0 end
  if served >= quantum then
    -- It has had its turn, by the smaller quantum of this demand.
    turn = turn % #wants + 1
    served = 0
  end
  local idle = 0
  while idle < #wants do
    local want = wants[turn]
    local index = want.window + 1
    local room = min(want.count - granted[turn], floor(freeWindow[index] / want.cost))
    local due = min(room, ceil((quantum - served) / want.cost))
    local permits = min(due, floor(min(freeGlobal, freePlatform) / want.cost))
    if permits > 0 then
      local charged = permits * want.cost
      granted[turn] = granted[turn] + permits
      freeGlobal = freeGlobal - charged
      freePlatform = freePlatform - charged
      freeWindow[index] = freeWindow[index] - charged
      units = units + charged
      served = served + charged
      idle = 0
    end
    if permits < due then
      first = turn
      break
    end
    if permits <= 0 then idle = idle + 1 end
    turn = turn % #wants + 1
    served = 0
  end
  cursor = endpointAt(turn)
end

if units > 0 then
  core[5] = taken(core[5], now, q.global, units)
  core[6] = addRecent(core[6], now, units)
  platform[2] = taken(platform[2], now, q.bucket, units)
  platform[4], platform[5] = cursor, served
  platform[6] = addRecent(platform[6], now, units)
  for at, want in ipairs(wants) do
    if granted[at] > 0 then
      local index = want.window + 1
      local terms = q.windows[index]
      local endpoint = endpoints[index]
      local charged = granted[at] * want.cost
      local by = now + terms.arriveUs
      if terms.causal then
        addPending(endpoint[4], q.id .. '/' .. string.format('%d', at - 1), charged, by)
      else
        addEntry(endpoint[3], grained(by, terms), charged)
      end
      endpoint[5] = addRecent(endpoint[5], now, charged)
      touched[index] = true
    end
  end
  writePlatform()
end
if next(touched) then redis.call('SET', KEYS[2], cmsgpack.pack({ now, granted }), 'PX', REMEMBER_US / 1000) end
if changed or next(touched) then writeCore() end
for index in pairs(touched) do writeEndpoint(index) end

local waits = {}
for at, want in ipairs(wants) do
  local wait, level = 0, 0
  if granted[at] < want.count then
    local index = want.window + 1
    local endpoint = endpoints[index]
    local byLevel = {
      bucketWait(core[5], now, q.global, want.cost),
      max(bucketWait(platform[2], now, q.bucket, want.cost), platform[3] - now),
      max(windowWait(endpoint[3], endpoint[4], q.windows[index], now, want.cost), endpoint[2] - now),
    }
    for k = 1, 3 do
      if byLevel[k] > wait then wait, level = byLevel[k], k end
    end
  end
  waits[at] = { wait, level }
end

local answer = { cold and 1 or 0 }
for at, want in ipairs(wants) do
  local wait = waits[at]
  -- Held back although there was room: one that costs more is first in line.
  if wait[1] == 0 and granted[at] < want.count and first then wait = waits[first] end
  local remaining = min(freeGlobal, freePlatform, freeWindow[want.window + 1])
  answer[at + 1] = { granted[at], wait[1], wait[2], remaining }
end
return answer
