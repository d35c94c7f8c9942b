//! What is said to Redis.

use redis::{Cmd, Script, cmd};

use crate::level::remembered::{DELETES_KEPT, millis};

/// Members of a tag deleted at a time, so that a large tag does not hold the server up.
pub(super) const BATCH: usize = 500;

/// The names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Names(pub(super) String);

impl Names {
    pub(super) fn entry(&self, key: &str) -> String {
        format!("{}e:{key}", self.0)
    }

    pub(super) fn members(&self, tag: &str) -> String {
        format!("{}t:{tag}", self.0)
    }

    pub(super) fn deleted_key(&self, key: &str) -> String {
        format!("{}x:{key}", self.0)
    }

    pub(super) fn deleted_tag(&self, tag: &str) -> String {
        format!("{}y:{tag}", self.0)
    }
}

/// KEYS: entry, deleted key, then per tag its members and deleted tag. ARGV: value, TTL, age (-1: new by itself), how
/// long deletes are kept, TTL of the members, the key, prefix of entries. All times in milliseconds. 1 when it was stored.
///
/// A new member looks at two others, and removes those whose entries are gone: so a tag has about twice as many members as
/// entries, however many have expired. The entries' keys are made here, which one server allows.
pub(super) fn set_script() -> Script {
    Script::new(
        r"
        local age = tonumber(ARGV[3])
        if age >= 0 then
            for i = 2, #KEYS, 2 do
                local left = redis.call('PTTL', KEYS[i])
                if left >= 0 and tonumber(ARGV[4]) - left <= age then
                    return 0
                end
            end
        end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        for i = 3, #KEYS, 2 do
            if redis.call('SADD', KEYS[i], ARGV[6]) == 1 then
                for _, member in ipairs(redis.call('SRANDMEMBER', KEYS[i], 2)) do
                    if redis.call('EXISTS', ARGV[7] .. member) == 0 then
                        redis.call('SREM', KEYS[i], member)
                    end
                end
            end
            redis.call('PEXPIRE', KEYS[i], ARGV[5])
        end
        return 1",
    )
}

/// KEYS: members. ARGV: prefix of entries, how many. Removes that many members with their entries, as one; gives how
/// many are left. The entries' keys are made here, which one server allows.
pub(super) fn delete_members_script() -> Script {
    Script::new(
        r"
        local members = redis.call('SPOP', KEYS[1], ARGV[2])
        for _, member in ipairs(members) do
            redis.call('UNLINK', ARGV[1] .. member)
        end
        return redis.call('SCARD', KEYS[1])",
    )
}

/// Whether a delete that has `left` (PTTL) to be remembered is younger than a value of this age.
#[cfg(feature = "redis-cluster")]
pub(super) fn deleted_since(left: i64, age: i64) -> bool {
    age >= 0 && left >= 0 && millis(DELETES_KEPT).saturating_sub(left) <= age
}

pub(super) fn remember_delete(name: &str) -> Cmd {
    let mut set = cmd("SET");
    set.arg(name).arg(1).arg("PX").arg(millis(DELETES_KEPT));
    set
}

pub(super) fn unlink(name: &str) -> Cmd {
    let mut unlink = cmd("UNLINK");
    unlink.arg(name);
    unlink
}

pub(super) fn get(name: &str) -> Cmd {
    let mut get = cmd("GET");
    get.arg(name);
    get
}

pub(super) fn pttl(name: &str) -> Cmd {
    let mut pttl = cmd("PTTL");
    pttl.arg(name);
    pttl
}

#[cfg(feature = "redis-cluster")]
pub(super) mod cluster {
    //! Commands for keys that lie on different nodes.

    use redis::{Cmd, cmd};

    /// Members of a tag deleted at once: few enough that one portion gets done within the level's timeout.
    pub(in super::super) const PORTION: usize = 32;

    pub(in super::super) fn set(name: &str, value: &[u8], ttl: i64) -> Cmd {
        let mut set = cmd("SET");
        set.arg(name).arg(value).arg("PX").arg(ttl);
        set
    }

    pub(in super::super) fn add_member(name: &str, key: &str) -> Cmd {
        let mut add = cmd("SADD");
        add.arg(name).arg(key);
        add
    }

    pub(in super::super) fn expire(name: &str, ttl: i64) -> Cmd {
        let mut expire = cmd("PEXPIRE");
        expire.arg(name).arg(ttl);
        expire
    }

    pub(in super::super) fn scan_members(name: &str, cursor: u64, count: usize) -> Cmd {
        let mut scan = cmd("SSCAN");
        scan.arg(name).arg(cursor).arg("COUNT").arg(count);
        scan
    }

    pub(in super::super) fn remove_members(name: &str, members: &[String]) -> Cmd {
        let mut remove = cmd("SREM");
        remove.arg(name).arg(members);
        remove
    }
}
