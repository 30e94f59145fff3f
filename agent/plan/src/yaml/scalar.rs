//! What one word of YAML is.

use granit_parser::Tag;
use serde_json::{Number, Value};

use super::NotYaml;

/// Quoted text is text; a plain word is what it looks like, unless a tag says otherwise.
pub(super) fn value(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, NotYaml> {
    let tag = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
    match tag.as_deref() {
        Some("str") => Ok(Value::from(text)),
        Some("null") => Ok(Value::Null),
        Some("bool") => boolean(text).map(Value::from).ok_or(NotYaml),
        Some("int") => integer(text).map(Value::from).ok_or(NotYaml),
        Some("float") => float(text)?.map(Value::from).ok_or(NotYaml),
        Some("binary") => binary(text),
        _ if plain => guessed(text),
        _ => Ok(Value::from(text)),
    }
}

fn guessed(text: &str) -> Result<Value, NotYaml> {
    if matches!(text, "" | "~") || text.eq_ignore_ascii_case("null") {
        return Ok(Value::Null);
    }
    if let Some(yes) = boolean(text) {
        return Ok(Value::from(yes));
    }
    if let Some(number) = integer(text) {
        return Ok(Value::from(number));
    }
    Ok(float(text)?.map_or_else(|| Value::from(text), Value::from))
}

fn boolean(text: &str) -> Option<bool> {
    const YES: [&str; 4] = ["true", "yes", "y", "on"];
    const NO: [&str; 4] = ["false", "no", "n", "off"];
    let one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if one_of(YES) {
        return Some(true);
    }
    one_of(NO).then_some(false)
}

/// A leading zero makes it octal, as file modes are written.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).unwrap_or_default();
    let (radix, digits) = match prefix {
        "0x" | "0X" => (16, &digits[2..]),
        "0o" | "0O" => (8, &digits[2..]),
        "0b" | "0B" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Between digits, and after a prefix; and what is left must not have a sign of its own.
    let digits = match radix {
        10 => digits,
        _ => digits.strip_prefix('_').unwrap_or(digits),
    };
    let well = !digits.starts_with(['_', '+', '-']) && !digits.ends_with('_');
    if !well || digits.contains("__") {
        return None;
    }
    let magnitude = u64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    match negative {
        false => Some(magnitude.into()),
        true => 0_i64.checked_sub_unsigned(magnitude).map(Number::from),
    }
}

/// JSON has no infinity and nothing that is no number.
fn float(text: &str) -> Result<Option<Number>, NotYaml> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".nan"]
        .iter()
        .any(|word| unsigned.eq_ignore_ascii_case(word))
    {
        return Err(NotYaml);
    }
    // Rust reads words too: `inf`, `nan`.
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(number) => Number::from_f64(number).map(Some).ok_or(NotYaml),
        Err(_) => Ok(None),
    }
}

fn binary(text: &str) -> Result<Value, NotYaml> {
    let text: String = text.split_ascii_whitespace().collect();
    let bytes = data_encoding::BASE64.decode(text.as_bytes());
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Value::from).ok_or(NotYaml)
}
