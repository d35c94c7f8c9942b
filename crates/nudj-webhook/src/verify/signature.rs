//! Reads and writes signature headers. Strict: each signature has exactly one spelling, so that a changed header is
//! never a valid one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;

/// More signatures than any rotation needs; a longer list is somebody making us compute.
pub(super) const MAX_SIGNATURES: usize = 16;

const NUDJ_PREFIX: &str = "sha256=";

/// `sha256=` and 64 lower-case hex digits.
pub(super) fn parse_nudj(text: &str) -> Result<[u8; 32], Refusal> {
    let hex = text.strip_prefix(NUDJ_PREFIX).ok_or(Refusal::MalformedSignature)?.as_bytes();
    if hex.len() != 64 {
        return Err(Refusal::MalformedSignature);
    }
    let mut signature = [0; 32];
    for (byte, pair) in signature.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(signature)
}

fn digit(hex: u8) -> Result<u8, Refusal> {
    match hex {
        b'0'..=b'9' => Ok(hex - b'0'),
        b'a'..=b'f' => Ok(hex - b'a' + 10),
        _ => Err(Refusal::MalformedSignature),
    }
}

pub(super) fn write_nudj(signature: &[u8; 32]) -> String {
    let mut text = String::from(NUDJ_PREFIX);
    text.push_str(&hex(signature));
    text
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A list of `version,signature`, separated by spaces. Of the versions only `v1` is known; others are passed over, as
/// the specification asks, and so is a `v1` that cannot be one. A list without any candidate is malformed.
pub(super) fn parse_standard(text: &str) -> Result<Vec<[u8; 32]>, Refusal> {
    let mut candidates = Vec::new();
    for (index, entry) in text.split(' ').enumerate() {
        if index == MAX_SIGNATURES {
            return Err(Refusal::MalformedSignature);
        }
        let Some(("v1", encoded)) = entry.split_once(',') else { continue };
        if let Some(signature) = STANDARD.decode(encoded).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            candidates.push(signature);
        }
    }
    if candidates.is_empty() { Err(Refusal::MalformedSignature) } else { Ok(candidates) }
}

pub(super) fn write_standard(signature: &[u8; 32]) -> String {
    let mut text = String::from("v1,");
    STANDARD.encode_string(signature, &mut text);
    text
}
