//! Text as it stands in JSON (RFC 8259).

/// Returns a text as a string of JSON.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|character| push_json(&mut out, character));
    out.push('"');
    out
}

/// Appends a character as it stands in a string of JSON.
pub fn push_json(out: &mut String, character: char) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        character if character.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(character))),
        _ => out.push(character),
    }
}
