#!lua name=taskhub_projection_1
--[[
projection: what Redis itself does for a hub's projection. Each function is one step that nothing
else comes between: `project` writes a whole batch or nothing, the others answer from one state.

Keys of a partition, {hub:partition}:incarnation:layout:name. Braces make a hash tag: the keys share
a cluster slot. A hub created again has another incarnation, a later layout its own number.

  state     hash  mark    the watermark, see below
                  number  the last number that was given to an instance
                  parts   how many fields the hash of parts must have
  rows      hash  instance id: row
  parts     hash  number index (4): chunks of a history;  number kind (1): a value too long for a row
  full      zset  full (8) id, all of score 0: Redis orders them as bytes
  status n  zset  created (8) id: the instances of this status in the order of queries; likewise

A completed hello5 (info 250 bytes, history 1,500, input and output 50 each, id 32) takes 2,400 to
2,470 bytes of used_memory, depending on how full the hashes' tables are: about 530 for its row, 1,590
for its history and 140 for each of its two index entries.

There are no other keys. So UNLINK of these drops a partition at once, whatever it holds: Redis
frees large values on a thread of its own, and nothing stays that somebody would have to find and
delete later.

A row is  number (6) chunks (4) | created (8) full (8) status (1) kinds (1) lean (4) completed (8)
updated (8) last (8) name (4 + n) values. What stands before the bar is this library's, the rest is
as the client sent it. `kinds` says in two bits each whether info, input, output and state are
absent, inline or long; `lean` is the length up to the end of the info, which is all that a query
without payloads is given; before the name stands its length plus one, 0 when there is none.
Numbers are big-endian, and times have their sign bit turned: their bytes sort as they count.

A watermark is  offset (8) epoch (8) sequence (8) batch (8) | building (1) floor (8) position (8)
rows (8) settled (8).
Two are the same when they agree before the bar.

Lua compares strings as the server's locale has it, and its numbers are doubles. So bytes are
compared by Redis, or here as numbers of 32 bits.
]]

local STATE, ROWS, PARTS, FULL, STATUS, STATUSES = 1, 2, 3, 4, 5, 9 -- indexes of KEYS
local EQUAL, MARK_ROWS = 32, 50
local HEAD, CREATED, FULL_AT, STATUS_AT, KINDS, LEAN, COMPLETED, NAME = 10, 11, 19, 27, 28, 29, 33,
    57
local INFO, PAYLOADS, ALL = 1, 3, 4 -- how many of the four values
local LONG, ANY_LONG = 2, 170 -- of `kinds`
local DELETED, REPLACE, HISTORY, NEWS, STORED = 1, 2, 4, 8, 16 -- flags of a change

-- Arguments of one command: Lua's stack holds 8,000. And bytes that wait to be written.
local SLICE, WAITING_BYTES = 2000, 1048576
local MOST_MEMBERS = 500 -- that a query reads at once

-- Redis has these only while a function runs, not while it loads the library.
local call, byte, sub, pack, from_bytes, band, nothing_yet

local function bind()
    call, byte, sub, pack, from_bytes, band = redis.call, string.byte, string.sub, struct.pack,
        struct.unpack, bit.band
    nothing_yet = string.rep('\255', 8) .. string.rep('\0', 25) .. string.rep('\255', 8) ..
        string.rep('\0', 16) .. string.rep('\255', 8)
end

---- what is stored -------------------------------------------------------------------------

-- A key that is something else is as good as none: `clear` replaces it.
local function stored_mark(keys)
    local known, mark = pcall(call, 'HGET', keys[STATE], 'mark')
    return known and mark or nothing_yet
end

local function mark_rows(mark)
    return (from_bytes('>I8', mark, MARK_ROWS))
end

-- How many rows there are; nil when the keys do not agree, because a part of them was deleted.
local function whole(keys)
    local rows, listed = call('HLEN', keys[ROWS]), 0
    for status = 0, STATUSES - 1 do
        listed = listed + call('ZCARD', keys[STATUS + status])
    end
    if listed == rows and call('ZCARD', keys[FULL]) == rows then
        return rows
    end
end

-- The same, after a look at the parts, too.
local function intact(keys)
    if call('HLEN', keys[PARTS]) == tonumber(call('HGET', keys[STATE], 'parts') or 0) then
        return whole(keys)
    end
end

-- In answers: what is there, and what should be.
local function corrupt(rows, mark)
    return {'CORRUPT', tostring(rows or 'fewer'), tostring(mark_rows(mark))}
end

-- Values of a hash, `false` where there is none.
local function get_all(key, fields)
    local values = {}
    for first = 1, #fields, SLICE do
        local last = math.min(first + SLICE - 1, #fields)
        local found = call('HMGET', key, unpack(fields, first, last))
        for i = 1, #found do
            values[first + i - 1] = found[i]
        end
    end
    return values
end

local function is_long(kinds, value)
    return band(bit.rshift(kinds, 2 * value), 3) == LONG
end

local function has_long(kinds)
    return band(kinds, ANY_LONG) ~= 0
end

-- Fields of those among the first `count` values that are long.
local function long_fields(row, count)
    local kinds, fields = byte(row, KINDS), {}
    if has_long(kinds) then
        for value = 0, count - 1 do
            if is_long(kinds, value) then
                fields[#fields + 1] = sub(row, 1, 6) .. string.char(value)
            end
        end
    end
    return fields
end

local function chunk_field(number, index)
    return number .. pack('>I4', index)
end

local function chunk_count(row)
    return (from_bytes('>I4', row, 7))
end

local function chunk_fields(row, first)
    local fields = {}
    for index = first, chunk_count(row) - 1 do
        fields[#fields + 1] = chunk_field(sub(row, 1, 6), index)
    end
    return fields
end

local function status_key(keys, row)
    return keys[STATUS + byte(row, STATUS_AT)]
end

local function status_member(row, id)
    return sub(row, CREATED, CREATED + 7) .. id
end

local function full_member(row, id)
    return sub(row, FULL_AT, FULL_AT + 7) .. id
end

---- project: writing -----------------------------------------------------------------------

-- Writes that wait to become one command for each key, because a call from Lua costs as much as
-- several fields of one. Their order is lost: what waits is of different instances.
local waiting, waiting_bytes

local function nothing_waits()
    waiting, waiting_bytes = {HSET = {}, HDEL = {}, ZADD = {}, ZREM = {}}, 0
end

local function flush()
    for _, of_keys in pairs(waiting) do
        for _, arguments in pairs(of_keys) do
            call(unpack(arguments))
        end
    end
    nothing_waits()
end

local function later(command, key, a, b)
    local arguments = waiting[command][key]
    if not arguments then
        arguments = {command, key}
        waiting[command][key] = arguments
    end
    arguments[#arguments + 1] = a
    arguments[#arguments + 1] = b
    waiting_bytes = waiting_bytes + #(b or a)
    if #arguments >= SLICE or waiting_bytes >= WAITING_BYTES then
        flush()
    end
end

local function drop_parts(keys, fields)
    for _, field in ipairs(fields) do
        later('HDEL', keys[PARTS], field)
    end
end

local function remove(keys, id, row)
    later('HDEL', keys[ROWS], id)
    later('ZREM', status_key(keys, row), status_member(row, id))
    later('ZREM', keys[FULL], full_member(row, id))
    drop_parts(keys, long_fields(row, ALL))
    drop_parts(keys, chunk_fields(row, 0))
end

local function list(old_key, old_member, key, member)
    if old_member ~= member or old_key ~= key then
        if old_member then
            later('ZREM', old_key, old_member)
        end
        later('ZADD', key, '0', member) -- text: a number would be formatted each time
    end
end

local function put_long_values(keys, number, old_kinds, change)
    local kinds, at = byte(change.row, KINDS - HEAD), 0
    if not has_long(kinds) and not has_long(old_kinds) then
        return
    end
    for value = 0, ALL - 1 do
        local field = number .. string.char(value)
        if is_long(kinds, value) then
            at = at + 1
            later('HSET', keys[PARTS], field, change.longs[at])
        elseif is_long(old_kinds, value) then
            later('HDEL', keys[PARTS], field)
        end
    end
end

-- Puts new chunks behind those that stay; how many there are now.
local function put_history(keys, number, old, change)
    local chunks = old and chunk_count(old) or 0
    if old and band(change.flags, REPLACE) ~= 0 then
        chunks = 0
        drop_parts(keys, chunk_fields(old, change.history and 1 or 0))
    end
    if change.history then
        later('HSET', keys[PARTS], chunk_field(number, chunks), change.history)
        chunks = chunks + 1
    end
    return chunks
end

local function put(keys, change, old, number)
    local id = change.id
    put_long_values(keys, number, old and byte(old, KINDS) or 0, change)
    local chunks = put_history(keys, number, old, change)
    local row = number .. pack('>I4', chunks) .. change.row
    later('HSET', keys[ROWS], id, row)
    list(old and status_key(keys, old), old and status_member(old, id), status_key(keys, row),
        status_member(row, id))
    list(keys[FULL], old and full_member(old, id), keys[FULL], full_member(row, id))
    return row
end

-- `held`: the stored row of each instance that a change names, false when there is none.
local function apply(keys, changes, held, mark)
    local number = tonumber(call('HGET', keys[STATE], 'number') or 0)
    local touched = {}
    nothing_waits() -- a function may have been killed while something did
    for _, change in ipairs(changes) do
        local id, old = change.id, held[change.id]
        if touched[id] then
            flush()
            touched = {}
        end
        touched[id] = true
        if band(change.flags, DELETED) == 0 then
            if not old then
                number = number + 1
            end
            held[id] = put(keys, change, old, old and sub(old, 1, 6) or pack('>I6', number))
        elseif old then
            remove(keys, id, old)
            held[id] = false
        end
    end
    flush()
    call('HSET', keys[STATE], 'mark', mark, 'number', number, 'parts', call('HLEN', keys[PARTS]))
end

---- project: reading -----------------------------------------------------------------------

local function read_longs(args, at, kinds)
    local longs = {}
    for value = 0, ALL - 1 do
        if is_long(kinds, value) then
            longs[#longs + 1] = args[at]
            at = at + 1
        end
    end
    return longs, at
end

local function read_change(args, at)
    local flags = byte(args[at])
    local change = {flags = flags, id = args[at + 1]}
    at = at + 2
    if band(flags, DELETED) == 0 then
        change.row = args[at]
        at = at + 1
        local kinds = byte(change.row, KINDS - HEAD)
        if has_long(kinds) then
            change.longs, at = read_longs(args, at, kinds)
        end
    end
    if band(flags, HISTORY) ~= 0 then
        change.history = args[at]
        at = at + 1
    end
    if band(flags, NEWS) ~= 0 then
        change.news = args[at]
        at = at + 1
    end
    return change, at
end

local function read_changes(args, at)
    local changes = {}
    while at <= #args do
        changes[#changes + 1], at = read_change(args, at)
    end
    return changes
end

local function read_held(keys, changes)
    local ids, held = {}, {}
    for i, change in ipairs(changes) do
        ids[i] = change.id
    end
    for i, row in ipairs(get_all(keys[ROWS], ids)) do
        held[ids[i]] = row
    end
    return held
end

-- How many rows there are after the changes; nil and an id when a row is missing that a change says
-- is there, or the other way round.
local function rows_after(rows, changes, held)
    local there = {}
    for _, change in ipairs(changes) do
        local before = there[change.id]
        if before == nil then
            before = held[change.id] and true or false
        end
        if before ~= (band(change.flags, STORED) ~= 0) then
            return nil, change.id
        end
        local after = band(change.flags, DELETED) == 0
        if after ~= before then
            rows = rows + (after and 1 or -1)
        end
        there[change.id] = after
    end
    return rows
end


--[[
ARGV: channel for news, previous watermark as far as it counts, next watermark, '1' to clear first;
then for each change: flags, id, and unless it deletes the row and its long values; the chunks of
the history, the news, when the flags have them.

Redis does not undo what a function wrote before it failed, so everything that can be wrong is
looked for before the first write. Should one fail all the same, the partition's projection is
dropped: that it can vanish is known to everybody, that it may be half of something to nobody.
]]
local function project(keys, args)
    local stored, mark, clear = stored_mark(keys), args[3], args[4] == '1'
    if sub(stored, 1, EQUAL) ~= args[2] then
        return {'FENCED', stored}
    end
    local changes, held = read_changes(args, 5), {}
    local rows, odd = clear and 0 or intact(keys), nil
    if rows and not clear then
        held = read_held(keys, changes)
    end
    if rows then
        rows, odd = rows_after(rows, changes, held)
    end
    if odd then
        return {'ODD', odd}
    elseif rows ~= mark_rows(mark) then
        return corrupt(rows, mark)
    end
    if clear then
        call('UNLINK', unpack(keys))
    end
    local done, problem = pcall(apply, keys, changes, held, mark)
    if not done then
        call('UNLINK', unpack(keys))
        return {'DROPPED', type(problem) == 'table' and problem.err or tostring(problem)}
    end
    for _, change in ipairs(changes) do
        if change.news then
            call('PUBLISH', args[1], change.news)
        end
    end
    return {'OK'}
end

---- load, walk -----------------------------------------------------------------------------

-- An instance in an answer: id, row, those of its first `count` values that are long, history; the
-- last two may be left out. And its size. Nil when parts are missing.
local function instance(keys, id, row, count, history)
    if not history and not has_long(byte(row, KINDS)) then
        return {id, row}, #row
    end
    local longs = get_all(keys[PARTS], long_fields(row, count))
    local chunks = history and get_all(keys[PARTS], chunk_fields(row, 0)) or {}
    local bytes = #row
    for _, values in ipairs({longs, chunks}) do
        for _, value in ipairs(values) do
            if not value then
                return nil
            end
            bytes = bytes + #value
        end
    end
    return {id, row, longs, chunks}, bytes
end

-- ARGV: id, '1' for the history. An absence is believed only when all rows are there.
local function load(keys, args)
    local mark, row = stored_mark(keys), call('HGET', keys[ROWS], args[1])
    if row then
        local found = instance(keys, args[1], row, ALL, args[2] == '1')
        return found and {'OK', mark, found} or {'DAMAGED', args[1]}
    end
    local rows = call('HLEN', keys[ROWS])
    if rows ~= mark_rows(mark) then
        return corrupt(rows, mark)
    end
    return {'OK', mark}
end

-- ARGV: a `full`, how many rows, how many bytes at most (but one row).
local function walk(keys, args)
    local mark, rows = stored_mark(keys), whole(keys)
    if rows ~= mark_rows(mark) then
        return corrupt(rows, mark)
    end
    local answer, bytes = {'OK', mark}, 0
    for _, member in ipairs(call('ZRANGEBYLEX', keys[FULL], '-', '(' .. args[1], 'LIMIT', 0,
        args[2])) do
        local id = sub(member, 9)
        local row = call('HGET', keys[ROWS], id)
        local found, size
        if row then
            found, size = instance(keys, id, row, ALL, true)
        end
        if not found then
            return {'DAMAGED', id}
        end
        answer[#answer + 1] = found
        bytes = bytes + size
        if bytes >= tonumber(args[3]) then
            break
        end
    end
    return answer
end

-- Behind the watermark: how many rows there are, '' when the keys do not agree.
local function state(keys)
    local known, rows = pcall(intact, keys)
    return {'OK', stored_mark(keys), known and rows and tostring(rows) or ''}
end

---- query ----------------------------------------------------------------------------------

local function comes_before(x, y)
    local x_high, x_low = from_bytes('>I4I4', x)
    local y_high, y_low = from_bytes('>I4I4', y)
    if x_high ~= y_high then
        return x_high < y_high
    elseif x_low ~= y_low then
        return x_low < y_low
    end
    for i = 9, math.min(#x, #y) do
        if byte(x, i) ~= byte(y, i) then
            return byte(x, i) < byte(y, i)
        end
    end
    return #x < #y
end

-- The last place in a list that comes before `other`, as `at` does. Looks further and further ahead:
-- mostly one status has nearly all instances.
local function last_before(list, at, other)
    local low, step = at, 1
    while low + step <= #list and comes_before(list[low + step], other) do
        low, step = low + step, 2 * step
    end
    local high = math.min(low + step, #list + 1)
    while high - low > 1 do
        local middle = math.floor((low + high) / 2)
        if comes_before(list[middle], other) then
            low = middle
        else
            high = middle
        end
    end
    return low
end

local function by_head(a, b)
    return comes_before(a.list[a.at], b.list[b.at])
end

-- The first `count` members of several lists that are in order.
local function merge(lists, count)
    local heads, merged = {}, {}
    for i, members in ipairs(lists) do
        heads[i] = {list = members, at = 1}
    end
    while #merged < count and #heads > 0 do
        table.sort(heads, by_head)
        local list, at, second = heads[1].list, heads[1].at, heads[2]
        local last = second and last_before(list, at, second.list[second.at]) or #list
        for i = at, math.min(last, at + count - #merged - 1) do
            merged[#merged + 1] = list[i]
        end
        heads[1].at = last + 1
        if last == #list then
            table.remove(heads, 1)
        end
    end
    return merged
end

local function next_members(keys, statuses, from, to, count)
    local lists = {}
    for i = 1, #statuses do
        local members = call('ZRANGEBYLEX', keys[STATUS + byte(statuses, i)], from, to, 'LIMIT', 0,
            count)
        if #members > 0 then
            lists[#lists + 1] = members
        end
    end
    return #lists > 1 and merge(lists, count) or lists[1] or {}
end

-- Whether the time at `at` of a row is in [from, to); an absent bound is ''. Times that are none
-- are eight zero bytes, and never in a bounded range.
local function within(row, at, from, to)
    if from == '' and to == '' then
        return true
    end
    local high, low = from_bytes('>I4I4', row, at)
    local from_high, from_low = 0, 1
    local to_high, to_low = 4294967296, 0
    if from ~= '' then
        from_high, from_low = from_bytes('>I4I4', from)
    end
    if to ~= '' then
        to_high, to_low = from_bytes('>I4I4', to)
    end
    return (high > from_high or (high == from_high and low >= from_low)) and
        (high < to_high or (high == to_high and low < to_low)) and (high > 0 or low > 0)
end

-- `name` is '' for any, or = and a name in lower case. Most others differ in length already.
local function is_named(row, name)
    if name == '' then
        return true
    end
    local len = math.max(from_bytes('>I4', row, NAME) - 1, 0)
    return len + 1 == #name and
        '=' .. string.lower(sub(row, NAME + 4, NAME + 3 + len)) == name
end

-- The rows of members whose id begins with `prefix`; elsewhere nothing.
local function candidates(keys, members, prefix)
    local ids, rows = {}, {}
    for _, member in ipairs(members) do
        if sub(member, 9, 8 + #prefix) == prefix then
            ids[#ids + 1] = sub(member, 9)
        end
    end
    for i, row in ipairs(get_all(keys[ROWS], ids)) do
        rows[ids[i]] = row
    end
    return rows
end

-- Adds an instance as a query shows it; its size, nil when it is damaged.
local function show(keys, answer, id, row, payloads)
    local shown = payloads and row or sub(row, 1, (from_bytes('>I4', row, LEAN)))
    local found, bytes = instance(keys, id, shown, payloads and PAYLOADS or INFO, false)
    answer[#answer + 1] = found
    return bytes
end

-- Looks at members, in order, until there is enough. Keeps the last one in the answer's third place.
-- Returns the id of an instance that is damaged.
local function look(keys, args, members, left, answer)
    local rows = candidates(keys, members, args[8])
    for _, member in ipairs(members) do
        local id = sub(member, 9)
        local row = rows[id]
        answer[3] = member
        if row == false then
            return id
        elseif row and is_named(row, args[9]) and within(row, COMPLETED, args[10], args[11]) then
            local bytes = show(keys, answer, id, row, args[7] == '1')
            if not bytes then
                return id
            end
            left.rows, left.bytes = left.rows - 1, left.bytes - bytes
            if left.rows == 0 or left.bytes <= 0 then
                return
            end
        end
    end
end

--[[
ARGV: statuses as bytes; bounds for ZRANGEBYLEX; how many rows are wanted, how many members are
looked at, and how many bytes answered, at most (but one row); '1' for payloads; prefix of the id;
'=' and the name in lower case, or ''; bounds of the completion, or ''.

Answers 'OK', watermark, the last member looked at or '' at the end, instances. Few members are
read at first: they may be all that it takes.
]]
local function query(keys, args)
    local mark, rows = stored_mark(keys), whole(keys)
    if rows ~= mark_rows(mark) then
        return corrupt(rows, mark)
    end
    local left = {rows = tonumber(args[4]), looks = tonumber(args[5]), bytes = tonumber(args[6])}
    local answer, from, slice = {'OK', mark, ''}, args[2], left.rows
    while left.rows > 0 and left.looks > 0 and left.bytes > 0 do
        local members = next_members(keys, args[1], from, args[3], slice)
        local damaged = look(keys, args, members, left, answer)
        if damaged then
            return {'DAMAGED', damaged}
        end
        if #members < slice and (#members == 0 or answer[3] == members[#members]) then
            answer[3] = ''
            break
        end
        from = '(' .. answer[3]
        left.looks = left.looks - #members
        slice = math.min(2 * slice, MOST_MEMBERS)
    end
    return answer
end

---- the library ----------------------------------------------------------------------------

local NEEDED = {
    {'HGET', 1}, {'HMGET', 1}, {'HSET', 1, 1}, {'HDEL', 1}, {'HLEN'}, {'ZADD', 1, 1}, {'ZREM', 1},
    {'ZCARD'}, {'ZRANGEBYLEX', '-', '+'}, {'UNLINK'},
}

-- ARGV: a channel for news. The first command that the user may not use, or ''.
local function ready(keys, args)
    for _, command in ipairs(NEEDED) do
        if not redis.acl_check_cmd(command[1], keys[STATE], unpack(command, 2)) then
            return command[1]
        end
    end
    return redis.acl_check_cmd('PUBLISH', args[1], '') and '' or 'PUBLISH'
end

local function register(name, callback, flags)
    redis.register_function{function_name = 'taskhub_1_' .. name, flags = flags,
        callback = function(keys, args)
            if not call then
                bind()
            end
            return callback(keys, args)
        end}
end

register('project', project, {})
register('shrink', project, {'allow-oom'}) -- of batches that put no row: they make room
register('load', load, {'no-writes'})
register('walk', walk, {'no-writes'})
register('state', state, {'no-writes'})
register('query', query, {'no-writes'})
register('ready', ready, {'no-writes'})
