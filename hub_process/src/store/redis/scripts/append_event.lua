-- Appends an event. Returns its id, `0-0` if it was appended before, nothing if the stream is not that of the state, and
-- `member` if the key is that of a member who is here, of whom the hub has not read yet.
if is_of_other_epoch() then return false end
if is_repeated() then return '0-0' end
if string.find(redis.call('HGET', KEYS[2], ARGV[3]) or '', '^[^ ]*,') then return 'member' end
return append(' ')
