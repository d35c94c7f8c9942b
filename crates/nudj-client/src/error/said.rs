//! What of an answer that is no success is kept, and what of that is shown.

use http::StatusCode;
use serde_json::Value;

/// A text or a number of the envelope; of a text no more than is worth to be kept.
pub(super) fn text_at(envelope: &Value, place: &str) -> Option<String> {
    const MOST_BYTES: usize = 4096;
    match envelope.pointer(place)? {
        Value::String(text) => text.get(..text.floor_char_boundary(MOST_BYTES)).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What of a text that a server wrote goes into ours, and so into logs and terminals.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 500;
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        match character {
            _ if at == MOST => {
                shown.push('…');
                break;
            }
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

pub(super) fn status_text(status: StatusCode, code: Option<&str>, message: Option<&str>) -> String {
    let code = code.map(|code| format!(" {}", shown(code))).unwrap_or_default();
    match message.map(shown) {
        Some(message) => format!("the API answered {}{code}: {message}", status.as_u16()),
        None => format!("the API answered {}{code}", status.as_u16()),
    }
}
