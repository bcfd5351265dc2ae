"""What Redis does in one step, in its own language (Lua); it does nothing else meanwhile.

1. Unfinished jobs are the entries of a stream; who is over leaves it, so that its length is the
   backlog, and nothing ever has to be trimmed.
2. ``job:ID`` is a hash with what is known of a job.  Its runs are the fields ``run1`` and ``run2``,
   which hold the name of the run: the same run is never counted twice, nor taken back twice.
3. A consumer of the group is a server.  How long a pending entry has been idle is the time since
   its last sign of life; ``-`` is nobody, whose entries are idle for as long as is needed.
4. Results may be kept even where Redis is full: else nothing would ever leave it.

The first key of each script is the stream, the second one what all other names begin with.
"""

from __future__ import annotations

GROUP = "servers"
NOBODY = "-"

_SHEBANG = "#!lua flags=allow-oom\n"
_COMMON = """
local stream, place = KEYS[1], KEYS[2]
local function job(id) return place .. 'job:' .. id end
local dead = place .. 'dead'
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function gone(entry)
  redis.call('XACK', stream, 'servers', entry)
  redis.call('XDEL', stream, entry)
end
local function free(entry, idle)
  redis.call('XCLAIM', stream, 'servers', '-', 0, entry, 'IDLE', idle, 'JUSTID')
end
local function fields(pairs_of)
  local found = {}
  for i = 1, #pairs_of, 2 do found[pairs_of[i]] = pairs_of[i + 1] end
  return found
end
"""

SUBMIT = (
    "#!lua\n"
    + _COMMON
    + """
local capacity, beside = tonumber(ARGV[1]), tonumber(ARGV[2])
local said, new = {}, 0
for i = 3, #ARGV, 4 do
  local known = redis.call('HGET', job(ARGV[i]), 'digest')
  if not known then
    new = new + 1
    said[#said + 1] = 'new'
  else
    said[#said + 1] = known == ARGV[i + 1] and 'known' or 'other'
  end
end
local length = redis.call('XLEN', stream)
if new > 0 and length + new + beside > capacity then return {'full', length} end
for n, what in ipairs(said) do
  local i = 4 * n - 1
  if what == 'new' then
    local entry = redis.call('XADD', stream, '*', 'id', ARGV[i], 'body', ARGV[i + 2],
                             'header', ARGV[i + 3])
    redis.call('DEL', job(ARGV[i]))
    redis.call('HSET', job(ARGV[i]), 'state', 'queued', 'digest', ARGV[i + 1], 'entry', entry)
  end
end
return said
"""
)
"""Capacity, jobs beside these; then id, digest, body and header of each."""

TAKE = (
    _SHEBANG
    + _COMMON
    + """
local me, most, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local apart, run = ARGV[4] == '1', ARGV[5]
local mine, busy = {}, #ARGV - 5
for i = 6, #ARGV do mine[ARGV[i]] = true end

local function take_back(id)
  for _, slot in ipairs({'run1', 'run2'}) do
    local name = redis.call('HGET', job(id), slot)
    if name and string.sub(name, 1, #me + 1) == me .. ':' then redis.call('HDEL', job(id), slot) end
  end
  if redis.call('HGET', job(id), 'state') == 'running' then
    redis.call('HSET', job(id), 'state', 'queued')
  end
end

local function read(entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  return found[1] and fields(found[1][2])
end

for _, pending in ipairs(redis.call('XPENDING', stream, 'servers', '-', '+', 100000, me)) do
  local entry = pending[1]
  if not mine[entry] then
    local found = read(entry)
    if found then
      take_back(found.id)
      free(entry, lease)
    else
      gone(entry)
    end
  elseif pending[3] * 6 > lease then
    redis.call('XCLAIM', stream, 'servers', me, 0, entry, 'JUSTID')
  end
end

local jobs, held, alone, buried = {}, 0, 0, 0
local function give(entry, found)
  local slot = redis.call('HEXISTS', job(found.id), 'run1') == 1 and 'run2' or 'run1'
  redis.call('HSET', job(found.id), slot, run, 'state', 'running')
  jobs[#jobs + 1] = {entry, found.id, found.body, found.header, slot == 'run1' and 1 or 2}
end

local function bury(entry, found)
  local reason = redis.call('HGET', job(found.id), 'reason')
    or 'both servers that it ran in fell silent'
  redis.call('HSET', job(found.id), 'state', 'dead', 'content', reason, 'body', found.body,
             'header', found.header)
  redis.call('ZADD', dead, now(), found.id)
  gone(entry)
  buried = buried + 1
end

for _, pending in ipairs(redis.call('XPENDING', stream, 'servers', 'IDLE', lease, '-', '+', 64)) do
  local entry = pending[1]
  local found = not mine[entry] and read(entry)
  if not mine[entry] and not found then
    gone(entry)
  elseif found then
    local runs = redis.call('HEXISTS', job(found.id), 'run1')
      + redis.call('HEXISTS', job(found.id), 'run2')
    if runs == 2 then
      bury(entry, found)
    elseif runs == 1 and apart and busy + #jobs > 0 then
      held = 1
      break
    elseif #jobs < most then
      redis.call('XCLAIM', stream, 'servers', me, 0, entry, 'JUSTID')
      give(entry, found)
      if runs == 1 and apart then
        alone = 1
        break
      end
    end
  end
end
if held == 0 and alone == 0 and #jobs < most then
  local got = redis.call('XREADGROUP', 'GROUP', 'servers', me, 'COUNT', most - #jobs, 'STREAMS',
                         stream, '>')
  for _, each in ipairs(got and got[1][2] or {}) do
    give(each[1], fields(each[2]))
  end
end
return {held, alone, buried, jobs}
"""
)
"""Consumer, how many, lease in ms, whether to hold back for who runs apart, name of the runs; then
the entries that the consumer has.  What it has beside them was on its way when a connection broke:
it was never handed over."""

END = (
    _SHEBANG
    + _COMMON
    + """
local first = {}
for i = 2, #ARGV, 4 do
  local id = ARGV[i + 1]
  local state = redis.call('HGET', job(id), 'state')
  if state == 'done' or state == 'failed' or state == 'cancelled' then
    first[#first + 1] = 0
  else
    first[#first + 1] = 1
    redis.call('HSET', job(id), 'state', ARGV[i + 2], 'content', ARGV[i + 3])
    redis.call('HDEL', job(id), 'body', 'header', 'reason')
    redis.call('PEXPIRE', job(id), ARGV[1])
    redis.call('ZREM', dead, id)
  end
  gone(ARGV[i])
end
return first
"""
)
"""How long to keep results, in ms; then entry, id, state and content of each."""

GIVE_BACK = (
    _SHEBANG
    + _COMMON
    + """
for i = 3, #ARGV, 5 do
  local entry, id, run, reason = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('EXISTS', job(id)) == 1 then
    for _, slot in ipairs({'run1', 'run2'}) do
      if redis.call('HGET', job(id), slot) == run then redis.call('HDEL', job(id), slot) end
    end
    if reason ~= '' then redis.call('HSET', job(id), 'reason', reason) end
  end
  local pending = redis.call('XPENDING', stream, 'servers', entry, entry, 1)
  if pending[1] and pending[1][2] == ARGV[1] then
    free(entry, math.max(0, ARGV[2] - ARGV[i + 4]))
    redis.call('HSET', job(id), 'state', 'queued')
  end
end
"""
)
"""Consumer, lease in ms; then entry, id, name of the run where it does not count, reason, and how
many ms to wait."""

CANCEL = (
    _SHEBANG
    + _COMMON
    + """
local id = ARGV[1]
local state = redis.call('HGET', job(id), 'state')
if not state then return 'unknown' end
if state == 'queued' then
  gone(redis.call('HGET', job(id), 'entry'))
  redis.call('HSET', job(id), 'state', 'cancelled')
  redis.call('PEXPIRE', job(id), ARGV[2])
elseif state ~= 'running' then
  redis.call('DEL', job(id))
  redis.call('ZREM', dead, id)
end
return state
"""
)
"""Id, how long to keep that it was cancelled, in ms."""

AGAIN = (
    "#!lua\n"
    + _COMMON
    + """
local id = ARGV[1]
local known = fields(redis.call('HGETALL', job(id)))
if known.state == 'dead' then
  local entry = redis.call('XADD', stream, '*', 'id', id, 'body', known.body,
                           'header', known.header)
  redis.call('HSET', job(id), 'state', 'queued', 'entry', entry)
  redis.call('HDEL', job(id), 'run1', 'run2', 'reason', 'content', 'body', 'header')
  redis.call('ZREM', dead, id)
end
return known.state or 'unknown'
"""
)
"""Id."""

COUNT = (
    "#!lua flags=no-writes,allow-oom\n"
    + _COMMON
    + """
local length, running = redis.call('XLEN', stream), 0
for _, each in ipairs(redis.call('XPENDING', stream, 'servers')[4] or {}) do
  if each[1] ~= '-' then running = running + each[2] end
end
local first, age = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1], 0
if first then age = now() - tonumber(string.match(first[1], '^%d+')) end
return {length - running, running, redis.call('ZCARD', dead), age}
"""
)

TIDY = (
    _SHEBANG
    + _COMMON
    + """
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, 'servers')) do
  local each = fields(row)
  if each.pending == 0 and each.idle > tonumber(ARGV[1]) and each.name ~= '-' then
    redis.call('XGROUP', 'DELCONSUMER', stream, 'servers', each.name)
  end
end
"""
)
"""Forget servers that have nothing and were silent for so many ms."""

__all__ = [
    "AGAIN", "CANCEL", "COUNT", "END", "GIVE_BACK", "GROUP", "NOBODY", "SUBMIT", "TAKE", "TIDY",
]  # fmt: skip
