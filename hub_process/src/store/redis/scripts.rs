//! The scripts that Redis carries out as one, in files of their own. Redis is sent them without their comments, with each call.

use std::sync::LazyLock;

/// Appends an event that changes the state.
pub static APPEND: LazyLock<String> =
    LazyLock::new(|| code(&[include_str!("scripts/appending_common.lua"), include_str!("scripts/append_event.lua")]));
/// Appends the event of a member, if it changes who is here.
pub static APPEND_MEMBER: LazyLock<String> = LazyLock::new(|| {
    code(&[include_str!("scripts/appending_common.lua"), include_str!("scripts/append_member_event.lua")])
});
/// Reads the state and the beginning of the stream.
pub static READ_STATE: LazyLock<String> = LazyLock::new(|| code(&[include_str!("scripts/read_state.lua")]));
/// Removes fields of the state that have not changed.
pub static REMOVE_FIELDS: LazyLock<String> = LazyLock::new(|| code(&[include_str!("scripts/remove_fields.lua")]));
/// Renews the lifetimes of machines.
pub static RENEW_LIFETIMES: LazyLock<String> = LazyLock::new(|| code(&[include_str!("scripts/renew_lifetimes.lua")]));
/// Begins another epoch.
pub static REPLACE_EPOCH: LazyLock<String> = LazyLock::new(|| code(&[include_str!("scripts/replace_epoch.lua")]));

/// Reads the keys of tickets, and makes them.
pub static TICKET_KEYS: LazyLock<String> = LazyLock::new(|| code(&[include_str!("scripts/ticket_keys.lua")]));

/// Joins the parts of a script without their comments, which stand in lines of their own, and without indents.
fn code(parts: &[&str]) -> String {
    let lines = parts.iter().flat_map(|part| part.lines()).map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with("--")).flat_map(|line| [line, "\n"]).collect()
}
